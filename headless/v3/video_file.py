"""What VIDEO sockets carry, and the frames of video files, read through FFmpeg (PyAV)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

logger = logging.getLogger(__name__)

EIGHT_BIT_RGB = ("yuvj420p", "yuvj422p", "yuvj444p", "rgb24", "rgba", "pal8")
"""Formats that ComfyUI reads through 8-bit RGB; others through float RGB."""
_HDR_CURVES = {18: "HDR", 16: "HDR PQ"}
"""ComfyUI's names of colour spaces by FFmpeg's number of the curve, HLG and PQ; every other is sRGB to it."""


@dataclass(frozen=True)
class FrameVideo:
    """What a VIDEO socket carries here: ``images`` [N, H, W, 3] in 0..1, at ``fps`` frames a second. No sound."""

    images: Tensor
    fps: Fraction
    bit_depth: int = 8
    color_space: str = "sRGB"

    def decode(self) -> FrameVideo:
        """Return itself."""
        return self


@dataclass(frozen=True)
class FileVideo:
    """What a VIDEO socket carries of a file; nothing is read yet."""

    path: Path

    def decode(self) -> FrameVideo:
        """Read every frame; a sound track is left out, which is logged.

        Raises:
            ValueError: the file is no video, or not a whole one.
        """
        import av

        images = read_frames(self.path)[..., :3]
        if not len(images):
            raise ValueError(
                f"{self.path.name}: got a file that is no video, or only part of one; expected MP4, MKV, WebM or "
                "another video; save or download it again."
            )
        with av.open(str(self.path)) as source:
            if source.streams.audio:
                logger.warning("%s: its sound is left out; the headless runner has none.", self.path.name)
            stream = source.streams.video[0]
            depth = max((part.bits for part in stream.format.components), default=8)
            color_space = _HDR_CURVES.get(stream.color_trc, "sRGB")
            return FrameVideo(images, Fraction(stream.average_rate or 1), depth, color_space)


def read_frames(path: Path) -> Tensor:
    """Read every frame of a picture or a video.

    Returns:
        [N, H, W, 3], or [N, H, W, 4] where the file has alpha; float32 in 0..1. No frames of a file that is none to
        FFmpeg, or only part of one; others may read it.

    Raises:
        ValueError: FFmpeg knows the file and can't read it.
    """
    from av.error import InvalidDataError

    try:
        frames = [_to_array(frame) for frame in _decoded(path)]
    except (InvalidDataError, IndexError):
        frames = []
    return torch.from_numpy(np.stack(frames)) if frames else torch.zeros(0, 0, 0, 3)


def _decoded(path: Path) -> Iterator[Any]:
    """Give a file's frames that are shown: those before time 0 are there for decoding alone."""
    import av
    from av.error import FFmpegError, InvalidDataError

    try:
        with av.open(str(path)) as source:
            yield from (frame for frame in source.decode(video=0) if frame.pts is None or frame.pts >= 0)
    except InvalidDataError:
        raise
    except FFmpegError as error:
        raise ValueError(
            f"{path.name}: got a file that is damaged, or no picture or video ({error.strerror}); expected PNG, JPEG, "
            "WebP, GIF or a video; save or download it again."
        ) from error


def _to_array(frame: Any) -> np.ndarray:
    """Turn a decoded frame into [H, W, 3 or 4], float32, 0..1, upright."""
    name = frame.format.name
    alpha = name == "pal8" or any(part.is_alpha for part in frame.format.components)
    if name in EIGHT_BIT_RGB:
        pixels = frame.to_ndarray(format="rgba" if alpha else "rgb24").astype(np.float32) / np.float32(255)
    else:
        deep = "gbrapf32le" if alpha else "gbrpf32le"
        padded = frame
        while frame.width % 32 and (padded.width % 32 or padded.height % 32):
            padded = _pad(padded)
        pixels = padded.to_ndarray(format=deep)[: frame.height, : frame.width]
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation // 90)))


def _pad(frame: Any) -> Any:
    """Pad to multiples of 32 by repeating the border: FFmpeg's conversion is not exact at ragged edges.

    Its filter fills no border that is wider than the picture: of sides under 16 pixels the picture is only doubled.
    """
    from av.filter import Graph

    width, height = (min(-(-side // 32) * 32, 2 * side) for side in (frame.width, frame.height))
    graph = Graph()
    size = {"width": frame.width, "height": frame.height}
    source = graph.add_buffer(**size, format=frame.format.name, time_base=frame.time_base)
    pad = graph.add("pad", f"{width}:{height}:0:0")
    edges = f"left=0:right={width - frame.width}:top=0:bottom={height - frame.height}"
    fill = graph.add("fillborders", f"{edges}:mode=smear")
    sink = graph.add("buffersink")
    source.link_to(pad)
    pad.link_to(fill)
    fill.link_to(sink)
    graph.configure()
    source.push(frame)
    return sink.pull()
