"""Clips for the scrubber in the browser (web/js/scrubber.js): sheets of frames in the temp folder, and curves."""

from __future__ import annotations

import logging
import math
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import folder_paths
from torch import Tensor

from ..contract import Clips, Curves
from ..frame_sheets import FrameSheets, plan_sheets

SUBFOLDER = "frameloom"


def show_clips(clips: Clips, fps: float = 8.0, curves: Curves | None = None) -> dict[str, list[Any]]:
    """Return the ``ui`` of clips, under keys that core draws nothing for. A disk that is full fails no run."""
    return {
        "frameloom_clips": [_write(title, images, fps) for title, images in clips.items()],
        "frameloom_curves": [
            {"title": title, "lines": {name: _plain(line) for name, line in lines.items()}}
            for title, lines in (curves or {}).items()
        ],
    }


def _write(title: str, images: Tensor, fps: float) -> dict[str, Any]:
    """Write a clip, [F, H, W, 3] or [F, H, W], and return all that the browser must know of it."""
    pictures = images if images.dim() == 4 else images[..., None].expand(-1, -1, -1, 3)
    plan = plan_sheets(len(pictures), *pictures.shape[1:3])
    folder, name = Path(folder_paths.get_temp_directory()) / SUBFOLDER, uuid.uuid4().hex
    sheets = FrameSheets(plan, lambda number: folder / f"{name}_{number}.jpg")
    size = [pictures.shape[2], pictures.shape[1]]
    clip = {"title": title, "fps": fps, "size": size, "subfolder": SUBFOLDER, **asdict(plan)}
    try:
        sheets.add(pictures)
        return clip | {"sheets": [path.name for path in sheets.finish()]}
    except OSError as error:
        logging.warning("Frameloom: the frames can't be shown. %s", error)
        return clip | {"sheets": [], "problem": str(error)}


def _plain(line: Sequence[float]) -> list[float | None]:
    """Return numbers as JSON has them; it has no NaN."""
    return [float(f"{value:.4g}") if math.isfinite(value) else None for value in line]
