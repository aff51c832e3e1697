"""Progress of the node that is running: a bar in a terminal, plain lines in a log. On standard error."""

from __future__ import annotations

import sys

from torch import Tensor
from tqdm import tqdm

LINES = 4
"""Lines a bar becomes in a log."""


class StepBar:
    """One bar.

    Args:
        total: steps.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._bar = tqdm(total=total, leave=False, dynamic_ncols=True) if sys.stderr.isatty() else None

    def update(self, done: int, preview: Tensor | None = None) -> None:
        """Show that ``done`` of the total are done; a terminal shows no preview."""
        del preview
        if self._bar is not None:
            self._bar.update(done - self._done)
            if done >= self._total:
                self._bar.close()
        elif done * LINES // self._total > self._done * LINES // self._total:
            sys.stderr.write(f"  step {done} of {self._total}\n")
            sys.stderr.flush()
        self._done = done
