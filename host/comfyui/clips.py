"""Clips for the scrubber in the browser (web/js/scrubber.js): sheets of frames in the temp folder, and curves."""

from __future__ import annotations

import logging
import math
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import folder_paths
from torch import Tensor

from ..contract import Clips, Curves
from ..frame_sheets import FrameSheets, plan_sheets

SUBFOLDER = "frameloom"


class ClipSheets:
    """A clip that is handed over bit by bit, for people to look at. A disk that is full fails no run.

    Args:
        title: name of the clip.
        frames: number of its frames.
        fps: frames a second.
    """

    def __init__(self, title: str, frames: int, fps: float) -> None:
        self._clip: dict[str, Any] = {"title": title, "fps": fps, "subfolder": SUBFOLDER, "sheets": []}
        self._frames = frames
        self._sheets: FrameSheets | None = None

    def add(self, images: Tensor) -> None:
        """Hand over the next frames, [N, H, W, 3] or [N, H, W]."""
        pictures = images if images.dim() == 4 else images[..., None].expand(-1, -1, -1, 3)
        if self._sheets is None:
            self._sheets = self._begin(*pictures.shape[1:3])
        self._try(partial(self._sheets.add, pictures))

    def describe(self) -> dict[str, Any]:
        """Write what is left, and return all that the browser must know of the clip."""
        if self._sheets is not None:
            self._try(self._sheets.finish)
            self._clip["sheets"] = (
                [] if "problem" in self._clip else [path.name for path in self._sheets.paths]
            )
        return self._clip

    def ui(self) -> dict[str, list[Any]]:
        """Return the ``ui`` of the clip alone."""
        return {"frameloom_clips": [self.describe()], "frameloom_curves": []}

    def _begin(self, height: int, width: int) -> FrameSheets:
        plan = plan_sheets(self._frames, height, width)
        self._clip |= {"size": [width, height], **asdict(plan)}
        folder, name = Path(folder_paths.get_temp_directory()) / SUBFOLDER, uuid.uuid4().hex
        return FrameSheets(plan, lambda number: folder / f"{name}_{number}.jpg")

    def _try(self, write: Callable[[], object]) -> None:
        if "problem" in self._clip:
            return
        try:
            write()
        except OSError as error:
            logging.warning("Frameloom: the frames can't be shown. %s", error)
            self._clip["problem"] = str(error)


def show_clips(clips: Clips, fps: float = 8.0, curves: Curves | None = None) -> dict[str, list[Any]]:
    """Return the ``ui`` of clips, under keys that core draws nothing for."""
    return {
        "frameloom_clips": [_whole(title, images, fps) for title, images in clips.items()],
        "frameloom_curves": [
            {"title": title, "lines": {name: _plain(line) for name, line in lines.items()}}
            for title, lines in (curves or {}).items()
        ],
    }


def _whole(title: str, images: Tensor, fps: float) -> dict[str, Any]:
    sheets = ClipSheets(title, len(images), fps)
    sheets.add(images)
    return sheets.describe()


def _plain(line: Sequence[float]) -> list[float | None]:
    """Return numbers as JSON has them; it has no NaN."""
    return [float(f"{value:.4g}") if math.isfinite(value) else None for value in line]
