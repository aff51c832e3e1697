"""Starting noise for video, as ComfyUI's NOISE."""

from __future__ import annotations

from typing import get_args

from ..host import api
from ..models.noise import FrameNoise, NoiseMode

io = api.io


class VideoNoise(io.ComfyNode):
    """Frameloom_VideoNoise."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return io.Schema(
            node_id="Frameloom_VideoNoise",
            display_name="Video Noise",
            category="frameloom/noise",
            description="Starting noise for SamplerCustomAdvanced in which every frame's noise depends only on the "
            "seed and the frame's number, whatever batch or window it is sampled in. Frames may share noise, which "
            "steadies a video. Numbers come from the latent's batch_index where it has one (Latent From Batch "
            "keeps it).",
            search_aliases=[
                "PYoCo",
                "shared noise",
                "ADE_AnimateDiffSamplingSettings",
                "ADE_NoiseLayerAddWeighted",
            ],
            inputs=[
                io.Int.Input(
                    "noise_seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="Seed of the noise.",
                ),
                io.Combo.Input(
                    "mode",
                    options=list(get_args(NoiseMode)),
                    default="independent",
                    tooltip="independent: each frame its own. shared: one noise for all. mixed: any two frames "
                    "correlate alike. progressive: neighbours correlate, distant frames hardly.",
                ),
                io.Float.Input(
                    "correlation",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="For mixed and progressive: correlation of the noise of neighbouring frames. PYoCo's "
                    "alpha of 1 is 0.5 in mixed and 0.71 in progressive.",
                ),
                io.Int.Input(
                    "frame_offset",
                    default=0,
                    min=0,
                    max=1_000_000,
                    optional=True,
                    tooltip="Number of the first frame, when this clip continues a longer video.",
                ),
            ],
            outputs=[
                io.Noise.Output(
                    "noise", display_name="noise", tooltip="For the noise input of SamplerCustomAdvanced."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, noise_seed: int, mode: NoiseMode, correlation: float, frame_offset: int = 0
    ) -> io.NodeOutput:
        """Run the node."""
        return io.NodeOutput(FrameNoise(noise_seed, mode, correlation, frame_offset))


NODES: list[type] = [VideoNoise]
