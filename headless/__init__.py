"""The headless host: it runs ComfyUI workflows in API form, and trains from a file, without ComfyUI.

In this room: the command ``frameloom`` (``__main__``, ``train``); the port that nodes speak to (``port``); ComfyUI's
interface for nodes in small (``io``, ``ui``); reading and running a workflow (``graph``, ``executor``); ComfyUI's own
nodes (``nodes_core``); weight files and networks (``loading``, ``lora``); text (``prompt``, ``text``); sampling
(``denoise``, ``samplers``); work on a Ray cluster (``cluster``).

What comes in: what needs diffusers, transformers, tokenizers, torchsde or Ray, and what does here what ComfyUI does by
itself. What a technique computes belongs to ``models``; what a node takes and returns belongs to ``nodes``.

It may import ``models``, ``host`` without ``host.comfyui``, and ``nodes``; ``train`` alone also ``training``. No other
room imports it.
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
    from . import io, ui

    api.select(io=io, ui=ui, extension=io.ComfyExtension, port=port)
