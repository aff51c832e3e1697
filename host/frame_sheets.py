"""A clip as sheets: JPEG pictures of many small frames each, to look through frame by frame without a video decoder.

A browser draws any frame out of a sheet that it has, at once and exactly; a video it would have to seek in. What is
written is bounded: long clips have smaller frames, and longer ones only every ``step``-th frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from ..models.files.whole_file import whole_file

# Sheets of a clip, and pixels of their sides, at most. All of noise, which takes 15 bits a pixel, would be 64 MB;
# those of most videos are a tenth of it.
SHEETS, SHEET_SIDE = 8, 2048
# A frame's longer side, in pixels: at most the first, and not below the second so that more frames fit in.
SIDE, LEAST_SIDE = 512, 256
QUALITY = 90
# JPEG works in blocks of this many pixels; in cells of whole blocks frames have nothing of their neighbours.
_BLOCK = 8


@dataclass(frozen=True)
class SheetPlan:
    """How the frames of a clip lie on sheets, row by row.

    Attributes:
        frames: number of the clip's frames.
        step: frames from one that is kept to the next; 1 keeps all.
        width: width of a frame on a sheet, in pixels.
        height: height of it.
        cell: width and height of the place that it has, in whole blocks.
        columns: frames side by side on a sheet.
        rows: rows of frames on a sheet; the last sheet may have fewer.
    """

    frames: int
    step: int
    width: int
    height: int
    cell: tuple[int, int]
    columns: int
    rows: int


def plan_sheets(frames: int, height: int, width: int) -> SheetPlan:
    """Return how a clip of some size, in pixels, is laid out: as large as fits, but never enlarged."""
    longer = max(height, width)
    for side in range(min(SIDE, longer), min(LEAST_SIDE, longer) - 1, -_BLOCK):
        small = [max(1, round(length * side / longer)) for length in (width, height)]
        cell = -(-small[0] // _BLOCK) * _BLOCK, -(-small[1] // _BLOCK) * _BLOCK
        columns, rows = SHEET_SIDE // cell[0], SHEET_SIDE // cell[1]
        step = max(1, -(-frames // (SHEETS * columns * rows)))
        if step == 1:
            break
    return SheetPlan(frames, step, small[0], small[1], cell, columns, rows)


class FrameSheets:
    """The sheets of a clip that is handed over bit by bit. No more than one of them is in memory.

    Args:
        plan: layout of the clip.
        name: function that returns the path of the sheet of a number.

    Attributes:
        paths: the sheets that are written.
    """

    def __init__(self, plan: SheetPlan, name: Callable[[int], Path]) -> None:
        self.paths: list[Path] = []
        self._plan, self._name = plan, name
        self._seen = self._kept = 0
        self._sheet = _blank(plan)

    def add(self, images: Tensor) -> None:
        """Hand over the next frames.

        Args:
            images: [N, H, W, 3 or 4] float, 0..1.

        Raises:
            OSError: a sheet can't be written.
        """
        plan = self._plan
        for frame in images[-self._seen % plan.step :: plan.step]:
            row, column = divmod(self._kept % (plan.columns * plan.rows), plan.columns)
            self._sheet.paste(_in_cell(frame, plan), (column * plan.cell[0], row * plan.cell[1]))
            self._kept += 1
            if self._kept % (plan.columns * plan.rows) == 0:
                self._write(plan.rows)
        self._seen += len(images)

    def finish(self) -> list[Path]:
        """Write what is left, and return the paths of all sheets."""
        left = self._kept % (self._plan.columns * self._plan.rows)
        if left:
            self._write(-(-left // self._plan.columns))
        return self.paths

    def _write(self, rows: int) -> None:
        path = self._name(len(self.paths))
        used = self._sheet.crop((0, 0, self._sheet.width, rows * self._plan.cell[1]))
        with whole_file(path) as part:
            # Colours at the full size: a line of one pixel keeps its own.
            used.save(part, "JPEG", quality=QUALITY, subsampling=0)
        self.paths.append(path)
        self._sheet = _blank(self._plan)


def _blank(plan: SheetPlan) -> Image.Image:
    return Image.new("RGB", (plan.columns * plan.cell[0], plan.rows * plan.cell[1]))


def _in_cell(frame: Tensor, plan: SheetPlan) -> Image.Image:
    """Return a frame, [H, W, 3 or 4], as a picture of its cell; what it leaves free of it repeats its edge."""
    pixels = (frame[..., :3].float() * 255).clamp_(0, 255).byte().cpu().numpy()
    picture = Image.fromarray(pixels)
    if picture.size != (plan.width, plan.height):
        picture = picture.resize((plan.width, plan.height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    if picture.size != plan.cell:
        free = (0, plan.cell[1] - plan.height), (0, plan.cell[0] - plan.width), (0, 0)
        picture = Image.fromarray(np.pad(np.asarray(picture), free, "edge"))
    return picture
