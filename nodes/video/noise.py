"""Starting noise for video, as ComfyUI's NOISE."""

from __future__ import annotations

from typing import get_args

from ...host import api
from ...models.video.noise import FrameNoise, NoiseMode
from ..widgets import choice, out, schema, seed, share, whole

io = api.io


class VideoNoise(io.ComfyNode):
    """Make start noise that depends only on the seed and a frame's number, for SamplerCustomAdvanced.

    A frame has the same noise in whatever batch or window it is sampled. Frames may share noise, which
    steadies a video. Numbers come from the latent's batch_index where it has one (Latent From Batch keeps
    it).
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Video Noise", "noise",
            aliases=[
                "PYoCo", "shared noise", "ADE_AnimateDiffSamplingSettings", "ADE_NoiseLayerAddWeighted", "auto1111",
            ],
            inputs=[
                seed("Seed of the noise.", "noise_seed"),
                choice("mode", get_args(NoiseMode),
                    "Relation of the noise of frames. independent: each frame its own. shared: one noise for "
                    "all. mixed: any two frames correlate alike. progressive: neighbours correlate, distant "
                    "frames hardly. seed + frame: each has the noise of a single picture of a seed, which is one "
                    "more from frame to frame, as in Automatic1111."),
                share("correlation", 0.5,
                    "Correlation of the noise of neighbouring frames, for mixed and progressive. PYoCo's "
                    "alpha of 1 is 0.5 in mixed and 0.71 in progressive."),
                whole("frame_offset", 0, 0, 1_000_000,
                    "Number of the first frame, when this clip continues a longer video.", optional=True),
            ],
            outputs=[
                out(io.Noise, "noise", "The start noise, for the noise input of SamplerCustomAdvanced."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, noise_seed: int, mode: NoiseMode, correlation: float, frame_offset: int = 0
    ) -> io.NodeOutput:
        """Run the node."""
        return io.NodeOutput(FrameNoise(noise_seed, mode, correlation, frame_offset))


NODES: list[type] = [VideoNoise]
