"""Figures of a training run: a line of JSON for each step, in a file that a resumed run continues."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..models.files.whole_file import whole_file


class MetricsLog:
    """A file of steps. Lines after the step that a run resumes from are removed, and so is half a line."""

    def __init__(self, path: Path) -> None:
        """Read the steps so far.

        Args:
            path: path of the file, which is made when the first step is added.
        """
        self._path, self._is_open = path, False
        self._rows = _read(path)

    def add(self, step: int, **figures: float) -> None:
        """Write a step.

        Args:
            step: number of the step, from 0.
            figures: figures by their names.
        """
        row = {"step": step, **figures}
        if not self._is_open:
            self._rows = [each for each in self._rows if each["step"] < step]
            text = "".join(json.dumps(each) + "\n" for each in self._rows)
            with whole_file(self._path) as part:
                part.write_text(text, encoding="utf-8")
            self._is_open = True
        self._rows.append(row)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def column(self, name: str) -> list[float]:
        """Return a figure of every step, in order."""
        return [row[name] for row in self._rows]


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:  # the last line of a killed run
            break
    return rows
