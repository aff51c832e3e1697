"""How a picture moves from frame to frame: a path, and latents warped along it by picking cells.

A path says where the whole picture lies in every frame, seen from frame 0: frame k shows it turned by a_k clockwise,
magnified by z_k, and moved by d_k. With p a place of frame k, and both measured from the picture's middle, W_k takes

    (W_k x)(p) = x(q),    q = R(-a_k) (p - d_k) / z_k

at the cell nearest to q; what lies outside is mirrored at the edge. Cells are picked, never mixed, so latents stay
standard normal where they were, in any dtype.

Source: Text2Video-Zero (Khachatryan et al. 2023), https://arxiv.org/abs/2303.13439, section 3.3.1, for the
translations; the other moves are ours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..storyboard.scenes import Entity
from ..video.shapes import Clip, Frame

PAPER_CANVAS = 512  # pixels: what the paper's strengths are measured on, whatever the picture's size
_KEY = re.compile(r"(?P<frame>[^:]*):(?P<values>.*)")
_NUMBERS = "move right, move down, zoom, angle"


@dataclass(frozen=True)
class MotionPath:
    """Where the picture lies in each frame, float64."""

    move: Tensor  # d_k, [F, 2]: right and down, as shares of the picture's width and height
    zoom: Tensor  # z_k, [F]
    angle: Tensor  # a_k, [F], degrees

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.zoom)

    def source_cells(self, frame: int, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Return the row and the column, [height, width] long each, of the cell that each cell of a frame shows."""
        middle = torch.tensor([width / 2, height / 2], dtype=torch.float64)
        move = self.move[frame] * 2 * middle
        y, x = torch.meshgrid(
            torch.arange(height, dtype=torch.float64) + 0.5 - middle[1] - move[1],
            torch.arange(width, dtype=torch.float64) + 0.5 - middle[0] - move[0],
            indexing="ij",
        )
        turn = torch.deg2rad(self.angle[frame])
        cos, sin = turn.cos() / self.zoom[frame], turn.sin() / self.zoom[frame]
        columns = cos * x + sin * y + middle[0] - 0.5
        rows = cos * y - sin * x + middle[1] - 0.5
        return _reflect(rows.round().long(), height), _reflect(columns.round().long(), width)

    def corners(self, width: float, height: float) -> Tensor:
        """Return where the corners of frame 0's picture lie in each frame, [F, 4, 2], as shares of its sides.

        They go clockwise from the upper left. Only the shape of the picture counts.
        """
        sides = torch.tensor([width, height], dtype=torch.float64)
        corners = torch.tensor([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=torch.float64) / 2 * sides
        turn = torch.deg2rad(self.angle)
        cos, sin = turn.cos() * self.zoom, turn.sin() * self.zoom
        rotation = torch.stack([torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)], 1)
        return corners @ rotation / sides + self.move[:, None] + 0.5


def _reflect(index: Tensor, size: int) -> Tensor:
    """Mirror indices, [...], at the edges, the edge cell included: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ..."""
    index = index.remainder(2 * size)
    return torch.where(index < size, index, 2 * size - 1 - index)


def warp(x: Frame, path: MotionPath, frame_ids: Sequence[int]) -> Clip:
    """Return W_k x for some frames k: the input's own values, on its device."""
    cells = (path.source_cells(k, *x.shape[-2:]) for k in frame_ids)
    frames = [x[0][:, rows.to(x.device), columns.to(x.device)] for rows, columns in cells]
    return torch.stack(frames) if frames else x[:0]


def check_path(path: MotionPath, frames: int) -> None:
    """Check that a path says where the picture lies in every frame of a clip.

    Raises:
        ValueError: it is shorter.
    """
    if frames > len(path):
        raise ValueError(
            f"frame {len(path)} lies outside the motion path of {len(path)} frames; expected 0 to {len(path) - 1}; "
            "give the path as many frames as the video."
        )


def translation(
    frames: int, strength_x: float, strength_y: float, canvas: tuple[int, int] | None = None
) -> MotionPath:
    """Return the paper's global translation: frame k shows what lies k strengths to the right of and below frame 0.

    So positive strengths move the picture left and up. They are pixels a frame, on a canvas of some width and height.
    The reference samples its flow without the half-pixel offset of its grid, so on its canvas, which is the default,
    every moved axis is half a pixel short, here too. On a canvas of one's own a pixel is a pixel.

    Examples:
        >>> translation(3, 8, 0, canvas=(64, 64)).move[1:, 0]
        tensor([-0.1250, -0.2500], dtype=torch.float64)
    """
    k = torch.arange(frames, dtype=torch.float64)
    move = k[:, None] * -torch.tensor([strength_x, strength_y], dtype=torch.float64)
    if canvas is None:
        move, canvas = torch.where(move == 0, 0.0, move + 0.5), (PAPER_CANVAS, PAPER_CANVAS)
    still = torch.zeros(frames, dtype=torch.float64)
    return MotionPath(move / torch.tensor(canvas, dtype=torch.float64), still + 1, still)


Key = tuple[float, float, float, float]
"""Move right and down (shares of the picture's sides), zoom, angle (degrees clockwise)."""


def interpolate(frames: int, keys: dict[int, Key]) -> MotionPath:
    """Return a path through keys by frame: straight between them (zoom in its logarithm), still before and after.

    Raises:
        ValueError: there are no keys, or a zoom is not above 0.
    """
    _check_keys(keys)
    places = torch.tensor(sorted(keys), dtype=torch.float64)
    values = torch.tensor([keys[frame] for frame in sorted(keys)], dtype=torch.float64)
    values[:, 2] = values[:, 2].log()
    k = torch.arange(frames, dtype=torch.float64).clamp(places[0], places[-1])
    after = torch.searchsorted(places, k).clamp(min=min(1, len(places) - 1))
    before = (after - 1).clamp(min=0)
    part = (k - places[before]) / (places[after] - places[before]).clamp(min=1)
    mixed = torch.lerp(values[before], values[after], part[:, None])
    return MotionPath(mixed[:, :2], mixed[:, 2].exp(), mixed[:, 3])


def _check_keys(keys: dict[int, Key]) -> None:
    if not keys:
        raise ValueError("keyframes: got none; expected at least one line such as `0: 0 0`; write one.")
    for number, (_, _, zoom, _) in keys.items():
        if zoom <= 0:
            raise ValueError(
                f"keyframe {number}: zoom={zoom:g} must be above 0; 2 is twice as large, 0.5 half."
            )


def parse_keyframes(text: str) -> dict[int, Key]:
    r"""Read keyframes, one a line: ``frame: right down [zoom [angle]]``. Empty lines and ``# remarks`` are skipped.

    Raises:
        ValueError: a line is something else, or a frame comes twice; names the line.

    Examples:
        >>> parse_keyframes("0: 0 0\n8: 0.25 0 1.5")
        {0: (0.0, 0.0, 1.0, 0.0), 8: (0.25, 0.0, 1.5, 0.0)}
    """
    keys: dict[int, Key] = {}
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        match = _KEY.fullmatch(content)
        try:
            if match is None:
                raise ValueError
            frame = int(match["frame"])
            values = [float(value) for value in match["values"].replace(",", " ").split()]
            if frame < 0 or not 2 <= len(values) <= 4 or not all(map(math.isfinite, values)):
                raise ValueError
        except ValueError:
            raise ValueError(
                f"keyframes line {number}: got {line.strip()!r}; expected `frame: {_NUMBERS}`, the last two optional, "
                "such as `8: 0.25 0 1.5 -10`; correct the line."
            ) from None
        if frame in keys:
            raise ValueError(f"keyframes line {number}: frame {frame} comes twice; keep one of its lines.")
        right, down, zoom, angle = (*values, *(1.0, 0.0)[len(values) - 2 :])
        keys[frame] = (right, down, zoom, angle)
    return keys


def follow_track(frames: int, entity: Entity) -> MotionPath:
    """Return the path that takes an entity along its boxes: their centre by moving, their size by zooming.

    Where the entity is absent the picture keeps its last place; before it first appears, its first. Its first box is
    where frame 0 shows it.

    Raises:
        ValueError: the entity has no boxes in these frames.
    """
    boxes, present = entity.boxes_at(frames)
    seen = [int(frame) for frame in present.nonzero().flatten()]
    if not seen:
        raise ValueError(
            f"entity {entity.id!r} has no box in frames 0 to {frames - 1}; expected a track; choose an entity that has "
            "one, or give it boxes."
        )
    held = [max([number for number in seen if number <= frame], default=seen[0]) for frame in range(frames)]
    boxes = boxes[held].double()
    sides = boxes[:, 2:] - boxes[:, :2]
    from_middle = boxes[:, :2] + sides / 2 - 0.5
    zoom = (sides.prod(1) / sides[0].prod()).sqrt()
    return MotionPath(from_middle - zoom[:, None] * from_middle[0], zoom, torch.zeros_like(zoom))
