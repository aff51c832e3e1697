"""How a picture moves from frame to frame: a path, and latents warped along it by picking cells.

A path says where the whole picture lies in every frame, seen from frame 0: moved, magnified and turned about its
middle. Warping picks the nearest source cell for every cell, so latents stay standard normal where they were, in any
dtype; what comes from outside is mirrored at the edge.

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

from .storyboard import Entity

PAPER_CANVAS = 512  # pixels: what the paper's strengths are measured on, whatever the picture's size
_KEY = re.compile(r"(?P<frame>[^:]*):(?P<values>.*)")
_NUMBERS = "move right, move down, zoom, angle"


@dataclass(frozen=True)
class MotionPath:
    """Where the picture lies in each frame.

    Attributes:
        move: [F, 2] float64. How far right and down it has moved, as a share of the picture's width and height.
        zoom: [F] float64. Magnification, 1 = as in frame 0.
        angle: [F] float64. Degrees clockwise.
    """

    move: Tensor
    zoom: Tensor
    angle: Tensor

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.zoom)

    def source_cells(self, frame: int, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Return the cell that every cell of a frame comes from.

        Args:
            frame: absolute number of the frame.
            height: of the latents, in cells.
            width: of the latents, in cells.

        Returns:
            Rows and columns in the unmoved picture, each [height, width] long.

        Raises:
            ValueError: the path has no such frame.
        """
        if not 0 <= frame < len(self):
            raise ValueError(
                f"frame {frame} lies outside the motion path of {len(self)} frames; expected 0 to {len(self) - 1}; "
                "give the path as many frames as the video."
            )
        middle = torch.tensor([width / 2, height / 2], dtype=torch.float64)
        shift = self.move[frame] * 2 * middle
        y, x = torch.meshgrid(
            torch.arange(height, dtype=torch.float64) + 0.5 - middle[1] - shift[1],
            torch.arange(width, dtype=torch.float64) + 0.5 - middle[0] - shift[0],
            indexing="ij",
        )
        turn = torch.deg2rad(self.angle[frame])
        cos, sin = turn.cos() / self.zoom[frame], turn.sin() / self.zoom[frame]
        columns = cos * x + sin * y + middle[0] - 0.5
        rows = cos * y - sin * x + middle[1] - 0.5
        return _reflect(rows.round().long(), height), _reflect(columns.round().long(), width)

    def corners(self) -> Tensor:
        """Return where the corners of frame 0's picture lie in each frame.

        Returns:
            [F, 4, 2] float64: right and down, as shares of the picture's (square) side, clockwise from the upper left.
        """
        square = torch.tensor([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=torch.float64) / 2
        turn = torch.deg2rad(self.angle)
        cos, sin = turn.cos() * self.zoom, turn.sin() * self.zoom
        rotation = torch.stack([torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)], 1)
        return square @ rotation + self.move[:, None] + 0.5


def _reflect(index: Tensor, size: int) -> Tensor:
    """Mirror indices at the edges, the edge cell included: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ..."""
    index = index.remainder(2 * size)
    return torch.where(index < size, index, 2 * size - 1 - index)


def warp(latent: Tensor, path: MotionPath, frame_ids: Sequence[int]) -> Tensor:
    """Move one frame along a path.

    Args:
        latent: [1, C, H, W], frame 0 unmoved.
        path: where it lies in each frame.
        frame_ids: absolute number of each frame to make.

    Returns:
        [F, C, H, W]: the input's own values, on its device.

    Raises:
        ValueError: the latent is not one frame, or the path is shorter than the clip.
    """
    if latent.dim() != 4 or latent.shape[0] != 1:
        raise ValueError(
            f"latent is {tuple(latent.shape)}; expected one frame, [1, channels, height, width]; take one with Latent "
            "From Batch."
        )
    frames = []
    for frame in frame_ids:
        rows, columns = path.source_cells(frame, *latent.shape[-2:])
        frames.append(latent[0][:, rows.to(latent.device), columns.to(latent.device)])
    return torch.stack(frames) if frames else latent[:0]


def translation(
    frames: int, strength_x: float, strength_y: float, canvas: tuple[int, int] | None = None
) -> MotionPath:
    """Return the paper's global translation: frame k shows what lies k strengths to the right of and below frame 0.

    So positive strengths move the picture left and up. The reference samples its flow without the half-pixel offset of
    its grid, so on its canvas every moved axis is half a pixel short; that is kept here, and latents come out equal to
    it cell for cell. On a canvas of one's own a pixel is a pixel.

    Args:
        frames: F.
        strength_x: pixels a frame, horizontally.
        strength_y: pixels a frame, vertically.
        canvas: width and height of the picture that those pixels are measured on; None: the paper's 512 x 512.

    Examples:
        >>> translation(3, 8, 0, canvas=(64, 64)).move[1:, 0]
        tensor([-0.1250, -0.2500], dtype=torch.float64)
    """
    numbers = torch.arange(frames, dtype=torch.float64)
    move = numbers[:, None] * -torch.tensor([strength_x, strength_y], dtype=torch.float64)
    if canvas is None:
        move, canvas = torch.where(move == 0, 0.0, move + 0.5), (PAPER_CANVAS, PAPER_CANVAS)
    still = torch.zeros(frames, dtype=torch.float64)
    return MotionPath(move / torch.tensor(canvas, dtype=torch.float64), still + 1, still)


def interpolate(frames: int, keys: dict[int, tuple[float, float, float, float]]) -> MotionPath:
    """Return a path through keyframes: straight between them (zoom in its logarithm), still before and after.

    Args:
        frames: F.
        keys: frame -> move right and down (shares), zoom, angle (degrees).

    Raises:
        ValueError: there are no keys, or a zoom is not above 0.
    """
    if not keys:
        raise ValueError("keyframes: got none; expected at least one line such as `0: 0 0`; write one.")
    for number, (_, _, zoom, _) in keys.items():
        if zoom <= 0:
            raise ValueError(
                f"keyframe {number}: zoom={zoom:g} must be above 0; 2 is twice as large, 0.5 half."
            )
    values = torch.tensor([keys[number] for number in sorted(keys)], dtype=torch.float64)
    values[:, 2] = values[:, 2].log()
    places = torch.tensor(sorted(keys), dtype=torch.float64)
    numbers = torch.arange(frames, dtype=torch.float64).clamp(places[0], places[-1])
    after = torch.searchsorted(places, numbers).clamp(min=min(1, len(places) - 1))
    before = (after - 1).clamp(min=0)
    part = (numbers - places[before]) / (places[after] - places[before]).clamp(min=1)
    mixed = torch.lerp(values[before], values[after], part[:, None])
    return MotionPath(mixed[:, :2], mixed[:, 2].exp(), mixed[:, 3])


def parse_keyframes(text: str) -> dict[int, tuple[float, float, float, float]]:
    r"""Read keyframes, one a line: ``frame: right down [zoom [angle]]``. Empty lines and ``# remarks`` are skipped.

    Raises:
        ValueError: a line is something else, or a frame comes twice; names the line.

    Examples:
        >>> parse_keyframes("0: 0 0\n8: 0.25 0 1.5")
        {0: (0.0, 0.0, 1.0, 0.0), 8: (0.25, 0.0, 1.5, 0.0)}
    """
    keys: dict[int, tuple[float, float, float, float]] = {}
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

    Where the entity is absent the picture keeps its last place; before it first appears, its first.

    Args:
        frames: F.
        entity: of a storyboard's scene; its first box is where frame 0 shows it.

    Raises:
        ValueError: the entity has no boxes in these frames.
    """
    boxes, present = entity.boxes_at(frames)
    seen = present.nonzero().flatten().tolist()
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
