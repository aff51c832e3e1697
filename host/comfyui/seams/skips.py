"""The skips of the UNet: an ``output_block_patch`` sees what an output block takes side by side."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .live import KEY


def join(hidden: Tensor, skip: Tensor, transformer_options: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Return what an output block takes, [N, C, H, W] and [N, D, H, W]; ComfyUI's ``output_block_patch``."""
    live = transformer_options.get(KEY)
    if live is None:
        return hidden, skip
    return live.active.join(hidden, skip, hidden.shape[1] // live.size.model_channels)


PATCHES = {"output_block_patch": join}
