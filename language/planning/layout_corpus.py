"""Scenes of many layouts, to train a layout prior on."""

from __future__ import annotations

import re
from pathlib import Path

from ...models.storyboard.scenes import Scene
from ..formats.detect import AUTO, read_layout
from ..formats.tracks import Settings

ENDINGS = (".json", ".txt")
# Each of Storyboard20K's lines is a storyboard, so a file of them may be longer than one layout.
_LINES = "Storyboard20K lines"
_LINE = re.compile(r"\s*(keypoint|box)\s*;[^\n]*;[ \t]*\{")
_SETTINGS = Settings()  # one frame for each keyframe


def read_scenes(text: str, name: str = "text") -> list[Scene]:
    """Return every scene of a text in any format that Layout From Text reads.

    Args:
        text: one layout; or Storyboard20K's lines, as many as there are.
        name: name of the text, for errors.

    Raises:
        ValueError: it is of no format; says why.
    """
    pieces = [(text, AUTO)]
    if _LINE.match(text):
        pieces = [(line, _LINES) for line in text.splitlines() if line.strip()]
    scenes: list[Scene] = []
    for number, (piece, format_name) in enumerate(pieces, 1):
        try:
            scenes += read_layout(piece, format_name, _SETTINGS).scenes
        except ValueError as error:
            place = f", line {number} of {len(pieces)}" if len(pieces) > 1 else ""
            raise ValueError(f"{name}{place}: {error}") from error
    return scenes


def read_folder(folder: Path) -> list[Scene]:
    """Return every scene of a folder's layouts, in the order of the files' names.

    Args:
        folder: folder of .json and .txt files.

    Raises:
        ValueError: there are none, or one is no layout, or no UTF-8; names it.
    """
    files = layout_files(folder)
    if not files:
        raise ValueError(
            f"layouts: got no {' or '.join(ENDINGS)} file in {folder.name}; expected what Layout From Text reads; "
            "put some there."
        )
    return [scene for path in files for scene in read_scenes(_read(path), path.name)]


def layout_files(folder: Path) -> list[Path]:
    """Return the layouts in a folder, in the order of their names; none where there is no such folder."""
    found = list(folder.iterdir()) if folder.is_dir() else []
    return sorted(path for path in found if path.suffix.lower() in ENDINGS and path.is_file())


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path.name}: got a byte at {error.start} that is not UTF-8; expected text; save it as UTF-8."
        ) from error
