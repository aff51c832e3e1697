"""Captions of the videos of a folder: a text file beside each, or tables (CSV) of many.

Owns what such files may look like. A caption never says where a video is: it is matched to files that were found.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TextIO

MAX_CAPTION = 2000  # characters
SIDECAR, TABLE = ".txt", ".csv"
# Names of columns, best first. In WebVid's tables (videoid, name, page_dir) the caption is called name.
_CAPTIONS = ("caption", "text", "prompt", "name")
_FILES = ("videoid", "file", "file_name", "filename", "video", "path", "name")
_FOLDER = "page_dir"
_DELIMITERS = ",;\t"
_ENCODING = "utf-8-sig"  # UTF-8, with the mark at its beginning that Windows programs write, or without

Index = Mapping[str, str | None]
"""What a table may call a video -> its name; None: several are called so."""


class Skipped(NamedTuple):
    """A file that is not used, and why; ``reason`` goes behind its name."""

    name: str
    reason: str


def as_prompt(caption: str) -> str:
    r"""Return the prompt that says a caption word for word: its parentheses give no weights.

    Examples:
        >>> print(as_prompt("a dog (running)"))
        a dog \(running\)
    """
    return re.sub(r"([()])", r"\\\1", caption)


def read_captions(folder: Path, files: Iterable[str]) -> tuple[dict[str, str], list[Skipped]]:
    """Read every caption of a folder.

    ``clip.txt`` belongs to ``clip.mp4`` beside it, and goes before tables. A table's first row names its columns; a row
    names its video by WebVid's ``videoid`` and ``page_dir``, or by its name, with or without folder and ending. Line
    breaks and runs of spaces become one space.

    Args:
        folder: where the files are.
        files: names relative to it, with ``/``; captions and videos.

    Returns:
        Video -> caption, for those that have one; and the files that could not be read.
    """
    names = sorted(files)
    videos = [name for name in names if not is_caption(name)]
    index, beside = _index(videos), {name: _without_ending(name) for name in videos}
    texts: dict[str, str] = {}  # text file without its ending -> what it says
    rows: dict[str, str] = {}
    skipped = []
    for name in (name for name in names if is_caption(name)):
        try:
            with (folder / name).open(encoding=_ENCODING, newline="") as file:
                if PurePosixPath(name).suffix.lower() == TABLE:
                    rows = _read_table(file, index) | rows
                else:
                    texts[_without_ending(name)] = _clean(file.read(2 * MAX_CAPTION))
        except UnicodeDecodeError as error:
            skipped.append(Skipped(name, f"is not UTF-8 (byte {error.start}); save it as UTF-8"))
        except (csv.Error, OSError, ValueError) as error:
            skipped.append(Skipped(name, str(error)))
    captions = {video: texts.get(beside[video]) or rows.get(video, "") for video in videos}
    return {video: text for video, text in captions.items() if text}, skipped


def is_caption(name: str) -> bool:
    """Tell whether a file holds captions, by its ending."""
    return PurePosixPath(name).suffix.lower() in (SIDECAR, TABLE)


def _without_ending(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _index(videos: Sequence[str]) -> Index:
    index: dict[str, str | None] = {}
    for video in videos:
        path = PurePosixPath(video)
        for key in {str(path), str(path.with_suffix("")), path.name, path.stem}:
            index[key] = None if key in index else video
    index.update((video, video) for video in videos)  # a whole name is that video's, whatever else ends so
    return index


def _read_table(file: TextIO, index: Index) -> dict[str, str]:
    """Read a table a row at a time: WebVid's own has ten million, of which few are here.

    Raises:
        ValueError: it has no columns that we know.
        csv.Error: it is no table.
    """
    head = file.readline()
    delimiter = max(_DELIMITERS, key=head.count)
    columns = [column.strip().lower() for column in next(csv.reader([head], delimiter=delimiter), [])]
    caption = next((name for name in _CAPTIONS if name in columns), None)
    video = next((name for name in _FILES if name in columns and name != caption), None)
    if caption is None or video is None:
        raise ValueError(
            f"has the columns {', '.join(columns)[:100] or '(none)'}; expected videoid and name, as WebVid has, or "
            "file and caption; name them in the first row"
        )
    captions: dict[str, str] = {}
    for row in csv.reader(file, delimiter=delimiter):
        values = dict(zip(columns, row, strict=False))
        found = _find(values.get(_FOLDER, ""), values.get(video, ""), index)
        text = _clean(values.get(caption, ""))
        if found is not None and text:
            captions.setdefault(found, text)
    return captions


def _find(folder: str, video: str, index: Index) -> str | None:
    video = video.strip().replace("\\", "/").removeprefix("./")
    return index.get(f"{folder.strip()}/{video}") or index.get(video)


def _clean(text: str) -> str:
    return " ".join(text.split())
