"""Hints for ControlNets, drawn from a scene's boxes and keypoints: no picture is needed to make one.

Nearer things hide what lies behind them. How near something is, is read off its box: the mean of how far down it ends
and of its size, the square root of its area. With (x, y) measured from the box's middle in half sides of it:

    blob        light n (1 - b + b sqrt(1 - x^2 - y^2)) in the ellipse, n how near it is, b the bulge
    scribble    a line along sqrt(x^2 + y^2) = 1 - w (1 - v(angle)) / 2, w the wobble, v a mean of waves, -1 to 1
    limb        an ellipse with a point at each end, of a point's width

An edge at f = 0, f < 0 inside, lies d = f / |grad f| pixels from a pixel, to first order, which is covered by 1/2 - d,
no less than 0 and no more than 1.

Source: skeletons have the colours, limbs and sizes of OpenPose's COCO body (Cao et al. 2017,
https://arxiv.org/abs/1611.08050) as the pose ControlNets of SD1.5 were trained on them.
"""

from __future__ import annotations

import colorsys
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..video.shapes import Boxes, Images, Masks, Presence
from .keypoints import BODY_POINTS, LIMBS
from .masks import box_masks, ellipse_masks
from .scenes import Entity, Point, Scene

Kind = Literal["box outlines", "filled labels", "blob depth", "scribble", "openpose skeletons"]
Colour = tuple[float, float, float]

# Each point and each limb has the colour of its place: 18 hues in equal steps from red. Limbs are darker.
POINT_COLOURS: tuple[Colour, ...] = tuple(
    colorsys.hsv_to_rgb(place / len(BODY_POINTS), 1, 1) for place in range(len(BODY_POINTS))
)
LIMB_SHADE = 0.6
RADIUS = 4 / 512  # of a point, and half a limb's width, as a share of the picture's shorter side

FARTHEST = 0.25  # brightness of what is farthest; what lies behind it all is black
BULGE = 0.25  # how much darker a blob's rim is than its middle
WOBBLE = 0.12  # of a scribble, as a share of the ellipse's radius
WAVES = (2, 3, 4, 5, 6)  # of a scribble, a turn


def draw_control(
    scene: Scene, kind: Kind, height: int, width: int, *, line_width: float = 3, seed: int = 0
) -> Images:
    """Draw a hint for each frame of a scene.

    Args:
        scene: entities with boxes, or with keypoints for skeletons. What has none is not drawn.
        kind: box outlines: white lines. filled labels: boxes, a colour for each id. blob depth: ellipses, near is
            bright. scribble: ellipses by an unsteady hand. openpose skeletons.
        height: H, in pixels.
        width: W, in pixels.
        line_width: breadth of outlines and scribbles, in pixels.
        seed: number that a scribble's hand depends on; it is another for each id and the same in every frame.

    Returns:
        Float32, on black.

    Raises:
        ValueError: the scene has nothing to draw.
    """
    if kind == "openpose skeletons":
        return _draw_skeletons(scene, height, width)
    entities = scene.placed
    if not entities:
        raise ValueError(
            f"kind={kind!r}: no entity of scene {scene.id} has boxes; expected at least one with a track; plan boxes, "
            "or choose another scene."
        )
    tracks = [each.boxes_at(scene.frames) for each in entities]
    canvas = torch.zeros(scene.frames, height, width, 3)
    for frame, picture in enumerate(canvas):
        there = [
            _Place(entity.id, boxes[frame : frame + 1], height, width, line_width, seed)
            for entity, (boxes, present) in zip(entities, tracks, strict=True)
            if present[frame]
        ]
        for place in sorted(there, key=lambda each: each.near):
            _paint(picture, *_LAYERS[kind](place))
    return canvas


@dataclass(frozen=True)
class _Place:
    """An entity in a frame; ``box`` is [1, 4]."""

    id: str
    box: Tensor
    height: int
    width: int
    line_width: float
    seed: int

    @property
    def near(self) -> float:
        left, top, right, bottom = map(float, self.box[0])
        return (bottom + math.sqrt((right - left) * (bottom - top))) / 2

    def mask(self, draw: Callable[[Boxes, Presence, int, int], Masks]) -> Tensor:
        return draw(self.box, torch.tensor([True]), self.height, self.width)[0]

    def relative(self) -> tuple[Tensor, Tensor]:
        """Return how far right [1, W] and down [H, 1] of the box's middle pixels are, in half sides of the box."""
        left, top, right, bottom = self.box[0]
        across = (torch.arange(self.width)[None, :] + 0.5) / self.width
        down = (torch.arange(self.height)[:, None] + 0.5) / self.height
        return (2 * across - left - right) / (right - left), (2 * down - top - bottom) / (bottom - top)


def _paint(picture: Tensor, cover: Tensor, light: Tensor) -> None:
    """Lay light [3] or [H, W, 1] over a picture [H, W, 3] where it is covered [H, W], in place."""
    picture.lerp_(light.expand_as(picture), cover[..., None])


def _outline(place: _Place) -> tuple[Tensor, Tensor]:
    rim = torch.tensor([place.line_width / place.width, place.line_width / place.height])
    start, stop = place.box[:, :2] + rim, place.box[:, 2:] - rim
    inner = torch.cat([start, torch.maximum(start, stop)], dim=1)
    cover = place.mask(box_masks)
    hole = box_masks(inner, torch.tensor([True]), place.height, place.width)[0]
    # What the line covers of a pixel is white; what the hole covers hides what is behind.
    return cover, ((cover - hole) / cover.clamp_min(1e-6))[..., None]


def _label(place: _Place) -> tuple[Tensor, Tensor]:
    return place.mask(box_masks), torch.tensor(_label_colour(place.id))


def _label_colour(name: str) -> Colour:
    """Return the colour of an id: the same in every scene and storyboard, and hardly ever another's."""
    hue, depth = hashlib.sha256(name.encode()).digest()[:2]
    return colorsys.hsv_to_rgb(hue / 256, 0.85, 0.6 + 0.4 * depth / 255)


def _blob(place: _Place) -> tuple[Tensor, Tensor]:
    x, y = place.relative()
    height = (1 - x**2 - y**2).clamp_min(0).sqrt()
    near = FARTHEST + (1 - FARTHEST) * place.near
    return place.mask(ellipse_masks), (near * (1 - BULGE + BULGE * height))[..., None]


def _scribble(place: _Place) -> tuple[Tensor, Tensor]:
    """Return an ellipse whose radius wavers with the angle, but nowhere reaches over the box."""
    digest = hashlib.sha256(f"{place.seed} {place.id}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    phase, size = torch.rand(2, len(WAVES), generator=generator)
    x, y = place.relative()
    turns = torch.atan2(y, x)[..., None] * torch.tensor(WAVES)
    waver = WOBBLE / 2 * ((turns + 2 * math.pi * phase).cos() * size).sum(dim=-1) / size.sum()
    distance = _distance(torch.hypot(x, y) - (1 - WOBBLE / 2 + waver))
    # The line lies inside of the shape, so that it stays inside of the box.
    line = (0.5 - (distance + place.line_width / 2).abs() + place.line_width / 2).clamp(0, 1)
    cover = (0.5 - distance).clamp(0, 1)
    return cover, (line / cover.clamp_min(1e-6)).clamp_max(1)[..., None]


def _distance(field: Tensor) -> Tensor:
    """Return how many pixels from a field's zero line each pixel [H, W] is, to first order; negative inside."""
    down, across = torch.gradient(field)
    return field / torch.hypot(across, down).clamp_min(1e-6)


_LAYERS: dict[Kind, Callable[[_Place], tuple[Tensor, Tensor]]] = {
    "box outlines": _outline,
    "filled labels": _label,
    "blob depth": _blob,
    "scribble": _scribble,
}


def _draw_skeletons(scene: Scene, height: int, width: int) -> Images:
    bodies = [each for each in scene.entities if _has_body(each)]
    if not bodies:
        raise ValueError(
            f"kind='openpose skeletons': no entity of scene {scene.id} has keypoints of a body; expected some named as "
            f"{', '.join(BODY_POINTS[:3])}, ...; add them, or choose another kind."
        )
    canvas = torch.zeros(scene.frames, height, width, 3)
    for frame, picture in enumerate(canvas):
        for body in bodies:
            _draw_body(picture, body.points_at(frame))
    return canvas


def _has_body(entity: Entity) -> bool:
    return any(name in BODY_POINTS for key in entity.keypoints or () for name in key.points)


def _draw_body(picture: Tensor, points: dict[str, Point]) -> None:
    height, width, _ = picture.shape
    radius = RADIUS * min(height, width)
    places = {name: (x * width, y * height) for name, (x, y) in points.items()}
    for (start, stop), colour in zip(LIMBS, POINT_COLOURS, strict=False):
        if start in places and stop in places:
            shade = torch.tensor(colour) * LIMB_SHADE
            _draw_oval(picture, places[start], places[stop], radius, 0, shade)
    for name, colour in zip(BODY_POINTS, POINT_COLOURS, strict=True):
        if name in places:
            _draw_oval(picture, places[name], places[name], radius, radius, torch.tensor(colour))


def _draw_oval(
    picture: Tensor, start: Point, stop: Point, radius: float, over: float, colour: Tensor
) -> None:
    """Draw an ellipse from point to point, in pixels, ``radius`` to the sides and ``over`` beyond its ends."""
    height, width, _ = picture.shape
    (x0, y0), (x1, y1) = start, stop
    half = math.dist(start, stop) / 2
    angle = math.atan2(y1 - y0, x1 - x0)
    reach = half + radius + 1
    middle = (x0 + x1) / 2, (y0 + y1) / 2
    (left, right), (top, bottom) = (
        (max(0, math.floor(at - reach)), max(0, min(length, math.ceil(at + reach))))
        for at, length in zip(middle, (width, height), strict=True)
    )
    x = torch.arange(left, right)[None, :] + 0.5 - middle[0]
    y = torch.arange(top, bottom)[:, None] + 0.5 - middle[1]
    along = (x * math.cos(angle) + y * math.sin(angle)) / max(half + over, 0.5)
    aside = (y * math.cos(angle) - x * math.sin(angle)) / radius
    level = torch.hypot(along, aside)
    slope = torch.hypot(along / max(half + over, 0.5), aside / radius).clamp_min(1e-6) / level.clamp_min(1e-6)
    cover = (0.5 - (level - 1) / slope).clamp(0, 1)
    _paint(picture[top:bottom, left:right], cover, colour)
