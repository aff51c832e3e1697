"""Nodes that make and save videos."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from torch import Tensor

from .. import io
from ..folders import folders, whole_file
from ..ui import PreviewVideo, SavedResult, hidden_texts
from .core_node import CoreNode
from .video_file import FrameVideo


class CreateVideo(CoreNode):
    """Pictures at a frame rate."""

    @classmethod
    def execute(cls, images: Tensor, fps: float, bit_depth: int = 8) -> io.NodeOutput:
        """Return a VIDEO; nothing is encoded yet."""
        return io.NodeOutput(FrameVideo(images[..., :3], Fraction(fps), bit_depth))


class SaveVideo(CoreNode):
    """An MP4, MKV or WebM file with the workflow in it."""

    @classmethod
    def execute(
        cls,
        video: FrameVideo,
        filename_prefix: str,
        format: dict[str, Any],
        codec: dict[str, Any] | None = None,
    ) -> io.NodeOutput:
        """Encode. ``format.codec`` is how 0.33 writes a workflow, ``codec`` beside it how older versions did."""
        container = format["format"].replace("auto", "mp4")
        chosen = format.get("codec") or codec or {"codec": "auto"}
        name = chosen["codec"].replace("auto", "av1" if container == "webm" else "h264")
        encoding = chosen.get("encoding", {})
        if encoding.get("color_space", "auto") not in ("auto", "sRGB"):
            raise ValueError(
                f"color_space={encoding['color_space']!r} is not written headless; expected auto or sRGB; choose one."
            )
        if container == "webm" and name != "av1":
            raise ValueError(
                f"codec={name!r} doesn't go into WebM; expected av1 or auto; choose one, or mp4."
            )
        height, width = video.images.shape[1:3]
        new = folders().new_files(filename_prefix, width=width, height=height)
        file = new.filename(container)
        with whole_file(new.folder / file) as part:
            video.save(part, container, name, encoding.get("crf"), hidden_texts(cls))
        return io.NodeOutput(video, ui=PreviewVideo([SavedResult(file, new.subfolder, io.FolderType.output)]))


NODES = [CreateVideo, SaveVideo]
