"""Which ComfyUI this is, and what differs between the versions we run on. No other file asks.

Each difference says since which version it stands, so that it can go when the oldest supported host has it.
"""

from __future__ import annotations

import dataclasses
import logging
from types import ModuleType
from typing import Any

import comfyui_version

logger = logging.getLogger("frameloom")

OLDEST = (0, 16, 0)


def check_version() -> None:
    """Warn, once at start, of a host older than we test on; ComfyUI reads ``requires-comfyui`` but enforces nothing."""
    found, oldest = comfyui_version.__version__, ".".join(map(str, OLDEST))
    if tuple(int(part) for part in found.split(".")[:3] if part.isdigit()) < OLDEST:
        logger.warning("Frameloom: ComfyUI is %s, expected %s or newer; update ComfyUI.", found, oldest)


class TolerantIo:
    """ComfyUI's ``io`` names, with a ``Schema`` that drops what an older host's does not know.

    ``Schema`` grew over time: essentials_category in 0.14, has_intermediate_output in 0.18.
    """

    def __init__(self, io: ModuleType) -> None:
        self._io = io
        self._known = {field.name for field in dataclasses.fields(io.Schema)}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._io, name)

    def Schema(self, **options: Any) -> Any:  # noqa: N802  stands in for a class
        """Build the host's schema of the options it knows."""
        return self._io.Schema(**{name: value for name, value in options.items() if name in self._known})
