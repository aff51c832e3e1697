"""The first convolution: an ``input_block_patch`` adds behind it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .live import KEY


def add(hidden: Tensor, transformer_options: dict[str, Any]) -> Tensor:
    """Return what goes on from an input block, [N, C, H, W]; ComfyUI's ``input_block_patch``."""
    live = transformer_options.get(KEY)
    is_first = transformer_options["block"] == ("input", 0)
    return live.active.input(hidden) if is_first and live is not None else hidden


PATCHES = {"input_block_patch": add}
