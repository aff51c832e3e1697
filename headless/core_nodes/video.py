"""Nodes that load, take apart, make and save videos."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from typing import Any

from torch import Tensor

from ...host import api
from ...host.video_file import Encoding, NewVideo
from ...models.video.guards import check_frames
from ..v3 import io
from ..v3.core_node import CoreNode, LoadingNode, SavingNode
from ..v3.folders import folders
from ..v3.ui import hidden_texts, show_video
from ..v3.video_file import FileVideo, FrameVideo


class LoadVideo(LoadingNode):
    """A video of the input folder."""

    file, kind = "file", "video"

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        """Return a VIDEO; nothing is read yet."""
        return io.NodeOutput(FileVideo(folders().existing(file)))


class GetVideoComponents(CoreNode):
    """The frames of a video, and how they were stored."""

    @classmethod
    def execute(cls, video: FrameVideo | FileVideo) -> io.NodeOutput:
        """Return the pictures, no sound, frames a second, bits a channel, and the name of the colour space."""
        parts = video.decode()
        images = parts.images.to(api.port().compute_device())
        return io.NodeOutput(images, None, float(parts.fps), parts.bit_depth, parts.color_space)


class CreateVideo(CoreNode):
    """Pictures at a frame rate."""

    @classmethod
    def execute(cls, images: Tensor, fps: float, audio: Any = None, bit_depth: int = 8) -> io.NodeOutput:
        """Return a VIDEO; nothing is encoded yet."""
        if audio is not None:
            raise ValueError(
                "audio: got a sound track, which is not written headless; expected none; leave the input free, or run "
                "this workflow in ComfyUI."
            )
        return io.NodeOutput(FrameVideo(images[..., :3], Fraction(fps), bit_depth))


class SaveVideo(SavingNode):
    """An MP4, MKV or WebM file with the workflow in it."""

    @classmethod
    def execute(
        cls,
        video: FrameVideo | FileVideo,
        filename_prefix: str,
        format: dict[str, Any],
        codec: dict[str, Any] | None = None,
    ) -> io.NodeOutput:
        """Encode. ``format.codec`` is how 0.33 writes a workflow, ``codec`` beside it how older versions did."""
        if isinstance(video, FileVideo):
            raise ValueError(
                f"video: {video.path.name} as it was loaded is not saved again headless; expected frames; put "
                "GetVideoComponents and CreateVideo between."
            )
        container = format["format"].replace("auto", "mp4")
        chosen = format.get("codec") or codec or {"codec": "auto"}
        codec_name = chosen["codec"].replace("auto", "av1" if container == "webm" else "h264")
        wanted = chosen.get("encoding", {})
        if wanted.get("color_space", "auto") not in ("auto", "sRGB"):
            raise ValueError(
                f"color_space={wanted['color_space']!r} is not written headless; expected auto or sRGB; choose one."
            )
        if container == "webm" and codec_name != "av1":
            raise ValueError(
                f"codec={codec_name!r} doesn't go into WebM; expected av1 or auto; choose one, or mp4."
            )
        check_frames(video.images, "video")
        encoding = Encoding(
            container,
            {"h264": "h264", "av1": "libsvtav1"}[codec_name],
            "yuv420p" if video.bit_depth == 8 else "yuv420p10le",
            wanted.get("crf"),
        )
        name = partial(folders().new_path, filename_prefix, container)
        with NewVideo(name, encoding, video.fps, hidden_texts(cls)) as file:
            file.add(video.images)
        return io.NodeOutput(video, ui=show_video(file.path))
