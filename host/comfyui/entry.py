"""What ComfyUI calls at start: choose the host, register model folders, hand over the nodes."""

from __future__ import annotations

import os

import folder_paths
from comfy_api.latest import ComfyExtension, io, ui

from .. import api
from ..model_folders import ENDINGS
from . import convert_route, storyboard_route
from .checked import checked
from .plan_route import plan_route
from .port import ComfyHost
from .version import TolerantIo, check_version

# The names other packs use, so that users' files are found.
MODEL_FOLDERS = ("animatediff_models", "animatediff_motion_lora", *ENDINGS)


class FrameloomExtension(ComfyExtension):
    """The pack, as ComfyUI sees it."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return every node. Nothing is registered before this call."""
        check_version()
        register_folders()
        convert_route.ROUTE.add()
        storyboard_route.ROUTE.add()
        api.select(io=TolerantIo(io), ui=ui, extension=ComfyExtension, port=ComfyHost())
        from ...nodes import node_classes  # node files need a selected host

        nodes = node_classes()
        plan_route(nodes).add()
        return [checked(node) for node in nodes]


def register_folders() -> None:
    """Add our folders beside what other packs registered under the same names."""
    for kind in MODEL_FOLDERS:
        paths, endings = folder_paths.folder_names_and_paths.setdefault(kind, ([], set()))
        folder_paths.add_model_folder_path(kind, os.path.join(folder_paths.models_dir, kind))
        # A new kind starts with no extensions, which lists every file.
        more = set(ENDINGS.get(kind) or folder_paths.supported_pt_extensions)
        folder_paths.folder_names_and_paths[kind] = paths, set(endings) | more
