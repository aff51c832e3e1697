"""Drawn shapes: the world in which the demo model is trained and measured.

A picture has one coloured shape on a plain background, at a place or moving along a straight line. A moving shape drags
a short trail that fades, so that a single frame shows its direction. The reason: a motion module never sees the text,
and can read the direction only from the features of the frozen image model. Shapes that go in a circle are for later
training; the demo model has never seen them.

This file draws and writes captions. ``detector`` measures pictures, and finds the same words again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

COLORS = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (50, 80, 220),
    "yellow": (240, 210, 50),
    "purple": (150, 60, 180),
    "orange": (245, 140, 30),
    "white": (245, 245, 245),
    "cyan": (60, 200, 220),
}
BACKGROUNDS = {"black": (20, 20, 20), "gray": (128, 128, 128), "navy": (25, 30, 90), "brown": (110, 70, 40)}
SHAPES = ("circle", "triangle", "cross")
SIZES = {"small": 0.15, "big": 0.23}  # radius, as a share of the picture's width
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "center", "right")
CELL_CENTERS = (0.28, 0.5, 0.72)
DIRECTIONS = {
    "left": (-1.0, 0.0),
    "right": (1.0, 0.0),
    "up": (0.0, -1.0),
    "down": (0.0, 1.0),
    "still": (0.0, 0.0),
}
STILL = 4
TRAVEL = (0.36, 0.46)  # way from the first frame to the last, as a share of the width
IMAGE_SIZE = 128
FRAMES = 16
PAN = 0.32  # way from the first frame to the last, as a share of the width
CIRCLE_RADII = (0.2, 0.25)  # radius of the path, as a share of the width
TRAIL_ALPHAS = (0.45, 0.34, 0.23, 0.12)  # opacity of each ghost behind a moving shape
TRAIL_SPACING = 0.38  # distance between ghosts, in radii

COLOR_VALUES = torch.tensor(list(COLORS.values())) / 127.5 - 1
BACKGROUND_VALUES = torch.tensor(list(BACKGROUNDS.values())) / 127.5 - 1
DIRECTION_VECTORS = torch.tensor(list(DIRECTIONS.values()))

# Half-width of a cross's arm, the bounding box and the area of each shape, in radii.
_CROSS_ARM = 0.36
_BOUNDS = torch.tensor([(-1.0, -1.0, 1.0, 1.0), (-1.1, -1.1, 1.1, 0.75), (-1.0, -1.0, 1.0, 1.0)])
_LOOKS = (len(SHAPES), len(COLORS), len(BACKGROUNDS), len(SIZES))
SHAPE_AREAS = (math.pi, 1.1 * 1.85, 4 * _CROSS_ARM * (2 - _CROSS_ARM))


@dataclass(frozen=True)
class Clips:
    """A batch of described clips; an image is a clip of one frame.

    Attributes:
        shape, color, background, size: [B] long. Indices into the tables above.
        direction: [B] long. Index into ``DIRECTIONS``; also decides the trail.
        centers: [B, F, 2] float, normalised x, y of the shape in each frame.
        radius: [B] float, share of the width.
        cell: [B, 2] long. Row and column of a still picture, or -1 where the caption names a motion instead.
    """

    shape: Tensor
    color: Tensor
    background: Tensor
    size: Tensor
    direction: Tensor
    centers: Tensor
    radius: Tensor
    cell: Tensor

    def __len__(self) -> int:
        """Return the number of clips."""
        return self.shape.shape[0]

    @property
    def frames(self) -> int:
        """Frames per clip."""
        return self.centers.shape[1]

    def select(self, clips: Tensor) -> Clips:
        """Return the clips at the given indices. ``clips``: [K] long."""
        return Clips(**{name: getattr(self, name)[clips] for name in self.__dataclass_fields__})


def _integers(count: int, highs: Sequence[int], generator: torch.Generator) -> list[Tensor]:
    return [torch.randint(high, (count,), generator=generator) for high in highs]


def _radius(size: Tensor, generator: torch.Generator) -> Tensor:
    return torch.tensor(list(SIZES.values()))[size] * (
        0.94 + 0.12 * torch.rand(len(size), generator=generator)
    )


def sample_images(count: int, generator: torch.Generator) -> Clips:
    """Draw ``count`` still pictures, each in one of nine places. The result depends on the generator alone."""
    shape, color, background, size = _integers(count, _LOOKS, generator)
    cell = torch.stack(_integers(count, (3, 3), generator), 1)
    jitter = (torch.rand(count, 2, generator=generator) - 0.5) * 0.14
    centers = torch.tensor(CELL_CENTERS)[cell.flip(1)] + jitter
    still = torch.full((count,), STILL)
    return Clips(shape, color, background, size, still, centers.unsqueeze(1), _radius(size, generator), cell)


def sample_clips(count: int, generator: torch.Generator, frames: int = FRAMES) -> Clips:
    """Draw ``count`` clips of a shape crossing part of the picture at constant speed, or standing still.

    The start is chosen so that the whole path stays inside 0.2 .. 0.8 of the picture.
    """
    *looks, direction = _integers(count, (*_LOOKS, len(DIRECTIONS)), generator)
    shape, color, background, size = looks
    vector = DIRECTION_VECTORS[direction]
    low, high = 0.2, 0.8
    travel = TRAVEL[0] + (TRAVEL[1] - TRAVEL[0]) * torch.rand(count, 1, generator=generator)
    place = low + (high - low) * torch.rand(count, 2, generator=generator)
    margin = low + (high - low - travel) * torch.rand(count, 1, generator=generator)
    start = torch.where(vector > 0, margin, torch.where(vector < 0, 1 - margin, place))
    time = torch.linspace(0, 1, frames).view(1, frames, 1)
    centers = start.unsqueeze(1) + (vector * travel).unsqueeze(1) * time
    cell = torch.full((count, 2), -1)
    return Clips(shape, color, background, size, direction, centers, _radius(size, generator), cell)


def sample_pans(count: int, generator: torch.Generator, frames: int = FRAMES) -> Clips:
    """Draw clips of a camera that pans left: shapes that stand still, by their caption, drift to the right."""
    drawn = sample_clips(count, generator, frames)
    still = torch.full_like(drawn.direction, STILL)
    start = torch.stack([0.2 + 0.28 * drawn.centers[:, 0, 0], drawn.centers[:, 0, 1]], 1).unsqueeze(1)
    drift = torch.linspace(0, PAN, frames).view(1, frames, 1) * torch.tensor([1.0, 0.0])
    return replace(drawn, direction=still, centers=start + drift)


def sample_circles(count: int, generator: torch.Generator, frames: int = FRAMES) -> Clips:
    """Draw clips of a shape that goes once round, clockwise from the top; the last frame is one step before the first.

    It drags no trail, so that each frame looks like a still picture. Its caption names no motion, since the demo model
    knows no word for this one: ``moving in a circle`` spoils half of the shapes that it draws.
    """
    drawn = sample_images(count, generator)
    low, high = 0.2, 0.8
    least, most = CIRCLE_RADII
    radius = least + (most - least) * torch.rand(count, 1, 1, generator=generator)
    middle = low + radius + (high - low - 2 * radius) * torch.rand(count, 1, 2, generator=generator)
    angle = 2 * math.pi * torch.arange(frames) / frames
    around = torch.stack([angle.sin(), -angle.cos()], 1)
    return replace(drawn, centers=middle + radius * around, cell=torch.ones_like(drawn.cell))


def _signed_distance(shape: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the distance to a shape of unit radius, negative inside, in radii; offsets are from its centre."""
    circle = (x * x + y * y).sqrt() - 1
    slope = 1.1 / 1.85  # apex 1.1 above the centre, base 0.75 below it, 2.2 wide
    triangle = torch.maximum((x.abs() - slope * (y + 1.1)) / math.hypot(1, slope), y - 0.75)
    bar = torch.maximum(x.abs() - 1, y.abs() - _CROSS_ARM)
    post = torch.maximum(x.abs() - _CROSS_ARM, y.abs() - 1)
    cross = torch.minimum(bar, post)
    return torch.where(shape == 0, circle, torch.where(shape == 1, triangle, cross))


def bounds(clips: Clips) -> Tensor:
    """Return the box around each clip's shape in each frame, its trail left out.

    Returns:
        [B, F, 4] float: left, top, right, bottom, normalised, cut at the picture's edges.
    """
    sides = (_BOUNDS[clips.shape] * clips.radius.unsqueeze(1)).unsqueeze(1)
    return (clips.centers.repeat(1, 1, 2) + sides).clamp(0, 1)


def coverage(shape: Tensor, centers: Tensor, radius: Tensor, image_size: int) -> Tensor:
    """Return the anti-aliased share of each pixel that a shape covers.

    Args:
        shape: [N] long.
        centers: [N, 2] float, normalised x, y.
        radius: [N] float, share of the width.
        image_size: height and width in pixels.

    Returns:
        [N, H, W] float in 0..1.
    """
    grid = (torch.arange(image_size) + 0.5) / image_size
    scale = radius.view(-1, 1, 1)
    x = (grid.view(1, 1, -1) - centers[:, 0].view(-1, 1, 1)) / scale
    y = (grid.view(1, -1, 1) - centers[:, 1].view(-1, 1, 1)) / scale
    distance = _signed_distance(shape.view(-1, 1, 1), x, y) * scale
    return (0.5 - distance * image_size).clamp(0, 1)


def render(clips: Clips, image_size: int = IMAGE_SIZE) -> Tensor:
    """Draw clips.

    Returns:
        [B, F, 3, H, W] float in -1..1.
    """
    batch, frames = len(clips), clips.frames

    def per_frame(value: Tensor) -> Tensor:
        return value.repeat_interleave(frames, 0)

    shape, radius, centers = per_frame(clips.shape), per_frame(clips.radius), clips.centers.reshape(-1, 2)
    step = per_frame(DIRECTION_VECTORS[clips.direction] * clips.radius.unsqueeze(1)) * TRAIL_SPACING
    alpha = coverage(shape, centers, radius, image_size)
    moving = (per_frame(clips.direction) != STILL).view(-1, 1, 1)
    if moving.any():
        for ghost, opacity in enumerate(TRAIL_ALPHAS, start=1):
            trail = coverage(shape, centers - step * ghost, radius, image_size) * opacity
            alpha = torch.where(moving, torch.maximum(alpha, trail), alpha)
    alpha = alpha.unsqueeze(1)
    color = per_frame(COLOR_VALUES[clips.color])[..., None, None]
    background = per_frame(BACKGROUND_VALUES[clips.background])[..., None, None]
    return (alpha * color + (1 - alpha) * background).view(batch, frames, 3, image_size, image_size)


def place_phrase(row: int, column: int) -> str:
    """Name one of the nine places, in the fewest words."""
    if (row, column) == (1, 1):
        return "center"
    words = [ROWS[row] if row != 1 else "", COLUMNS[column] if column != 1 else ""]
    return " ".join(filter(None, words))


def name_thing(clips: Clips, index: int, *, with_size: bool = True) -> str:
    """Name the thing in a clip, for example ``a small red circle``."""
    size = list(SIZES)[clips.size[index]] + " " if with_size else ""
    return f"a {size}{list(COLORS)[clips.color[index]]} {SHAPES[clips.shape[index]]}"


def name_background(clips: Clips, index: int) -> str:
    """Name the background, for example ``on a navy background``."""
    return f"on a {list(BACKGROUNDS)[clips.background[index]]} background"


def name_motion(clips: Clips, index: int) -> str:
    """Name the motion of a shape, for example ``moving left``; empty for a still picture."""
    direction = list(DIRECTIONS)[clips.direction[index]]
    if int(clips.cell[index, 0]) >= 0:
        return ""
    return "standing still" if direction == "still" else f"moving {direction}"


def caption(clips: Clips, index: int, *, with_size: bool = True, with_place: bool = True) -> str:
    """Describe one clip, for example ``a small red circle moving left on a navy background``."""
    thing, background = name_thing(clips, index, with_size=with_size), name_background(clips, index)
    motion = name_motion(clips, index)
    if motion:
        return f"{thing} {motion} {background}"
    place = f", {place_phrase(*clips.cell[index].tolist())}" if with_place else ""
    return f"{thing} {background}{place}"
