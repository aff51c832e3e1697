"""ComfyUI's own nodes that our workflows use, for the headless runner.

A class has the name of a node in ``v3/object_info.json``, by which it is found, and derives from
``v3.core_node.CoreNode``: the schema is the host's own. It has only an ``execute`` (and ``choices()`` where a list
depends on files, ``validate_inputs`` where some of the host's choices are not built here).
"""

from __future__ import annotations

import importlib

from ..v3 import io
from ..v3.core_node import stored_object_info

FILES = ("latent", "image", "mask", "video", "loaders", "conditioning", "sampling", "text", "video_models")


def core_node_classes() -> list[type[io.ComfyNode]]:
    """Return every core node."""
    stored = stored_object_info()
    files = [vars(importlib.import_module(f".{file}", __name__)) for file in FILES]
    return list({name: node for file in files for name, node in file.items() if name in stored}.values())
