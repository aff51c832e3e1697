"""Fit pictures, latents and batches of them to a size, as ComfyUI does."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

PIXELS_PER_LATENT = 8


def cut_to(planes: Tensor, aspect: float) -> Tensor:
    """Cut [N, C, H, W] evenly at both ends of its longer side to a ratio of width to height."""
    height, width = planes.shape[-2:]
    old_aspect = width / height
    x = round((width - width * (aspect / old_aspect)) / 2) if old_aspect > aspect else 0
    y = round((height - height * (old_aspect / aspect)) / 2) if old_aspect < aspect else 0
    return planes[..., y : height - y, x : width - x]


def scale(planes: Tensor, width: int, height: int, method: str, *, center: bool = True) -> Tensor:
    """Resize.

    Args:
        planes: [N, C, H, W].
        width: new one.
        height: new one.
        method: torch's name of an interpolation.
        center: cut to the new proportions first.

    Returns:
        [N, C, height, width].
    """
    if center:
        planes = cut_to(planes, width / height)
    return functional.interpolate(planes, size=(height, width), mode=method)


def some_of(count: int, first: int, length: int) -> slice:
    """Return which of ``count`` rows are at most ``length`` from ``first`` on; a negative one counts from the end."""
    first = max(0, min(count - 1, first + count if first < 0 else first))
    return slice(first, min(count, first + length))


def cycle(batch: Tensor, length: int) -> Tensor:
    """Repeat a batch from its beginning until it has ``length`` rows, or cut it."""
    return batch[torch.arange(length, device=batch.device) % batch.shape[0]]


def spread(batch: Tensor, length: int) -> Tensor:
    """Bring a batch to ``length`` rows taken evenly from all of it; a shorter one keeps its first and last row."""
    rows = batch.shape[0]
    if length > rows:
        picked = [min(math.floor((index + 0.5) * (rows / length)), rows - 1) for index in range(length)]
    else:
        stride = (rows - 1) / max(1, length - 1)
        picked = [round(index * stride) for index in range(length)]
    return batch[picked]
