"""What SDXL's UNet reads beside the tokens: pooled text, and the measures of a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..weights.networks import MEASURES
from .fitting import PIXELS_PER_LATENT


def beside_tokens(pooled: Tensor, size: tuple[int, int], options: Mapping[str, Any] | None = None) -> Tensor:
    """Return pooled text and a picture's measures side by side, [N, D + 6] float32.

    Args:
        pooled: pooled text, [N, D].
        size: height and width of the latents, which the picture has where it is not said otherwise.
        options: options of a condition, which may say sizes in pixels and where the picture was cut.
    """
    said = options or {}
    height, width = (
        said.get(name, PIXELS_PER_LATENT * side) for name, side in zip(("height", "width"), size, strict=True)
    )
    measures = [
        height, width, said.get("crop_h", 0), said.get("crop_w", 0),
        said.get("target_height", height), said.get("target_width", width),
    ]  # fmt: skip
    told = pooled.new_tensor(measures, dtype=torch.float32).expand(len(pooled), -1)
    return torch.cat([pooled.float(), told], dim=1)


def added_options(added: Tensor | None, pictures: int) -> dict[str, Any]:
    """Return what diffusers' UNet is called with, a row for each picture of a batch.

    Args:
        added: rows of ``beside_tokens``, [N, D + 6], each for an equal share of the batch; None: the UNet reads none.
        pictures: number of pictures in the batch.
    """
    if added is None:
        return {}
    rows = added.repeat_interleave(pictures // len(added), dim=0)
    return {"added_cond_kwargs": {"text_embeds": rows[:, :-MEASURES], "time_ids": rows[:, -MEASURES:]}}
