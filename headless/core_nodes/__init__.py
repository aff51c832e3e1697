"""ComfyUI's own nodes that our workflows use, for the headless runner.

Each file lists its classes as ``NODES``. A class derives from ``v3.core_node.CoreNode``, has the node's name, and only
an ``execute`` (and ``choices()`` where a list depends on files, ``validate_inputs`` where some of the host's choices
are not built here): the schema is the host's own, from ``v3/object_info.json``.
"""

from __future__ import annotations

import importlib

from ..v3 import io

FILES = ("latent", "image", "mask", "video", "loaders", "conditioning", "sampling", "text")


def core_node_classes() -> list[type[io.ComfyNode]]:
    """Return every core node."""
    return [node for file in FILES for node in importlib.import_module(f".{file}", __name__).NODES]
