"""Latents to a video file, a chunk of frames at a time."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from ...host import api
from ...host.contract import ShownClip
from ...host.video_file import Encoding, NewVideo
from ...models.network.family import check_channels, check_makes_pictures
from ...models.video.chunked_decode import check_clip, decode_chunks
from ..early import check_early, check_output
from ..widgets import choice, fps, line, number, out, schema, socket, whole

io = api.io

LOSSY = "mp4 (H.264)"
FORMATS = {
    LOSSY: Encoding("mp4", "h264", "yuv420p"),
    "mkv (FFV1, lossless)": Encoding("mkv", "ffv1", "bgr0"),
}


class DecodeToVideo(io.ComfyNode):
    """Decode latents straight into a video file, a few frames at a time, whatever the video's length.

    Memory does not grow with the length. The file appears when it is whole: a run that is cancelled or fails
    leaves none, and no file is overwritten. For VAEs of pictures, such as Stable Diffusion's.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Decode To Video", "long video",
            aliases=[
                "preview video", "ADE_AnimateDiffCombine", "VAE Decode Batched", "Video Combine",
                "save video", "SaveVideo", "export video",
            ],
            inputs=[
                socket(io.Latent, "latent", "The frames of one video, in order."),
                socket(io.Vae, "vae",
                    "The VAE: Stable Diffusion's, or another that decodes each frame by itself."),
                fps(),
                line("filename_prefix", "video/frameloom",
                    "Start of the file's name, in the output folder; subfolders, %width% and %height% may be "
                    "in it."),
                choice("format", FORMATS,
                    "Format of the file. H.264 plays everywhere. FFV1 keeps every pixel as VAE Decode gives "
                    "it, in 8 bits, and browsers don't show it."),
                number("crf", 19.0, 0.0, 51.0, 1.0,
                    "Quality of H.264: a lower number is better and makes a larger file. FFV1 has none."),
                whole("frames_per_chunk", 0, 0, 4096,
                    "Frames decoded at a time; 0: as many as 64 MiB hold, which is 21 of 512 x 512. When "
                    "memory runs out, the number is halved and tried again."),
            ],
            outputs=[out(io.Video, "video", "The file, which is read when it is needed.")],
            is_output_node=True,
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, filename_prefix: str | None) -> bool | str:
        """Refuse a place where no file can be written."""
        return check_early(check_output, filename_prefix)

    @classmethod
    def execute(
        cls,
        latent: dict[str, Any],
        vae: Any,
        fps: float,
        filename_prefix: str,
        format: str,
        crf: float,
        frames_per_chunk: int,
    ) -> io.NodeOutput:
        """Run the node."""
        port, encoding, latents = api.port(), FORMATS[format], _check(latent, vae)
        if format == LOSSY:
            encoding = replace(encoding, crf=crf)
        name = partial(port.output_path, filename_prefix, encoding.container)
        with NewVideo(name, encoding, fps, port.file_texts(cls)) as file:
            frames = _decode_into(file, vae, latents, frames_per_chunk, fps)
        video, shown = port.output_video(file.path)
        return io.NodeOutput(video, ui={**shown.as_dict(), **frames.ui()})


def _check(latent: dict[str, Any], vae: Any) -> Tensor:
    latents, family = check_clip(latent), api.port().family(vae)
    check_makes_pictures(family, "Decode To Video", "use core's VAE Decode and Save Video with it", "vae")
    check_channels(family, latents)
    return latents


def _decode_into(file: NewVideo, vae: Any, latents: Tensor, frames_per_chunk: int, fps: float) -> ShownClip:
    port = api.port()
    bar, shown = port.progress(len(latents)), port.show_clip("video", len(latents), fps)
    for images in decode_chunks(lambda part: port.decode(vae, {"samples": part}), latents, frames_per_chunk):
        file.add(images)
        shown.add(images)
        bar.update(file.frames, images[-1])
        port.check_interrupt()
    return shown


NODES: list[type] = [DecodeToVideo]
