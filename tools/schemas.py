"""The schema of every node, ours and the core nodes that our workflows use, as entries of ``/object_info``.

Made without a server and without an engine, and the same on every machine: lists of files hold what the pack brings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from frameloom.headless import io, ui
from frameloom.headless.nodes_core.core_node import stored_object_info
from frameloom.host import api
from frameloom.host.bundled import BUNDLED
from frameloom.host.contract import Host


class BundledFilesOnly:
    """What a schema asks of a host: the names of files to choose from, and a folder of settings, here without any."""

    def list_files(self, kind: str) -> list[str]:
        """Return the names of the pack's own files of a kind."""
        return sorted(BUNDLED.get(kind, {}))

    def user_dir(self) -> Path:
        """Return a folder without a user's settings."""
        return Path(__file__).parent


def own_nodes() -> list[type[io.ComfyNode]]:
    """Return the pack's node classes; selects the stand-in host where none is selected yet."""
    try:
        api.port()
    except RuntimeError:
        api.select(io=io, ui=ui, extension=io.ComfyExtension, port=cast(Host, BundledFilesOnly()))
    from frameloom.nodes import node_classes  # node files take their base classes from the selected host

    return node_classes()


def schemas() -> dict[str, dict[str, Any]]:
    """Return node id -> entry of ``/object_info``."""
    own = [node.GET_NODE_INFO_V1() for node in own_nodes()]
    return {**stored_object_info(), **{entry["name"]: entry for entry in own}}
