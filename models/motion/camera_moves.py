"""Ways to say how a camera moves: by the names of moves, or by where the picture goes.

A move by name is an even one. With a its turns about the right, down and forward axes, b its shift, v its speed and
f the frames since it began,

    R = Rz Ry Rx of the angles v (pi / 3) (f / 16) a,    t = v 1.5 (f / 16) b

A picture's way is that of a plane across the view, at a depth z, before the camera: p pixels are a shift of p z / f of
focal length f in pixels, a zoom is z or f itself, and a turn is one about the axis ahead.

Source: the moves are MotionCtrl's (Wang et al. 2023), https://arxiv.org/abs/2312.03641, as AnimateDiff-Evolved names
them.
"""

from __future__ import annotations

import math
import re
from typing import Literal

import torch
from torch import Tensor

from .camera import CANVAS, LENS, CameraPoses

MOVES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "static": ((0, 0, 0), (0, 0, 0)),
    "pan up": ((0, 0, 0), (0, 1, 0)),
    "pan down": ((0, 0, 0), (0, -1, 0)),
    "pan left": ((0, 0, 0), (1, 0, 0)),
    "pan right": ((0, 0, 0), (-1, 0, 0)),
    "zoom in": ((0, 0, 0), (0, 0, -2)),
    "zoom out": ((0, 0, 0), (0, 0, 2)),
    "tilt up": ((-1, 0, 0), (0, 0, 0)),
    "tilt down": ((1, 0, 0), (0, 0, 0)),
    "tilt left": ((0, 1, 0), (0, 0, 0)),
    "tilt right": ((0, -1, 0), (0, 0, 0)),
    "roll clockwise": ((0, 0, -1), (0, 0, 0)),
    "roll anticlockwise": ((0, 0, 1), (0, 0, 0)),
}
"""Turns and shift of every move, in the direction of the camera's view of the world: panning left, all goes right."""
ANGLE, DISTANCE, FRAMES = math.pi / 3, 1.5, 16
MOST_SPEED, RIM = 100.0, 4.0
Zoom = Literal["dolly", "focal length"]
"""What enlarges a picture: coming closer, which moves near things more than far ones, or a longer lens."""

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
_MOVE = re.compile(rf"(?P<name>[a-z]+(?: [a-z]+)?)\s*(?P<speed>{_NUMBER})?")
Rate = tuple[Tensor, Tensor]
"""Turns, [3], and shift, [3], of a move in each sixteenth of its way."""


def parse_moves(text: str) -> dict[int, Rate]:
    """Read moves: ``frame: move speed, move speed``, a line for each frame at which others begin.

    Moves of one line go on together until the next line's begin. The speed may be left out, and of the first line the
    frame. ``# remarks`` and empty lines are skipped.

    Raises:
        ValueError: a line is something else, or a frame comes twice; names the line.
    """
    moves: dict[int, Rate] = {}
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].strip().lower()
        if not content:
            continue
        start, colon, names = content.rpartition(":")
        start = start.strip() if colon else "0"
        found = [_MOVE.fullmatch(each.strip()) for each in names.split(",")]
        if (
            not start.isdecimal()
            or len(start) > 6
            or any(each is None or each["name"] not in MOVES for each in found)
        ):
            raise ValueError(
                f"moves line {number}: got {line.strip()[:60]!r}; expected `frame: move speed, move speed` with moves "
                f"of {', '.join(MOVES)}, such as `0: pan left 1, zoom in 0.5`; correct the line."
            )
        if int(start) in moves:
            raise ValueError(f"moves line {number}: frame {start} comes twice; keep one of its lines.")
        rates = [(MOVES[each["name"]], float(each["speed"] or 1)) for each in found if each is not None]
        fast = next((speed for _, speed in rates if abs(speed) > MOST_SPEED), None)
        if fast is not None:
            raise ValueError(
                f"moves line {number}: got speed {fast:g}; expected {-MOST_SPEED:g} to {MOST_SPEED:g}; lower it."
            )
        turn, shift = (
            sum(
                (speed * torch.tensor(move[part], dtype=torch.float64) for move, speed in rates),
                torch.zeros(3),
            )
            for part in (0, 1)
        )
        moves[int(start)] = ANGLE / FRAMES * turn, DISTANCE / FRAMES * shift
    if not moves:
        raise ValueError("moves: got none; expected at least one line such as `0: pan left 1`; write one.")
    return moves


def move_camera(frames: int, moves: dict[int, Rate]) -> CameraPoses:
    """Return the poses of a camera that makes moves one after another; before the first it stands still.

    Args:
        frames: number of frames.
        moves: moves by the frame at which they begin, each relative to where the camera is and looks then.
    """
    views = [torch.eye(4, dtype=torch.float64)]
    base, start, rate = views[0], 0, moves.get(0)
    for frame in range(1, frames):
        here = base if rate is None else _moved(frame - start, rate) @ base
        views.append(here)
        if frame in moves:
            base, start, rate = here, frame, moves[frame]
    lens = torch.tensor(LENS, dtype=torch.float64).expand(frames, 4)
    ratio = torch.full((frames,), CANVAS[0] / CANVAS[1], dtype=torch.float64)
    return CameraPoses(lens, torch.stack(views)[:, :3], ratio)


def _moved(frames: int, rate: Rate) -> Tensor:
    """Return the view after some frames of a move, [4, 4]."""
    turn, shift = rate
    view = torch.eye(4, dtype=torch.float64)
    x, y, z = (_turn(axis, float(frames * turn[axis])) for axis in range(3))
    view[:3, :3], view[:3, 3] = z @ y @ x, frames * shift
    return view


def _turn(axis: int, angle: float) -> Tensor:
    """Return the turn about one of the three axes, [3, 3], that takes the axis behind it to the next."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    turn = torch.eye(3, dtype=torch.float64)
    turn[first, first] = turn[second, second] = math.cos(angle)
    turn[first, second], turn[second, first] = -math.sin(angle), math.sin(angle)
    return turn


def follow_picture(
    move: Tensor, zoom: Tensor, angle: Tensor, size: tuple[int, int], depth: float = 1.0, by: Zoom = "dolly"
) -> CameraPoses:
    """Return the poses of a camera before which a plane across its view goes a picture's way.

    Args:
        move: [F, 2] float64. Way right and down, as shares of the picture's width and height.
        zoom: [F] float64. Magnification.
        angle: [F] float64. Degrees that the picture is turned clockwise.
        size: height and width of the picture.
        depth: distance of the plane in frame 0, in the poses' unit.
        by: way to enlarge the picture.
    """
    height, width = size
    focal = max(LENS[0] * width, LENS[1] * height)  # pixels: that of a usual camera, cut to the picture
    longer = zoom if by == "focal length" else torch.ones_like(zoom)
    distance = depth * longer / zoom
    turn = torch.stack([_turn(2, float(each)) for each in torch.deg2rad(angle)])
    pixels = move * move.new_tensor([width, height])
    shift = torch.cat([pixels * (distance / (focal * longer))[:, None], (distance - depth)[:, None]], dim=1)
    lens = torch.stack([focal / width * longer, focal / height * longer], dim=1)
    return CameraPoses(
        torch.cat([lens, torch.full_like(lens, 0.5)], dim=1),
        torch.cat([turn, shift[:, :, None]], dim=2),
        torch.full_like(zoom, width / height),
    )


def outlines(poses: CameraPoses, size: tuple[int, int], depth: float) -> Tensor:
    """Return where a plane that fills the first frame lies in each frame, as shares of the picture's sides.

    Args:
        poses: camera of each frame.
        size: height and width of the picture.
        depth: distance of the plane before the first camera.

    Returns:
        [F, 4, 2] float64. Its corners, clockwise from the upper left; what lies far outside, or behind the camera, is
        drawn at the rim.
    """
    sides = poses.lens.new_tensor([size[1], size[0]])
    pixels = poses.pixels(*size)
    focal, middle = pixels[:, None, :2], pixels[:, None, 2:]
    corners = poses.lens.new_tensor([[0, 0], [1, 0], [1, 1], [0, 1]]) * sides
    plane = torch.cat([(corners - middle[0]) / focal[0], torch.ones_like(corners[:, :1])], dim=1) * depth
    turn, place = poses.relative()
    seen = (plane - place[:, None]) @ turn.inverse().mT
    shown = (seen[..., :2] / seen[..., 2:].clamp(min=depth / 100) * focal + middle) / sides
    return shown.clamp(-RIM, 1 + RIM)
