"""Frames of a clip that are given: put into its latents, and held by its noise mask while the others are made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from .frames import pick_frames
from .latents import frames_of
from .shapes import Clip

_NUMBER = re.compile(r"[+-]?\d{1,7}")


def read_frames(text: str, count: int, also: str = "") -> list[int]:
    """Read numbers of frames, such as ``0, 8, -1``; negative ones are from the end.

    Args:
        text: numbers, with commas, semicolons, spaces or lines between.
        count: number of pictures; further numbers are read, and not used.
        also: words for what else the text may be.

    Returns:
        The first ``count`` numbers.

    Raises:
        ValueError: it is something else, or there are too few.
    """
    items = [item for item in re.split(r"[,;\s]+", text) if item]
    for item in items:
        if not _NUMBER.fullmatch(item):
            raise ValueError(
                f"frames: got {item[:40]!r}; expected whole numbers such as 0, 8, -1{also}; correct it."
            )
    if len(items) < count:
        raise ValueError(
            f"frames: got {len(items)} numbers for {count} pictures; expected one for each; write more, or give fewer "
            "pictures."
        )
    return [int(item) for item in items[:count]]


def place_frames(frames: Sequence[int], count: int) -> list[int]:
    """Return numbers of frames from the first on; negative ones are from the end.

    Raises:
        ValueError: a clip of so many frames has no such frame.

    Examples:
        >>> place_frames([0, -1], 16)
        [0, 15]
    """
    outside = [frame for frame in frames if not -count <= frame < count]
    if outside:
        raise ValueError(
            f"frames: got frame {outside[0]} of a clip of {count}; expected {-count} to {count - 1}; correct it, or "
            "make the clip longer."
        )
    return [frame % count for frame in frames]


def hold_frames(
    latent: dict[str, Any], given: Clip, frames: list[int], strength: float = 1.0
) -> dict[str, Any]:
    """Return a LATENT in which some frames are given, and held while it is sampled.

    Args:
        latent: clip; its other frames stay as they are.
        given: latents of the pictures, [N, C, H, W], of the clip's size.
        frames: number of the frame that each is; of two that are one the last counts.
        strength: share in which they are held. Less than 1 lets the model change them.

    Raises:
        ValueError: they have other channels than the clip, or another size.
    """
    samples = frames_of(latent).clone()
    count = len(samples)
    if given.shape[1:] != samples.shape[1:]:
        raise ValueError(
            f"latent: is {list(samples.shape)}, and pictures become {list(given.shape)}; expected the same channels "
            "and size; use the VAE and the Empty Latent Image of one model."
        )
    samples[frames] = given.to(samples)
    mask = torch.ones(count, 1, *samples.shape[-2:])
    if (before := latent.get("noise_mask")) is not None:
        before = before.reshape(-1, 1, *before.shape[-2:]).to(mask)
        before = interpolate(before, mask.shape[-2:], mode="bilinear")
        mask = pick_frames(before, range(count)).expand_as(mask).clone()
    mask[frames] = 1 - strength
    return {**latent, "samples": samples, "noise_mask": mask}


def fit_pictures(pictures: Tensor, height: int, width: int) -> Tensor:
    """Scale pictures, [N, H, W, C], to a size, and cut off evenly what is too much on two sides."""
    if pictures.shape[1:3] == (height, width):
        return pictures
    scale = max(height / pictures.shape[1], width / pictures.shape[2])
    size = [
        max(side, round(scale * length))
        for side, length in zip((height, width), pictures.shape[1:3], strict=True)
    ]
    scaled = interpolate(pictures.movedim(-1, 1).float(), size, mode="bilinear", antialias=True).movedim(
        1, -1
    )
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return scaled[:, top : top + height, left : left + width].clamp(0, 1)
