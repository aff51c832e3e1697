"""A table of what Motion Path makes of texts: the editor in the browser must make the same of them.

Write it again with ``python -m frameloom.tests.support.path_table``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from frameloom.models.zero_shot.motion_path import MotionPath, interpolate, parse_keyframes

TABLE = Path(__file__).resolve().parents[1] / "golden" / "path_interpolation.json"

# Text, frames that are shown, and the picture's size.
_TEXTS = (
    ("0: 0 0\n7: 0.25 0 1.2", range(9), (512, 512)),
    (
        "# all\n12: -.5, 1e-1 .25 -400 # far\n\n 3 : 0.1 -0.2 4, 30\n9:0 0\n",
        (0, 3, 4, 8, 9, 10, 12, 40),
        (640, 360),
    ),
    ("+5: 1_0 5. 1E+0\r\n-0: 0 0\x0c7: 0 0 2", (0, 1, 5, 6, 7), (64, 96)),
    ("10000: 1 1 0.5 720", (0, 9999, 10000, 20000), (512, 512)),
    ("0: 0 0\n10000: 1 -1 3 90", (0, 1, 3333, 9999), (512, 512)),
)
_WRONG = (
    "0: 0 0\n4 0 0",
    "x: 0 0",
    "0: 1",
    "0: 0 0\n\n# but\n4: nan 0",
    "0: 0 0 inf",
    "0: 0 1e999",
    "0: 0 0 1 2 3",
    "-1: 0 0",
    "1.0: 0 0",
    "1e1: 0 0",
    "0: 0x1 0",
    "0: 0 _1",
    "0: 0: 0",
    ": 0 0",
    "2: 0 0\n2: 1 1",
    "0: 0 0\n4: 0 0 0",
    "4: 0 0 -1.5",
)


def table() -> dict[str, Any]:
    """Return the table as the server's own functions make it."""
    texts = []
    for text, frames, size in _TEXTS:
        path = interpolate(max(frames) + 1, parse_keyframes(text))
        corners = path.corners(*size)[frames[-1]]
        texts.append(
            {
                "text": text,
                "places": _places(path, frames),
                "size": size,
                "corners": _digits(corners.tolist()),
            }
        )
    return {"texts": texts, "wrong": [{"text": text, "problem": _problem(text)} for text in _WRONG]}


def _places(path: MotionPath, frames: Any) -> list[list[Any]]:
    """Return each frame with its place: right, down, zoom, angle."""
    return [[k, _digits([*path.move[k].tolist(), float(path.zoom[k]), float(path.angle[k])])] for k in frames]


def _problem(text: str) -> str:
    try:
        interpolate(1, parse_keyframes(text))
    except ValueError as error:
        return str(error)
    raise AssertionError(f"{text!r} is read")


def _digits(values: list[Any]) -> list[Any]:
    return [_digits(value) if isinstance(value, list) else round(value, 12) for value in values]


def text_of(made: dict[str, Any]) -> str:
    """Return the text of the table's file."""
    return json.dumps(made, indent=1) + "\n"


if __name__ == "__main__":
    TABLE.write_text(text_of(table()), "utf-8")
