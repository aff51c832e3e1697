"""Video files through FFmpeg (PyAV): frames in, frames out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

EIGHT_BIT_RGB = ("yuvj420p", "yuvj422p", "yuvj444p", "rgb24", "rgba", "pal8")
"""Formats that ComfyUI reads through 8-bit RGB; others through float RGB."""


@dataclass(frozen=True)
class FrameVideo:
    """What a VIDEO socket carries here: ``images`` [N, H, W, 3] in 0..1, at ``fps`` frames a second."""

    images: Tensor
    fps: Fraction
    bit_depth: int = 8

    def save(
        self, path: Path, container: str, codec: str, crf: float | None, metadata: Mapping[str, str]
    ) -> None:
        """Encode to a file.

        Args:
            path: any name; its ending doesn't matter.
            container: mp4, mkv or webm.
            codec: h264 or av1.
            crf: the codec's quality, lower is better; None is the encoder's own default (H.264: 23).
            metadata: texts that go into the file.

        Raises:
            ValueError: an odd width or height, which 4:2:0 colour can't hold.
        """
        import av

        height, width = self.images.shape[1:3]
        if height % 2 or width % 2:
            raise ValueError(
                f"video is {width}x{height} pixels; expected even sides; scale it with ImageScale."
            )

        formats = {"mp4": "mp4", "mkv": "matroska", "webm": "webm"}
        options = {"movflags": "use_metadata_tags+faststart"} if container == "mp4" else {}
        with av.open(str(path), "w", format=formats[container], options=options) as output:
            output.metadata.update(metadata)
            rate = Fraction(round(self.fps * 1000), 1000)
            stream: Any = output.add_stream({"h264": "h264", "av1": "libsvtav1"}[codec], rate=rate)
            stream.height, stream.width = height, width
            stream.pix_fmt = "yuv420p" if self.bit_depth == 8 else "yuv420p10le"
            stream.options = {} if crf is None else {"crf": str(crf)}
            _mark_colours(stream.codec_context)
            for image in self.images:
                frame = self._frame(image).reformat(format=stream.pix_fmt, dst_colorspace=_BT709)
                _mark_colours(frame)
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))

    def _frame(self, image: Tensor) -> Any:
        import av

        if self.bit_depth == 8:
            return av.VideoFrame.from_ndarray(
                (image * 255).clamp(0, 255).byte().cpu().numpy(), format="rgb24"
            )
        deep = (image.float() * 65535).clamp(0, 65535).cpu().numpy().astype(np.uint16)
        return av.VideoFrame.from_ndarray(deep, format="rgb48le")


_BT709 = 1
"""FFmpeg's number of the BT.709 matrix."""


def _mark_colours(target: Any) -> None:
    """Say in the file that colours are BT.709 with sRGB's curve, as ComfyUI 0.33 writes them."""
    from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc

    target.color_primaries = ColorPrimaries.BT709
    target.color_trc = ColorTrc.IEC61966_2_1
    target.colorspace = _BT709
    target.color_range = ColorRange.MPEG


def read_frames(path: Path) -> Tensor:
    """Read every frame of a picture or a video.

    Returns:
        [N, H, W, 3], or [N, H, W, 4] where the file has alpha; float32 in 0..1. No frames of a file that FFmpeg can't
        read whole.
    """
    import av
    from av.error import InvalidDataError

    try:
        with av.open(str(path)) as source:
            frames = [_to_array(frame) for frame in source.decode(video=0)]
    except (InvalidDataError, IndexError):
        frames = []
    return torch.from_numpy(np.stack(frames)) if frames else torch.zeros(0, 0, 0, 3)


def _to_array(frame: Any) -> np.ndarray:
    """Turn a decoded frame into [H, W, 3 or 4], float32, 0..1, upright."""
    name = frame.format.name
    alpha = name == "pal8" or any(part.is_alpha for part in frame.format.components)
    if name in EIGHT_BIT_RGB:
        pixels = frame.to_ndarray(format="rgba" if alpha else "rgb24").astype(np.float32) / np.float32(255)
    else:
        deep = "gbrapf32le" if alpha else "gbrpf32le"
        padded = _pad(frame) if frame.width % 32 else frame
        pixels = padded.to_ndarray(format=deep)[: frame.height, : frame.width]
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation // 90)))


def _pad(frame: Any) -> Any:
    """Pad to multiples of 32 by repeating the border: FFmpeg's conversion is not exact at ragged edges."""
    from av.filter import Graph

    width, height = (-(-side // 32) * 32 for side in (frame.width, frame.height))
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
