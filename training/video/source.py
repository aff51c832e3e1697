"""A video with its times and a reader of its frames; the same for files, animations and folders."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from ...models.errors import ClipError
from .cut import Timeline

MAX_PIXELS = 64 * 1024 * 1024  # pixels of a frame, as it is stored and as it is scaled
_BLOCK = 1 << 20
Stamp = tuple[int, int]
"""Size of a file in bytes, and its time of change in nanoseconds."""


class Frames(Protocol):
    """Some frames of a video, in order. It is small and can be pickled; nothing is decoded before ``read``."""

    def read(self, width: int, height: int) -> list[Tensor]:
        """Decode the frames, each [height, width, 3] uint8, as ``upright.fit`` returns them.

        Raises:
            ClipError: the file is gone, was changed, or is damaged.
        """
        ...


@dataclass(frozen=True)
class Video:
    """A video whose frames and times are known.

    Attributes:
        content: SHA-256 of the file's bytes.
        width, height: size of the frames in pixels, as a player shows them.
        timeline: times at which the frames are shown.
        pick: function from rising numbers of frames to the reader of those frames.
        notes: remarks for the user, which follow the video's name.
    """

    content: str
    width: int
    height: int
    timeline: Timeline
    pick: Callable[[tuple[int, ...]], Frames]
    notes: tuple[str, ...] = ()


def check_size(width: int, height: int) -> None:
    """Check that a picture is not too large for memory.

    Raises:
        ClipError: it is too large.
    """
    if width * height > MAX_PIXELS:
        raise ClipError(f"is {width}x{height}; expected at most {MAX_PIXELS:,} pixels")


def stamp_of(path: Path) -> Stamp:
    """Return the stamp of a file, which shows later whether the file was changed."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def check_unchanged(path: Path, stamp: Stamp) -> None:
    """Check that a file was not changed since its stamp was taken.

    Raises:
        ClipError: it was changed.
    """
    if stamp_of(path) != stamp:
        raise ClipError("was changed since it was looked through; queue again")


def hash_files(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of the bytes of files, one after another."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


@contextmanager
def named_errors() -> Iterator[None]:
    """Turn errors of FFmpeg, Pillow and the file system into ClipErrors with a reason."""
    from av.error import FFmpegError
    from PIL import Image

    try:
        yield
    except FileNotFoundError as error:
        raise ClipError("is gone") from error
    except FFmpegError as error:
        raise ClipError(f"is no video that FFmpeg can read, or a damaged one ({error.strerror})") from error
    except Image.DecompressionBombError as error:
        raise ClipError(f"is too large; expected at most {MAX_PIXELS:,} pixels") from error
    except OSError as error:
        raise ClipError(f"can't be read ({error.strerror or error})") from error
