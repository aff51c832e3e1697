"""Animated WebP through Pillow, since FFmpeg does not read it: its times and the decoding of its frames.

FFmpeg reads GIF and animated PNG (``stream``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ...models.errors import ClipError
from .cut import Timeline
from .source import Stamp, Video, check_size, check_unchanged, hash_files, stamp_of
from .upright import fit

if TYPE_CHECKING:
    from PIL import Image

_MILLISECOND = Fraction(1, 1000)
_WEBP = ("WEBP",)


@dataclass(frozen=True)
class AnimationFrames:
    """Frames of an animated picture.

    Attributes:
        path, stamp: path and stamp of the file.
        numbers: rising numbers of the frames.
    """

    path: Path
    stamp: Stamp
    numbers: tuple[int, ...]

    def read(self, width: int, height: int) -> list[Tensor]:
        """See ``source.Frames``."""
        check_unchanged(self.path, self.stamp)
        frames = []
        with opened(self.path, _WEBP) as picture:
            for number in self.numbers:
                picture.seek(number)  # Pillow also draws the frames before it
                frames.append(fit(to_frame(picture), width, height))
        return frames


def look_through_webp(path: Path) -> Video | None:
    """Read an animated WebP. Return None if the file is none.

    Raises:
        ClipError: the file is not whole. The message has the reason without the name.
    """
    with path.open("rb") as file:
        if (head := file.read(16))[:4] != b"RIFF" or head[8:] != b"WEBPVP8X":
            return None
    stamp, size = stamp_of(path), 8 + int.from_bytes(head[4:8], "little")
    if stamp[0] < size:
        raise ClipError(f"is cut short: {stamp[0]:,} of {size:,} bytes are there")
    shown = [*_durations(path)]
    if not shown:
        return None
    with opened(path, _WEBP) as picture:
        frames: int = getattr(picture, "n_frames", 1)
        if frames != len(shown):
            raise ClipError(f"is damaged: {frames} of {len(shown)} frames are there")
        first = to_frame(picture)
    timeline = Timeline.from_durations(shown, _MILLISECOND)
    return Video(
        hash_files([path]),
        first.width,
        first.height,
        timeline,
        lambda numbers: AnimationFrames(path, stamp, numbers),
    )


def to_frame(picture: Image.Image) -> Any:
    """Return an upright picture of Pillow as a frame of PyAV, with its transparency if it has one.

    Raises:
        ClipError: its pixels are not colours.
    """
    from av import VideoFrame
    from PIL import ImageOps

    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):  # 16 bits; Pillow's own conversion clips values above 255
        gray = np.asarray(picture).astype(np.int64)
        if gray.min() < 0 or gray.max() > 65535:
            raise ClipError("has pixels of 32 bits; expected 8 or 16 bits")
        eight = ((gray + 128) // 257).astype(np.uint8)
        return VideoFrame.from_ndarray(np.repeat(eight[..., None], 3, 2), "rgb24")
    if picture.mode == "F":
        raise ClipError("has pixels that are fractions; expected 8 or 16 bits")
    if picture.has_transparency_data:
        return VideoFrame.from_ndarray(np.array(picture.convert("RGBA")), "rgba")
    return VideoFrame.from_ndarray(np.array(picture.convert("RGB")), "rgb24")


@contextmanager
def opened(path: Path, formats: tuple[str, ...] | None = None) -> Iterator[Image.Image]:
    """Open a picture. Nothing is decoded yet.

    Args:
        path: path of the file.
        formats: Pillow's names of the formats that the file may have; None: all.

    Raises:
        ClipError: it is too large, or damaged.
        OSError: it can't be read.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=formats) as picture:
            check_size(*picture.size)
            yield picture
    except UnidentifiedImageError as error:
        raise ClipError("is no picture, or a damaged one") from error
    except (EOFError, SyntaxError, ValueError, RuntimeError) as error:
        if isinstance(error, ClipError):
            raise
        raise ClipError(f"is damaged ({error})") from error


def _durations(path: Path) -> Iterator[int]:
    """Read the duration of each frame, in milliseconds, from the chunks of the file."""
    with path.open("rb") as file:
        file.seek(12)
        while len(head := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", head)
            start = file.tell()
            if name == b"ANMF":
                yield int.from_bytes(file.read(16)[12:15], "little")
            file.seek(start + size + size % 2)
