"""Figures of a training run, a line of JSON for each step, in a file that a resumed run goes on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..models.whole_file import whole_file


class MetricsLog:
    """A file of steps. What comes after the step that a run resumes from is taken out, half a line too."""

    def __init__(self, path: Path) -> None:
        """Read what there is.

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
            self._path.parent.mkdir(parents=True, exist_ok=True)
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
        except ValueError:  # a killed run's last line
            break
    return rows
