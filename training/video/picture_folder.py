"""Folders of numbered pictures: find them, and read their frames. Each folder is one clip.

Such a clip is a subfolder of still pictures whose names differ in a number alone: ``walk/frame_0001.png``, ... Pictures
have no times, so their numbers count as times. A missing number is a lost frame, and the picture before it stays. If
all numbers are 5 apart, a step of 5 is one frame.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from torch import Tensor

from ...models.errors import ClipError
from .cut import Timeline
from .moving_picture import opened, to_frame
from .source import Stamp, Video, check_unchanged, hash_files, named_errors, stamp_of
from .upright import fit

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_MAY_MOVE = (".png", ".webp")
_NUMBER = re.compile(r"(.*?)(\d+)(\D*)", re.DOTALL)
_ORIENTATION = 0x0112  # tag of EXIF; above 4, rows are columns


@dataclass(frozen=True)
class PictureFrames:
    """Pictures of one folder.

    Attributes:
        paths: paths of the pictures.
        stamps: stamps of the pictures.
    """

    paths: tuple[Path, ...]
    stamps: tuple[Stamp, ...]

    def read(self, width: int, height: int) -> list[Tensor]:
        """See ``source.Frames``."""
        frames = []
        for path, stamp in zip(self.paths, self.stamps, strict=True):
            with _named(path), opened(path) as picture:
                check_unchanged(path, stamp)
                frames.append(fit(to_frame(picture), width, height))
        return frames


def find_sequences(folder: Path, files: Iterable[str]) -> dict[str, list[str]]:
    """Return the subfolders that are clips.

    A picture is not a frame if another file beside it has the same name with another ending, such as a caption, or a
    video whose thumbnail it is.

    Args:
        folder: folder to look through.
        files: names of its files, with ``/``.

    Returns:
        Name of the subfolder -> the names of its pictures.
    """
    places: dict[str, list[str]] = defaultdict(list)
    for name in files:
        places[str(PurePosixPath(name).parent)].append(name)
    places.pop(".", None)
    found = {place: _frames(folder, names) for place, names in places.items()}
    return {place: names for place, names in found.items() if len(names) > 1}


def is_still(folder: Path, name: str) -> bool:
    """Tell whether a file is a still picture. Its ending decides, and for some kinds its content."""
    ending = PurePosixPath(name).suffix.lower()
    if ending in _MAY_MOVE:
        with suppress(ClipError, OSError), opened(folder / name) as picture:
            return not getattr(picture, "is_animated", False)
    return ending in _PICTURES


def look_through_pictures(folder: Path, names: Iterable[str]) -> Video:
    """Read the bytes and sizes of all pictures of a clip, and decode one.

    Args:
        folder: folder to look through.
        names: names of the pictures.

    Raises:
        ClipError: they are no frames of one clip; says what is wrong, with the picture's name.
    """
    numbers = _numbers(names)
    order, paths = [*numbers], [folder / name for name in numbers.values()]
    with _named(paths[0]), opened(paths[0]) as picture:
        first = to_frame(picture)
    for path in paths:
        with _named(path), opened(path) as picture:
            is_lying = picture.getexif().get(_ORIENTATION, 1) > 4
            size = picture.size[::-1] if is_lying else picture.size
            if size != (first.width, first.height):
                raise ClipError(
                    f"is {size[0]}x{size[1]}; expected {first.width}x{first.height}, as {paths[0].name}"
                )
    stamps = [stamp_of(path) for path in paths]
    step = math.gcd(*(number - order[0] for number in order))
    timeline = Timeline.from_stamps([number // step for number in order], 1, None)
    lost = (order[-1] - order[0]) // step + 1 - len(order)

    def pick(chosen: tuple[int, ...]) -> PictureFrames:
        return PictureFrames(tuple(paths[each] for each in chosen), tuple(stamps[each] for each in chosen))

    notes = (f"lacks {lost} of its pictures between {order[0]} and {order[-1]}",) if lost else ()
    return Video(hash_files(paths), first.width, first.height, timeline, pick, notes)


def _frames(folder: Path, names: list[str]) -> list[str]:
    """Return the pictures of a folder that may be frames of a clip."""
    others = {PurePosixPath(name) for name in names if PurePosixPath(name).suffix.lower() not in _PICTURES}
    taken = {path.stem for path in others} | {PurePosixPath(path.stem).stem for path in others}  # a.png.txt
    return [
        name
        for name in names
        if PurePosixPath(name) not in others
        and PurePosixPath(name).stem not in taken
        and is_still(folder, name)
    ]


def _numbers(names: Iterable[str]) -> dict[int, str]:
    """Return names by their numbers, in the order of the numbers."""
    numbers: dict[int, str] = {}
    kinds: dict[tuple[str, str], str] = {}
    for name in sorted(names):
        path = PurePosixPath(name)
        match = _NUMBER.fullmatch(path.stem)
        if match is None:
            raise ClipError(f"has {path.name}, whose name holds no number; expected names as frame_0001.png")
        kinds.setdefault((match[1], match[3]), path.name)
        if len(kinds) > 1:
            raise ClipError(
                f"has pictures of several names ({', '.join(kinds.values())}); expected a folder for each"
            )
        if int(match[2]) in numbers:
            other = PurePosixPath(numbers[int(match[2])]).name
            raise ClipError(f"has {other} and {path.name}, which have the same number")
        numbers[int(match[2])] = name
    return dict(sorted(numbers.items()))


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        with named_errors():
            yield
    except ClipError as error:
        raise ClipError(f"has {path.name}, which {error}") from error
