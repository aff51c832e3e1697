"""Captions of the videos of a folder: a text file beside each video, or tables for many (CSV, JSON lines).

This file knows the forms of such files. A caption never says where a video is: it is matched to files that were found.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TextIO
from unicodedata import normalize

from ...models.files.json_text import read_json

MAX_CAPTION = 2000  # characters
SIDECARS, CSV, LINES = (".txt", ".caption"), ".csv", ".jsonl"
# Names of columns, the best first. In WebVid's tables (videoid, name, page_dir) the caption is called name.
_CAPTIONS = ("caption", "text", "prompt", "name")
_FILES = (
    "videoid", "file", "file_name", "filename", "video", "video_path", "media_path", "path", "name",
)  # fmt: skip
_FOLDER = "page_dir"
_DELIMITERS = ",;\t"
_ENCODING = "utf-8-sig"  # UTF-8, with or without the mark that Windows programs write at the beginning
_MAX_LINE = 1 << 20  # characters of a line of JSON

Index = Mapping[str, str | None]
"""Names of videos by all names that a table may use; None: several videos have that name."""
Row = Mapping[str, str]


class Skipped(NamedTuple):
    """A file that is not used, and the reason, which follows its name in messages."""

    name: str
    reason: str


def as_prompt(caption: str) -> str:
    r"""Return a caption as a prompt, word for word: its parentheses are escaped, so that they give no weights.

    Examples:
        >>> print(as_prompt("a dog (running)"))
        a dog \(running\)
    """
    return re.sub(r"([()])", r"\\\1", caption)


def read_captions(
    folder: Path, files: Iterable[str], videos: Iterable[str], folders: Iterable[str] = ()
) -> tuple[dict[str, str], list[Skipped]]:
    """Read every caption of a folder.

    The caption of a video is the first of these that is not empty: ``clip.mp4.txt``, ``clip.mp4.caption``,
    ``clip.txt``, ``clip.caption``, then the first row for it in the first table by name. A table has names of columns,
    in the first row of a CSV or in every line of JSON. A row names its video by WebVid's ``videoid`` and ``page_dir``,
    or by the file's name, from the table's folder or from the whole folder, with or without folder and ending. Two
    spellings of one letter, composed or not, are the same name. Line breaks and runs of spaces become one space.

    Args:
        folder: folder of the files.
        files: names of files with captions, relative to the folder, with ``/``.
        videos: names of files that are videos.
        folders: names of folders that are a video each.

    Returns:
        Captions by video, for videos that have one; and files that can't be read, or that name no video in the folder.
    """
    beside = {name: [name, str(PurePosixPath(name).with_suffix(""))] for name in sorted(videos)}
    beside |= {name: [name] for name in folders}
    index = _index(list(beside))
    texts: dict[str, str] = {}  # captions by text file
    rows: dict[str, str] = {}
    skipped = []
    for name in sorted(files):
        path = PurePosixPath(name)
        try:
            with (folder / name).open(encoding=_ENCODING, newline="") as file:
                if path.suffix.lower() in SIDECARS:
                    kept = _same(str(path.with_suffix(path.suffix.lower())))
                    texts[name] = texts[kept] = _clean(file.read(2 * MAX_CAPTION))
                else:
                    table = _read_csv(file) if path.suffix.lower() == CSV else _read_lines(file)
                    rows = _match(table, str(path.parent), index) | rows
        except UnicodeDecodeError as error:
            skipped.append(Skipped(name, f"is not UTF-8 (byte {error.start}); save it as UTF-8"))
        except (csv.Error, OSError, ValueError) as error:
            skipped.append(Skipped(name, str(error)))
    captions = {name: _beside(texts, stems) or rows.get(name, "") for name, stems in beside.items()}
    return {name: text for name, text in captions.items() if text}, skipped


def is_caption(name: str) -> bool:
    """Tell by its ending whether a file holds captions."""
    return PurePosixPath(name).suffix.lower() in (*SIDECARS, CSV, LINES)


def _beside(texts: Mapping[str, str], stems: Iterable[str]) -> str:
    """Return the first caption of the text files beside a video."""
    names = [stem + ending for stem in stems for ending in SIDECARS]
    found = (texts.get(name) or texts.get(_same(name)) for name in names)
    return next(filter(None, found), "")


def _same(name: str) -> str:
    """Return one spelling of a name for all: a letter with an accent may be one character or two."""
    return normalize("NFC", name)


def _index(videos: Sequence[str]) -> Index:
    index: dict[str, str | None] = {}
    for video in videos:
        path = PurePosixPath(_same(video))
        for key in {str(path), str(path.with_suffix("")), path.name, path.stem}:
            index[key] = None if key in index else video
    # A whole name means that video, even if other names end with it.
    index.update((_same(video), video) for video in reversed(videos))
    return index


def _read_csv(file: TextIO) -> Iterator[Row]:
    """Read a table row by row: WebVid's own has ten million rows, few of them for this folder.

    Raises:
        csv.Error: the file is no table.
    """
    head = file.readline()
    delimiter = max(_DELIMITERS, key=head.count)
    columns = [column.strip().lower() for column in next(csv.reader([head], delimiter=delimiter), [])]
    yield dict.fromkeys(columns, "")  # the first row names all columns
    for row in csv.reader(file, delimiter=delimiter):
        yield dict(zip(columns, row, strict=False))


def _read_lines(file: TextIO) -> Iterator[Row]:
    """Read lines of JSON, each of which is an object.

    Raises:
        ValueError: a line is not an object.
    """
    number = 0
    while line := file.readline(_MAX_LINE):
        number += 1
        if not line.strip():
            continue
        try:
            row = read_json(line)
        except ValueError as error:
            raise ValueError(f"has {error} in line {number}; expected an object in each") from error
        if not isinstance(row, dict):
            raise ValueError(f"has no object in line {number}; expected file_name and text in each")
        yield {str(name).strip().lower(): _text(value) for name, value in row.items()}


def _match(table: Iterator[Row], place: str, index: Index) -> dict[str, str]:
    """Return the captions of a table, by video.

    Raises:
        ValueError: the table has no known columns, or names no video of the folder.
    """
    columns = next(table, {})
    caption = next((name for name in _CAPTIONS if name in columns), None)
    video = next((name for name in _FILES if name in columns and name != caption), None)
    if caption is None or video is None:
        raise ValueError(
            f"has the columns {', '.join(columns)[:100] or '(none)'}; expected videoid and name, as WebVid has, or "
            "file and caption; name them in the first row"
        )
    captions: dict[str, str] = {}
    first, is_of_here = "", False
    for row in chain([columns], table):
        name = row.get(video, "")
        first = first or name
        found = _find(place, row.get(_FOLDER, ""), name, index)
        is_of_here |= found is not None
        text = _clean(row.get(caption, ""))
        if found is not None and text:
            captions.setdefault(found, text)
    if first and not is_of_here:
        raise ValueError(f"names no video that is here; its first is {first[:100]!r}")
    return captions


def _find(place: str, folder: str, video: str, index: Index) -> str | None:
    """Return the video that a row names. The table's folder is searched first."""
    name = _same(video.strip().replace("\\", "/").removeprefix("./"))
    inner = f"{_same(folder.strip())}/{name}"
    return next(
        (
            index[each]
            for each in (f"{_same(place)}/{inner}", inner, f"{_same(place)}/{name}", name)
            if index.get(each)
        ),
        None,
    )


def _text(value: Any) -> str:
    """Return a value of JSON as text if it is text, or a number, which may name a file; else an empty text."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _clean(text: str) -> str:
    return " ".join(text.split())
