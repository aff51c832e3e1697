"""The graph's vocabulary: each node a schema and a short ``execute`` that calls the host's port.

Rooms are the menu's. A module at any depth below this folder offers its nodes as ``NODES``; nothing else names them.
Import one only after a host was selected (``host.api.select``): ``node_classes`` does that import. May import
``models``, ``host.contract``, ``host.api`` and ``host.video_file``; ``language`` and ``training`` inside functions.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType


def node_classes() -> list[type]:
    """Return every node class of the pack, in the order of the modules' names. The editor sorts its menus itself.

    Raises:
        ImportError: a module can't be imported; says which.
        ValueError: two modules offer nodes of one name.
    """
    found: dict[str, type] = {}
    for module in pkgutil.walk_packages(__path__, f"{__name__}."):
        for node in getattr(_import(module.name), "NODES", ()):
            other = found.setdefault(node.__name__, node)
            if other is not node:
                raise ValueError(
                    f"{node.__module__}: got a node named {node.__name__}, which {other.__module__} has already; "
                    "expected a name of its own, since it becomes the node's id; rename the class."
                )
    return list(found.values())


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{name} can't be imported: {error}", name=error.name, path=error.path) from error
