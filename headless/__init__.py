"""The second host: ComfyUI's API workflows on diffusers, with nothing but pip packages.

``__main__`` is the command, ``port`` what nodes call, ``cluster`` runs jobs of a recursion by Ray, ``crew`` are the
workers that share jobs. Rooms, in the order in which they build on each other: ``v3``, ``samplers``, ``text``,
``weights``, ``seams``, ``engine``, ``workflow``, ``core_nodes``, ``farm`` and ``train``. The only folder that imports
diffusers and Ray; may import ``host`` (not ``host.comfyui``), ``models`` and ``nodes``; ``train`` may import
``training``.
"""

from __future__ import annotations

from typing import Any


def select_host(port: Any) -> None:
    """Make this process headless: node files that are imported from now on are nodes of this host.

    Args:
        port: the host that nodes speak to, a ``HeadlessHost``.

    Raises:
        RuntimeError: another host was selected before.
    """
    from ..host import api
    from .v3 import io, ui

    api.select(io=io, ui=ui, extension=io.ComfyExtension, port=port)
