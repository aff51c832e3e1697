"""Frameloom: video on a frozen Stable Diffusion, as ComfyUI nodes and headless.

Importing this package does nothing but define the entry point; everything else loads when a host asks for it.
"""

from __future__ import annotations

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> object:
    """Return the pack's ``ComfyExtension``; ComfyUI calls this once at start."""
    # Imported here, not above: a test runner imports this file with no parent package, and a host start stays fast.
    from .host.comfyui.entry import FrameloomExtension

    return FrameloomExtension()
