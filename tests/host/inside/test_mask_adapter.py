"""A motion module with a mask encoder in ComfyUI: its contract, core's own nodes, areas, other packs' patches."""

from __future__ import annotations

from frameloom.tests.support.mask_adapter_contract import *  # noqa: F403  the tests, which pytest finds by name
