"""Progress of the node that is running: a bar in a terminal, plain lines in a log. Our log. On standard error."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

LINES = 4
"""Lines a bar becomes in a log."""


class StepBar:
    """One bar.

    Args:
        total: number of what it counts.
        noun: name of one of them.
    """

    def __init__(self, total: int, noun: str = "step") -> None:
        self._total, self._noun = total, noun
        self._done = 0
        self._bar = (
            tqdm(total=total, unit=noun, leave=False, dynamic_ncols=True) if sys.stderr.isatty() else None
        )

    def update(self, done: int, preview: Tensor | None = None) -> None:
        """Show that ``done`` of the total are done; a terminal shows no preview."""
        del preview
        if self._bar is not None:
            self._bar.update(done - self._done)
            if done >= self._total:
                self._bar.close()
        elif done * LINES // self._total > self._done * LINES // self._total:
            sys.stderr.write(f"  {self._noun} {done} of {self._total}\n")
            sys.stderr.flush()
        self._done = done


@contextmanager
def shown_log() -> Iterator[None]:
    """Show what our code logs, from INFO on and above bars, as long as the context lasts."""
    logger = logging.getLogger(__name__.partition(".")[0])
    level, passed_on = logger.level, logger.propagate
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        with logging_redirect_tqdm([logger]):
            yield
    finally:
        logger.setLevel(level)
        logger.propagate = passed_on
