"""Measure pictures of shapes, as an independent eye would.

The detector works on pixels alone, by palette and template, and knows nothing of any model. Its own accuracy is tested
on drawn pictures (at least 99 %) and on noise (chance).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from frameloom.training.shapes import BACKGROUND_VALUES, COLOR_VALUES, SHAPE_AREAS, SHAPES, coverage
from torch import Tensor

_NEAR = 0.22  # squared distance in RGB of -1..1; a closer pixel counts as a colour of the palette
_CORE = 0.62  # share of the shape's colour; a pixel with more belongs to the shape, not to its trail
_FEWEST_PIXELS = 0.004  # share of the picture; with fewer pixels there is no shape
# Limits of a circle: least degrees of the turn, least radius, largest deviation, largest step back in degrees.
_LEAST_TURN, _LEAST_RADIUS, _MOST_DEVIATION, _MOST_BACK = 270.0, 0.06, 0.25, 10.0
_FEWEST_FRAMES = 6


@dataclass(frozen=True)
class Measurement:
    """The findings in N pictures.

    Attributes:
        background, color, shape: [N] long. Indices into the tables of ``shapes``; -1 if nothing is there.
        centers: [N, 2] float. Normalised x, y of the shape's middle (of a triangle: its drawn centre).
        area: [N] float. Share of the picture.
        fit: [N] float. Intersection over union with the best template.
        mask: [N, H, W] bool. The shape's pixels, without its trail.
    """

    background: Tensor
    color: Tensor
    shape: Tensor
    centers: Tensor
    area: Tensor
    fit: Tensor
    mask: Tensor


def _count_near(pixels: Tensor, palette: Tensor) -> Tensor:
    """Count pixels close to each palette colour. [N, P, 3], [K, 3] -> [N, K]."""
    return torch.stack([((pixels - value).square().sum(-1) < _NEAR).sum(1) for value in palette], 1)


def _border(images: Tensor, width: int = 4) -> Tensor:
    edges = [images[..., :width, :], images[..., -width:, :]]
    edges += [images[..., :, :width].transpose(-1, -2), images[..., :, -width:].transpose(-1, -2)]
    return torch.cat([edge.flatten(2) for edge in edges], 2).transpose(1, 2)


def measure(images: Tensor) -> Measurement:
    """Find the shape in each picture.

    Args:
        images: [N, 3, H, W] float, -1..1.

    Returns:
        A ``Measurement`` of N entries.
    """
    count, _, height, width = images.shape
    if count == 0:
        raise ValueError("images: got a batch of 0 pictures; expected at least one.")
    background = _count_near(_border(images), BACKGROUND_VALUES).argmax(1)
    base = BACKGROUND_VALUES[background]
    found = _count_near(images.flatten(2).transpose(1, 2), COLOR_VALUES)
    pixels, color = found.max(1)
    axis = COLOR_VALUES[color] - base
    share = torch.einsum("nchw,nc->nhw", images - base[..., None, None], axis) / axis.square().sum(1).view(
        -1, 1, 1
    )
    off_axis = images - base[..., None, None] - share.unsqueeze(1) * axis[..., None, None]
    mask = (share > _CORE) & (off_axis.square().sum(1) < 2 * _NEAR)
    area = mask.flatten(1).float().mean(1)
    present = (pixels > _FEWEST_PIXELS * height * width) & (area > _FEWEST_PIXELS)
    total = mask.flatten(1).sum(1).clamp(min=1)
    grid_x, grid_y = (torch.arange(width) + 0.5) / width, (torch.arange(height) + 0.5) / height
    centroid = torch.stack([(mask.sum(1) * grid_x).sum(1) / total, (mask.sum(2) * grid_y).sum(1) / total], 1)
    fit, shape, centers = _match_templates(mask, centroid, area)
    color, shape = (torch.where(present, index, -1) for index in (color, shape))
    return Measurement(background, color, shape, centers, area, fit, mask)


@dataclass(frozen=True)
class Circling:
    """The paths of shapes in B clips, as circles.

    Attributes:
        turn: [B] float. Degrees from the first frame to the last around the middle of the path, clockwise positive.
        radius: [B] float. Radius of the circle that fits the path best, as a share of the width.
        deviation: [B] float. Root mean square distance of the path from that circle, in radii.
        back: [B] float. Degrees of the largest step against the turn.
    """

    turn: Tensor
    radius: Tensor
    deviation: Tensor
    back: Tensor

    @property
    def is_circle(self) -> Tensor:
        """[B] bool. True for a path of at least three quarters of a circle, without turning back."""
        far = (self.turn.abs() >= _LEAST_TURN) & (self.back <= _MOST_BACK)
        return far & (self.radius >= _LEAST_RADIUS) & (self.deviation <= _MOST_DEVIATION)


def measure_circling(centers: Tensor, present: Tensor) -> Circling:
    """Fit a circle to each clip's path, by least squares (Kasa 1976, https://doi.org/10.1109/TIM.1976.6312298).

    Args:
        centers: [B, F, 2] float. Normalised x, y of the shape's middle.
        present: [B, F] bool. Frames in which the shape was found; others don't count.
    """
    found = [_circling(path[there].double()) for path, there in zip(centers, present, strict=True)]
    return Circling(*torch.tensor(found, dtype=torch.double).unbind(1))


def _circling(path: Tensor) -> tuple[float, float, float, float]:
    """Return turn, radius, deviation and step back of a path, [F, 2] double."""
    if len(path) < _FEWEST_FRAMES:
        return 0.0, 0.0, math.inf, 0.0
    # |p|^2 = 2 m p + (r^2 - |m|^2) for every p on the circle around m.
    design = torch.cat([2 * path, torch.ones_like(path[:, :1])], 1)
    solution = torch.linalg.lstsq(design, path.square().sum(1, keepdim=True), driver="gelsd").solution[:, 0]
    offsets = path - solution[:2]
    distance = offsets.norm(dim=1)
    radius = distance.square().mean().sqrt().clamp(min=1e-9)
    angle = torch.atan2(offsets[:, 1], offsets[:, 0])
    steps = torch.remainder(angle.diff() + math.pi, 2 * math.pi) - math.pi
    turn = steps.sum()
    back = (-steps * turn.sign()).amax().clamp(min=0)
    deviation = (distance - radius).square().mean().sqrt() / radius
    return math.degrees(turn), float(radius), float(deviation), math.degrees(back)


def _match_templates(mask: Tensor, centroid: Tensor, area: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compare masks with each shape, drawn with the same area and centroid."""
    fits, places = [], []
    for index, unit_area in enumerate(SHAPE_AREAS):
        radius = (area / unit_area).clamp(min=1e-4).sqrt()
        # A triangle's centroid lies below its drawn centre: the base is at 0.75, the height 1.85, so a third above it.
        drop = (0.75 - 1.85 / 3) if SHAPES[index] == "triangle" else 0.0
        place = centroid - torch.stack([torch.zeros_like(radius), drop * radius], 1)
        kind = torch.full((len(mask),), index)
        template = coverage(kind, place, radius, mask.shape[-1]) > 0.5
        union = (template | mask).flatten(1).sum(1).clamp(min=1)
        fits.append((template & mask).flatten(1).sum(1) / union)
        places.append(place)
    fit, shape = torch.stack(fits, 1).max(1)
    return fit, shape, torch.stack(places, 1)[torch.arange(len(mask)), shape]
