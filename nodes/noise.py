"""Starting noise for video, as ComfyUI's NOISE."""

from __future__ import annotations

from typing import get_args

from ..host import api
from ..models.noise import FrameNoise, NoiseMode
from .widgets import choice, out, schema, seed, share, whole

io = api.io


class VideoNoise(io.ComfyNode):
    """Frameloom_VideoNoise."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Video Noise", "noise",
            "Starting noise for SamplerCustomAdvanced in which every frame's noise depends only on the seed "
            "and the frame's number, whatever batch or window it is sampled in. Frames may share noise, "
            "which steadies a video. Numbers come from the latent's batch_index where it has one (Latent "
            "From Batch keeps it).",
            aliases=["PYoCo", "shared noise", "ADE_AnimateDiffSamplingSettings", "ADE_NoiseLayerAddWeighted"],
            inputs=[
                seed("Seed of the noise.", "noise_seed"),
                choice("mode", get_args(NoiseMode),
                    "independent: each frame its own. shared: one noise for all. mixed: any two frames "
                    "correlate alike. progressive: neighbours correlate, distant frames hardly."),
                share("correlation", 0.5,
                    "For mixed and progressive: correlation of the noise of neighbouring frames. PYoCo's "
                    "alpha of 1 is 0.5 in mixed and 0.71 in progressive."),
                whole("frame_offset", 0, 0, 1_000_000,
                    "Number of the first frame, when this clip continues a longer video.", optional=True),
            ],
            outputs=[out(io.Noise, "noise", "For the noise input of SamplerCustomAdvanced.")],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, noise_seed: int, mode: NoiseMode, correlation: float, frame_offset: int = 0
    ) -> io.NodeOutput:
        """Run the node."""
        return io.NodeOutput(FrameNoise(noise_seed, mode, correlation, frame_offset))


NODES: list[type] = [VideoNoise]
