"""Text2Video-Zero in single nodes: warped noise, cross-frame attention, background smoothing."""

from __future__ import annotations

from typing import Any, get_args

from torch import Tensor

from ...host import api
from ...models.edits.edit import Edit
from ...models.network.family import check_channels, check_makes_pictures
from ...models.network.unet import SD1
from ...models.video.latents import check_finite, check_masks, frames_of, renew_frames
from ...models.zero_shot.cross_frame import Anchor, CrossFrameEdit
from ...models.zero_shot.latents import smooth_background, warp_forward
from ...models.zero_shot.motion_path import check_path
from ..early import check_early, check_range
from ..sockets import PathType
from ..widgets import choice, line, out, percent, schema, seed, share, socket, switch, whole

io = api.io


class NoiseWarp(io.ComfyNode):
    """Make the frames of a video from one half-denoised frame.

    The frame is moved along a path, then noise is added again, each frame's own. Sample one frame from the
    start to t1 and on from t1 to t0; give the latent at t0 and the noise levels between the two, then sample
    all frames from t1 to the end without adding noise (Disable Noise).
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Noise Warp", "zero-shot",
            aliases=["Text2Video-Zero", "motion dynamics", "warp latents", "noise warping"],
            inputs=[
                socket(io.Model, "model", "The model that sampled the frame."),
                socket(io.Latent, "latent", "One frame at t0, with the noise it still has."),
                socket(PathType, "path", "A path from Motion Path; its length is the video's."),
                socket(io.Sigmas, "sigmas",
                    "The noise levels from t1 down to t0: those that the second sampler ran. Split Sigmas "
                    "cuts them out of a schedule, so they always fit the sampler."),
                seed(
                    "Seed of the noise that is added. A frame's noise depends on the seed and the frame's "
                    "number alone."),
                socket(io.Latent, "first_frame",
                    "The same frame at t1, from the first sampler. It takes frame 0's "
                    "place, which makes frame 0 the picture that the model would draw by "
                    "itself, as the paper has it.", optional=True),
            ],
            outputs=[out(io.Latent, "latent", "The frames at t1, noise included.")],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        model: Any,
        latent: dict[str, Any],
        path: Any,
        sigmas: Tensor,
        seed: int,
        first_frame: dict[str, Any] | None = None,
    ) -> io.NodeOutput:
        """Run the node."""
        _check_family(model, latent)
        start, anchor = latent["samples"], None if first_frame is None else first_frame["samples"]
        _check_warp(start, sigmas, anchor)
        unit = api.port().noise_unit(model)
        frames = warp_forward(
            start, path, range(len(path)), seed=seed, sigmas=sigmas, unit=unit, anchor=anchor
        )
        return io.NodeOutput(renew_frames(latent, frames))


def _check_family(model: Any, latent: dict[str, Any]) -> None:
    family = api.port().family(model)
    check_makes_pictures(family, "Noise Warp", "leave Noise Warp out, since a video model moves by itself")
    check_channels(family, frames_of(latent))


def _check_warp(start: Tensor, sigmas: Tensor, anchor: Tensor | None) -> None:
    if anchor is not None and anchor.shape != start.shape:
        raise ValueError(
            f"first frame at t1 is {tuple(anchor.shape)}, at t0 {tuple(start.shape)}; expected equal shapes; take both "
            "from the same sampling."
        )
    if len(sigmas) < 2:
        raise ValueError(
            f"sigmas holds {len(sigmas)} noise levels; expected those from t1 down to t0, two at least; cut them out "
            "with Split Sigmas."
        )
    for latent in (start,) if anchor is None else (start, anchor):
        check_finite(latent)
    if start.shape[0] != 1:
        raise ValueError(
            f"latent is {tuple(start.shape)}; expected one frame, [1, channels, height, width]; take one with Latent "
            "From Batch."
        )
    if sigmas[0] < sigmas[-1]:
        raise ValueError(
            f"noise level {float(sigmas[0]):.4g} is below the latents' own, {float(sigmas[-1]):.4g}; forward noise "
            "only adds; expected t1 before t0 in sampling, that is a higher level."
        )


class CrossFrameAttnPatch(io.ComfyNode):
    """Let the self-attention of every frame read another frame of the batch, so that frames keep one look.

    With the first frame as anchor, frame 0 stays the picture that the model draws by itself. Works with
    LoRAs, ControlNets, FreeU, PAG and motion modules, before or behind them.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Cross Frame Attention", "zero-shot",
            aliases=["Text2Video-Zero", "cross-frame attention", "sparse causal attention", "Tune-A-Video"],
            inputs=[
                socket(io.Model, "model", "The model that samples: SD1.5, SDXL, or the demo model."),
                choice("anchor", get_args(Anchor),
                    "The frame whose keys and values every frame reads: the first (Text2Video-Zero), the "
                    "previous one, both (Tune-A-Video), or a chosen frame."),
                whole("frame", 0, 0, 100_000, "Number of the chosen frame, from 0."),
                share("strength", 1.0,
                    "Share of the anchor in what a frame reads. 1 reads the anchor alone, as the papers do; "
                    "below, keys and values are mixed with the frame's own; 0 returns the model unchanged."),
                percent("start_percent", 0.0,
                    "Point of sampling where it starts to act; 0 is the first step's noise."),
                percent("end_percent", 1.0, "Point of sampling where it stops; 1 is the end."),
                line("levels", ", ".join(map(str, SD1.levels)),
                    "Levels of the UNet in which it acts: 0 is the finest (half of all attention), 2 the "
                    "coarsest, 3 the middle block. SDXL has attention at 1 and 2, and its middle block is of 2."),
                switch("in_controlnet", True,
                    "Act inside the ControlNets of the prompts too, at the same levels, as the paper does."),
            ],
            outputs=[out(io.Model, "model", "A copy of the model, whose frames read the anchor.")],
        )  # fmt: skip

    @classmethod
    def validate_inputs(
        cls, start_percent: float | None, end_percent: float | None, levels: str | None
    ) -> bool | str:
        """Refuse an end before the start, and levels that there are none of."""
        in_order = check_early(check_range, start_percent, end_percent)
        return in_order if in_order is not True else check_early(read_levels, levels)

    @classmethod
    def execute(
        cls,
        model: Any,
        anchor: Anchor,
        frame: int,
        strength: float,
        start_percent: float,
        end_percent: float,
        levels: str,
        in_controlnet: bool = True,
    ) -> io.NodeOutput:
        """Run the node."""
        if strength == 0:
            return io.NodeOutput(model)
        check_range(start_percent, end_percent)
        edit = CrossFrameEdit(
            anchor, frame, strength, start_percent, end_percent, read_levels(levels), in_controlnet
        )
        return io.NodeOutput(api.port().install(model, Edit("cross-frame attention", self_attention=edit)))


def read_levels(text: str) -> frozenset[int]:
    """Read a widget's levels of the UNet, such as ``0, 2``; another, or none, is a ValueError."""
    known = {str(level): level for level in SD1.levels}
    names = text.replace(",", " ").split()
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        wrong = unknown[0] if unknown else "nothing"
        raise ValueError(
            f"levels={text!r}: {wrong!r} is no level; expected some of {', '.join(known)}, with commas between."
        )
    return frozenset(known[name] for name in names)


class BackgroundSmooth(io.ComfyNode):
    """Steady the background of a Text2Video-Zero video.

    Outside of the foreground, the noisy latents of every frame are drawn towards those of the first frame,
    moved along the path. Sample the video once, find the foreground in it, smooth Noise Warp's latents with
    it, and sample again from t1.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Background Smooth", "zero-shot",
            aliases=["Text2Video-Zero", "smooth_bg", "background smoothing"],
            inputs=[
                socket(io.Latent, "latent", "The frames at t1, from Noise Warp."),
                socket(io.Mask, "mask",
                    "Foreground of each frame of the first sampling, 1 = foreground. It may come from any "
                    "segmenter."),
                socket(PathType, "path", "The path that the frames were warped along."),
                share("keep", 0.4,
                    "Share of a frame's own latents in its background. 0.4 is the reference's "
                    "smooth_bg_strength, the paper's alpha of 0.6; 1 smooths nothing."),
            ],
            outputs=[out(io.Latent, "latent", "The frames at t1, to be sampled from there.")],
        )  # fmt: skip

    @classmethod
    def execute(cls, latent: dict[str, Any], mask: Tensor, path: Any, keep: float) -> io.NodeOutput:
        """Run the node."""
        frames = frames_of(latent)
        check_masks(mask, len(frames))
        check_path(path, len(frames))
        return io.NodeOutput({**latent, "samples": smooth_background(frames, mask, path, keep)})


NODES: list[type] = [NoiseWarp, CrossFrameAttnPatch, BackgroundSmooth]
