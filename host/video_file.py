"""Write a video file frame by frame through FFmpeg (PyAV), under its own name only when it is whole. For both hosts."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor

_MUXERS = {"mp4": "mp4", "mkv": "matroska", "webm": "webm"}
"""FFmpeg's name of a container, by the ending of its files."""
_BT709, _SRGB_CURVE, _STUDIO_RANGE = 1, 13, 1
"""FFmpeg's numbers: of BT.709's primaries and of its matrix, of sRGB's curve, of 16..235."""


@dataclass(frozen=True)
class Encoding:
    """How pictures become a file.

    Attributes:
        container: mp4, mkv or webm; the file's ending too.
        encoder: FFmpeg's name of it.
        pixels: FFmpeg's name of the pixel format that is stored.
        crf: the encoder's quality, lower is better; None is its own default (H.264: 23).
    """

    container: str
    encoder: str
    pixels: str
    crf: float | None = None

    @property
    def is_yuv(self) -> bool:
        """Whether colours are stored at half the size."""
        return self.pixels.startswith("yuv420")


class NewVideo:
    """A video file that is being written, one chunk after another; what is written already is not in memory.

    Use it in ``with``. The file lies beside its place under a temporary name; it gets its own when the block ends
    well, and is gone if it does not. A file that is there is never overwritten. A thread encodes a chunk while the next
    one is made; it is gone when the block ends.

    Args:
        name: function that returns a free path for the pictures' width and height; called at the first pictures, and
            again if somebody took the name meanwhile.
        encoding: settings of the encoder.
        fps: frames a second; kept to a thousandth.
        texts: texts that the file also carries.

    Attributes:
        path: the file, once it is whole.
        frames: frames handed over so far.
    """

    path: Path

    def __init__(
        self,
        name: Callable[[int, int], Path],
        encoding: Encoding,
        fps: float | Fraction,
        texts: Mapping[str, str],
    ) -> None:
        self.frames = 0
        self._name, self._encoding, self._texts = name, encoding, texts
        self._rate = Fraction(round(fps * 1000), 1000)
        self._part: Path | None = None
        self._output: Any = None
        self._stream: Any = None
        self._thread = ThreadPoolExecutor(1, "video")
        self._writing: Future[None] | None = None
        self._written = 0

    def __enter__(self) -> NewVideo:
        return self

    def add(self, images: Tensor) -> None:
        """Hand over pictures, once those before them are written.

        Args:
            images: [N, H, W, 3] float, 0..1; 8 bits are rounded down, as ComfyUI does. They must not change any more.

        Raises:
            ValueError: an odd width or height, which 4:2:0 colour can't hold.
            OSError: the pictures before these can't be written.
        """
        if self._part is None:
            self._begin(*images.shape[1:3])
        self._wait()
        self._writing = self._thread.submit(self._write, images)
        self.frames += len(images)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._wait()
                with self._named_errors():
                    self._finish()
        finally:
            self._thread.shutdown()
            if self._output is not None:
                with contextlib.suppress(OSError):
                    self._output.close()
            if self._part is not None:
                self._part.unlink(missing_ok=True)

    def _wait(self) -> None:
        """Wait for the pictures that are being written, and raise what they raised."""
        if self._writing is not None:
            self._writing.result()

    def _write(self, images: Tensor) -> None:
        with self._named_errors():
            for image in images:
                self._output.mux(self._stream.encode(self._frame(image)))
                self._written += 1

    def _begin(self, height: int, width: int) -> None:
        if self._encoding.is_yuv and (height % 2 or width % 2):
            raise ValueError(
                f"video is {width}x{height} pixels; expected even sides; scale it with ImageScale."
            )
        self.path = self._name(width, height)
        self._part = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex[:8]}.part")
        with self._named_errors():
            self._open(str(self._part), width, height)

    def _open(self, part: str, width: int, height: int) -> None:
        import av

        container = self._encoding.container
        options = {"movflags": "use_metadata_tags+faststart"} if container == "mp4" else {}
        self._output = av.open(part, "w", format=_MUXERS[container], options=options)
        self._output.metadata.update(self._texts)
        self._stream = self._output.add_stream(self._encoding.encoder, rate=self._rate)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = self._encoding.pixels
        self._stream.options = {} if self._encoding.crf is None else {"crf": str(self._encoding.crf)}
        if self._encoding.is_yuv:  # marked as ComfyUI 0.33 does: BT.709 with sRGB's curve
            colours = self._stream.codec_context
            colours.color_primaries = colours.colorspace = _BT709
            colours.color_trc, colours.color_range = _SRGB_CURVE, _STUDIO_RANGE

    def _frame(self, image: Tensor) -> Any:
        import av

        if self._encoding.pixels.endswith("10le"):
            pixels = (image.float() * 65535).clamp(0, 65535).cpu().numpy().astype("uint16")
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb48le")
        else:
            pixels = (image.float() * 255).clamp(0, 255).byte().cpu().numpy()
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        if not self._encoding.is_yuv:
            return frame.reformat(format=self._encoding.pixels)
        return frame.reformat(format=self._encoding.pixels, dst_colorspace=_BT709)

    def _finish(self) -> None:
        """Write what the encoder holds back, and give the file its name."""
        if self._part is None:
            raise ValueError("video: got no frames; expected one at least.")
        self._output.mux(self._stream.encode(None))
        self._output.close()
        while not _claim(self.path):
            self.path = self._name(self._stream.width, self._stream.height)
        try:
            os.replace(self._part, self.path)
        except OSError:
            self.path.unlink()
            raise

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(
                f"{self.path.name}: writing the video failed after {self._written} frames ({error.strerror or error}); "
                f"nothing of it is left; look whether {self.path.parent} has room and may be written to."
            ) from error


def _claim(path: Path) -> bool:
    """Make an empty file, unless there is one of that name."""
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
