"""Cameras over a clip: poses, and the rays by which a network reads them.

A camera looks right, down and ahead. It has a point x of the world at R x + t of its own axes, where [R | t] is its
view, and shows a point (X, Y, Z) of its own axes at the pixel (fx X / Z + cx, fy Y / Z + cy). All is relative to the
first frame's camera, which therefore stands at 0 and looks ahead. With R, o a camera's turn and place in its axes, the
ray through the centre (u, v) of a pixel has Pluecker coordinates

    d = R l / |l|,    l = ((u - cx) / fx, (v - cy) / fy, 1),    m = o x d

which no choice of a point on the ray changes.

Source: CameraCtrl (He et al. 2024), https://arxiv.org/abs/2404.02101, section 3.2; poses as RealEstate10K (Zhou et al.
2018) has them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..files.json_text import BadJSONError, as_array, read_json

FIELDS = 19
"""Numbers of a pose in a file: time, fx, fy, cx, cy, two that nobody reads, and the view, row by row."""
VIEW = 12
"""Numbers of a view [R | t], row by row."""
CANVAS = (1280, 720)
"""Width and height of RealEstate10K's videos."""
LENS = (0.474812461, 0.844111024, 0.5, 0.5)
"""Focal lengths and centre of a usual camera, as shares of the width and the height of such a video."""
_SQUARE = 0.02  # what a turn in a file may miss by; files round to six digits and more


@dataclass(frozen=True, eq=False)
class CameraPoses:
    """A camera for each frame.

    Attributes:
        lens: [F, 4] float64. Focal lengths fx and fy, and centre cx and cy, as shares of a picture's width and height.
        view: [F, 3, 4] float64. Turn and shift [R | t] that take the world's axes to the camera's.
        ratio: [F] float64. Width over height of the pictures that the shares are of.
    """

    lens: Tensor
    view: Tensor
    ratio: Tensor

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.view)

    def pick(self, frame_ids: Sequence[int]) -> CameraPoses:
        """Return the cameras of some frames, as of a clip of their own.

        Raises:
            ValueError: a frame has none.
        """
        last = max(frame_ids)
        if last >= len(self):
            raise ValueError(
                f"poses: got frame {last} of a clip with {len(self)} poses; expected one for each frame; give the "
                "poses as many frames as the video."
            )
        rows = list(frame_ids)
        return CameraPoses(self.lens[rows], self.view[rows], self.ratio[rows])

    def relative(self) -> tuple[Tensor, Tensor]:
        """Return each camera's turn, [F, 3, 3], and place, [F, 3], in the axes of the first; float64."""
        bottom = self.view.new_tensor([[[0.0, 0.0, 0.0, 1.0]]]).expand(len(self), 1, 4)
        view = torch.cat([self.view, bottom], dim=1)
        place = view[0] @ view.inverse()
        return place[:, :3, :3], place[:, :3, 3]

    def pixels(self, height: int, width: int) -> Tensor:
        """Return fx, fy, cx and cy in pixels of a picture, [F, 4] float64.

        A picture of another shape than the poses' own is a cut of theirs, enlarged until it covers the picture.
        """
        fx, fy, cx, cy = self.lens.unbind(1)
        picture = width / height
        fx = torch.where(self.ratio > picture, fx * self.ratio / picture, fx)
        fy = torch.where(self.ratio > picture, fy, fy * picture / self.ratio)
        return torch.stack([fx * width, fy * height, cx * width, cy * height], dim=1)


def rays(
    poses: CameraPoses, size: tuple[int, int], canvas: tuple[int, int], device: torch.device | None = None
) -> Tensor:
    """Return the Pluecker coordinates (m, d) of the rays through the pixels of a clip's frames.

    Args:
        poses: camera of each frame.
        size: height and width of the picture, in pixels.
        canvas: height and width of what is returned: the picture, and rays beyond its right and lower edges.
        device: device to work on; None: the CPU.

    Returns:
        [F, 6, H, W] float32.
    """
    turn, place = (each.float().to(device) for each in poses.relative())
    fx, fy, cx, cy = poses.pixels(*size).float().to(device)[:, :, None, None].unbind(1)
    v, u = (torch.arange(length, device=device) + 0.5 for length in canvas)
    shape = (len(poses), *canvas)
    x, y = ((u - cx) / fx).expand(shape), ((v[:, None] - cy) / fy).expand(shape)
    local = normalize(torch.stack([x, y, torch.ones_like(x)], dim=1), dim=1)
    ahead = torch.einsum("fij,fjhw->fihw", turn, local)
    moment = place[:, :, None, None].expand_as(ahead).cross(ahead, dim=1)
    return torch.cat([moment, ahead], dim=1)


def read_poses(text: str, width: int, height: int) -> CameraPoses:
    """Read poses as files of RealEstate10K or of MotionCtrl have them.

    RealEstate10K's have a first line with an address, then a line for each frame: time, fx, fy, cx and cy as shares,
    two that stand for nothing, or for width and height of the video as AnimateDiff-Evolved has it, and the view, row by
    row. MotionCtrl's are JSON, a list of views, which gets the lens of the usual camera.

    Args:
        text: text of the file; RealEstate10K's first line may be a pose already.
        width: width of the video that RealEstate10K's poses are of.
        height: height of it.

    Raises:
        ValueError: a line or a view is something else; names it.
    """
    if text.lstrip().startswith("["):
        return _read_views(text)
    lines = [(number, line.replace(",", " ").split()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, words) for number, words in lines if words]
    if lines and not _is_number(lines[0][1][0]):
        lines = lines[1:]
    if not lines:
        raise ValueError(
            f"poses: got no line of numbers; expected one of {FIELDS} numbers for each frame, as RealEstate10K's files "
            "have them, or MotionCtrl's list of views; paste such a file's text."
        )
    rows = torch.tensor([_read_line(number, words) for number, words in lines], dtype=torch.float64)
    own = (rows[:, 5:7] > 0).all(dim=1)
    ratio = torch.where(own, rows[:, 5] / rows[:, 6].clamp(min=1e-9), width / height)
    return CameraPoses(rows[:, 1:5], rows[:, 7:].reshape(-1, 3, 4), ratio)


def _read_views(text: str) -> CameraPoses:
    """Return poses of MotionCtrl's JSON: a list with twelve numbers for each frame."""
    hint = (
        f"expected MotionCtrl's form, [[{VIEW} numbers], ...] with a view for each frame; correct the text."
    )
    try:
        frames = as_array(read_json(text)) or []
    except BadJSONError as error:
        raise ValueError(f"poses: got {error}; {hint}") from error
    if not frames:
        raise ValueError(f"poses: got an empty list; {hint}")
    rows = [as_array(frame) or [] for frame in frames]
    for index, row in enumerate(rows):
        start = f"poses frame {index}: got"
        odd = next(
            (each for each in row if not isinstance(each, int | float) or isinstance(each, bool)), None
        )
        if odd is not None or len(row) != VIEW:
            got = f"{len(row)} values" if odd is None else repr(odd)[:40]
            raise ValueError(f"{start} {got}; {hint}")
        _check_view(start, row)
    view = torch.tensor(rows, dtype=torch.float64).reshape(-1, 3, 4)
    lens = torch.tensor(LENS, dtype=torch.float64).expand(len(view), 4)
    return CameraPoses(lens, view, torch.full((len(view),), CANVAS[0] / CANVAS[1], dtype=torch.float64))


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _read_line(number: int, words: Sequence[str]) -> list[float]:
    """Return the numbers of one pose."""
    start = f"poses line {number}: got"
    odd = next((word for word in words if not _is_number(word)), None)
    if odd is not None or len(words) != FIELDS:
        got = f"{len(words)} values" if odd is None else repr(odd[:40])
        raise ValueError(
            f"{start} {got}; expected {FIELDS} numbers: time, fx, fy, cx, cy, 0, 0, and the 3 x 4 view from world to "
            "camera, row by row; correct the line, or choose a file in RealEstate10K's form."
        )
    values = [float(word) for word in words]
    if not all(map(math.isfinite, values[:7])) or not (0 < values[1] <= 100 and 0 < values[2] <= 100):
        raise ValueError(
            f"{start} focal lengths {values[1]:g} and {values[2]:g}; expected finite numbers above 0, as shares of the "
            "picture's width and height (0.5 and 0.9, say); divide lengths in pixels by the picture's sides."
        )
    _check_view(start, values[7:])
    return values


def _check_view(start: str, numbers: Sequence[float]) -> None:
    """Refuse twelve numbers that are no view."""
    view = torch.tensor(numbers, dtype=torch.float64).reshape(3, 4)
    turn = view[:, :3]
    if not view.isfinite().all() or (turn @ turn.T - torch.eye(3)).abs().max() > _SQUARE or turn.det() < 0:
        raise ValueError(
            f"{start} a view whose first three columns are no turn; expected a rotation matrix and the shift in the "
            "fourth column, all finite; check the order of the numbers."
        )
