"""Masks of boxes: how much of each pixel an entity's box, or the ellipse in it, covers.

Every value is the covered share of its pixel's area, in closed form, so a mask is right at any size: for a picture, and
for latents of 16 x 16, where most of a box is edge. Of pixel (i, j), the square [j, j + 1] x [i, i + 1], a box from
(l, t) to (r, b) covers

    |[l, r] n [j, j + 1]| |[t, b] n [i, i + 1]|                                                         box_masks

and the ellipse that touches its sides, scaled to the unit disc, A(j+1, i+1) - A(j, i+1) - A(j+1, i) + A(j, i), where A
is the area of the disc's points left of x and above y:                                                 ellipse_masks

    A(x, y) = (a(x) + a(y)) / 2 + x y - pi / 4 inside of the disc,    a(x) = arccos(-x) + x sqrt(1 - x^2)

What boxes reach over the picture's edge is not seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Literal

import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor

from ..network.time_law import TimeLaw
from ..video.shapes import Boxes, Masks, Presence
from .scenes import Scene

Shape = Literal["box", "ellipse"]


def box_masks(boxes: Boxes, present: Presence, height: int, width: int) -> Masks:
    """Return how much of each pixel a box covers; float32, empty where nothing is present.

    A mask sums up to its box's area in pixels.

    Examples:
        >>> box_masks(torch.tensor([[0.0, 0, 0.375, 1]]), torch.tensor([True]), 1, 4)
        tensor([[[1.0000, 0.5000, 0.0000, 0.0000]]])
    """
    across = _covered(boxes[:, 0] * width, boxes[:, 2] * width, width)
    down = _covered(boxes[:, 1] * height, boxes[:, 3] * height, height)
    return (down[:, :, None] * across[:, None, :]) * present[:, None, None]


def _covered(start: Tensor, stop: Tensor, length: int) -> Tensor:
    """Return how much of each cell [i, i + 1) of a line an interval covers, [F, length]; its ends are [F]."""
    cells = torch.arange(length, device=start.device)
    ends = torch.minimum(stop[:, None], cells + 1)
    return (ends - torch.maximum(start[:, None], cells)).clamp(0, 1).float()


def ellipse_masks(boxes: Boxes, present: Presence, height: int, width: int) -> Masks:
    """Return how much of each pixel the ellipse in a box covers; float32, counted on the CPU in float64."""
    across, down = (torch.linspace(0, 1, count + 1, dtype=torch.float64) for count in (width, height))
    masks = torch.zeros(len(boxes), height, width)
    for frame in map(int, present.nonzero().flatten()):
        left, top, right, bottom = boxes[frame].double().cpu()
        x = (2 * across - left - right) / (right - left)
        y = (2 * down - top - bottom) / (bottom - top)
        area = _disc_area(x[None, :], y[:, None]).diff(dim=0).diff(dim=1)
        scale = (right - left) * width * (bottom - top) * height / 4
        masks[frame] = (area * scale).clamp(0, 1)
    return masks.to(boxes.device)


def _disc_area(x: Tensor, y: Tensor) -> Tensor:
    """Return A: the area of the unit disc's points (u, v) with u < x and v < y, [...]."""
    x, y = x.clamp(-1, 1), y.clamp(-1, 1)
    left, above = ((-each).acos() + each * (1 - each**2).sqrt() for each in (x, y))
    inside = (left + above) / 2 + x * y - math.pi / 4
    # Outside of the disc one corner's quarter plane holds nothing, or a cap, or all but two caps.
    first, second = (x >= 0).double(), (y >= 0).double()
    outside = second * left + first * above - first * second * math.pi
    return torch.where(x**2 + y**2 < 1, inside, outside)


def join_frames(masks: Masks, counts: Sequence[int]) -> Masks:
    """Return one mask for every so many that follow each other: of each pixel, the most that one of them covers.

    Args:
        masks: masks of all frames.
        counts: numbers of frames that make one, in order.
    """
    if len(counts) == len(masks):
        return masks
    stops = list(accumulate(counts))
    return torch.stack(
        [masks[stop - count : stop].amax(0) for stop, count in zip(stops, counts, strict=True)]
    )


def latent_masks(masks: Masks, law: TimeLaw) -> Masks:
    """Return a mask for each latent frame of a clip, of those of its frames.

    Args:
        masks: masks of the clip's frames.
        law: time law of the model.
    """
    frames = len(masks)
    spans = (law.frames(latent) for latent in range(law.latents(frames)))
    return join_frames(masks, [len(range(span.start, min(span.stop, frames))) for span in spans])


_DRAW: dict[Shape, Callable[[Boxes, Presence, int, int], Masks]] = {
    "box": box_masks,
    "ellipse": ellipse_masks,
}


def scene_masks(scene: Scene, entity: str, height: int, width: int, shape: Shape = "box") -> Masks:
    """Return where an entity of a scene is, or where any of them is.

    Args:
        scene: entities, some with boxes.
        entity: id of one; empty: all of them. Where several cover a pixel, the one that covers most of it counts.
        height: H, in pixels.
        width: W, in pixels.
        shape: the box, or the ellipse in it.

    Raises:
        ValueError: no such entity has boxes.
    """
    masks = torch.zeros(scene.frames, height, width)
    for each in scene.choose_placed(entity):
        masks = torch.maximum(masks, _DRAW[shape](*each.boxes_at(scene.frames), height, width))
    return masks


def feather_masks(masks: Masks, feather: float) -> Masks:
    """Soften a mask's edges, each from 0.98 to 0.02 over ``feather`` pixels; at the picture's edge nothing fades.

    That is a blur by a Gaussian whose standard deviation is a quarter of them.
    """
    if feather == 0:
        return masks
    sigma = feather / 4
    side = 2 * math.ceil(3 * sigma) + 1
    return gaussian_blur2d(masks[:, None], (side, side), (sigma, sigma), border_type="replicate")[:, 0]
