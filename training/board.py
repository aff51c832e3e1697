"""Figures and samples of a run for TensorBoard, beside ``metrics.jsonl``, which is always written."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor


def has_tensorboard() -> bool:
    """Tell whether a ``Board`` can be made."""
    return find_spec("tensorboard") is not None


class Board:
    """Files of TensorBoard. When a step is written again, the later steps of an earlier run no longer count."""

    def __init__(self, folder: Path) -> None:
        """Prepare the files.

        Args:
            folder: folder of the files, which is made when the first step is added.
        """
        self._folder, self._step = folder, 0
        self._writer: Any = None

    def add(self, step: int, **figures: float) -> None:
        """Write a step.

        Args:
            step: number of the step, from 0.
            figures: figures by their names.
        """
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder), purge_step=step)
        self._step = step
        for name, figure in figures.items():
            self._writer.add_scalar(name, figure, step)

    def picture(self, name: str, pixels: Tensor) -> None:
        """Write a picture of the step that was added last.

        Args:
            name: name of the picture.
            pixels: [H, W, 3] float, 0..1.
        """
        self._writer.add_image(name, pixels, self._step, dataformats="HWC")

    def close(self) -> None:
        """Write what is still in memory."""
        if self._writer is not None:
            self._writer.close()
