"""Starting noise for video, as ComfyUI's NOISE."""

from __future__ import annotations

from typing import Any, get_args

from torch import Tensor

from ...host import api
from ...models.video.noise import FrameNoise, NoiseMode
from ...models.video.noise_blend import Blend, BlendedNoise
from ..widgets import choice, out, schema, seed, share, socket, whole

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
                "Sample Settings",
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


class BlendNoise(io.ComfyNode):
    """Make one start noise of two, for SamplerCustomAdvanced, everywhere or by a mask.

    A little of another seed's noise varies a video that is good; noise that all frames share steadies it. normalised is
    as noisy as a sampler expects, whatever the weight.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Blend Noise", "noise",
            aliases=[
                "noise variation", "variation seed", "noise layers", "ADE_NoiseLayerAdd", "ADE_NoiseLayerAddWeighted",
                "ADE_NoiseLayerNormalizedSum", "ADE_NoiseLayerReplace",
            ],
            inputs=[
                socket(io.Noise, "noise", "The noise, from Video Noise or core's Random Noise."),
                socket(io.Noise, "other", "The noise that is blended in."),
                choice("blend", get_args(Blend),
                    "normalised: as noisy as before, whatever the weight. weighted: (1 - weight) of the one and weight "
                    "of the other, which together are less noise than a sampler expects: softer pictures. add: more "
                    "noise than that. replace: the other noise in place of the one, where the mask is white."),
                share("weight", 0.2, "Weight of the other noise; replace takes all of it."),
                socket(io.Mask, "mask",
                    "Factor on the weight by place, for all frames or one for each; 1 is white.", optional=True),
            ],
            outputs=[
                out(io.Noise, "noise", "The start noise, for the noise input of SamplerCustomAdvanced."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, noise: Any, other: Any, blend: Blend, weight: float, mask: Tensor | None = None
    ) -> io.NodeOutput:
        """Run the node."""
        return io.NodeOutput(BlendedNoise(noise, other, blend, weight, mask))


NODES: list[type] = [VideoNoise, BlendNoise]
