"""Fit pictures, latents and batches of them to a size, as ComfyUI does."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


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
