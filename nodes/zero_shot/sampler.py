"""Text2Video-Zero in one node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...host import api
from ...host.contract import Conditioning
from ...models.edits.call import PAYLOAD
from ...models.edits.edit import Edit
from ...models.network.family import check_channels, check_offered, check_tokens
from ...models.video.latents import check_finite, check_masks, one_frame, renew_frames
from ...models.video.noise import draw_noise
from ...models.video.schedules import TRAIN_TIMESTEPS
from ...models.zero_shot.cross_frame import CrossFrameEdit
from ...models.zero_shot.latents import chunk_frames, find_levels, smooth_background, warp_forward
from ...models.zero_shot.motion_path import MotionPath as Path
from ..early import check_early
from ..segments import MEMORYLESS, Segments, check_sampler
from ..sockets import PathType
from ..widgets import SCHEDULERS, cfg, choice, number, out, schema, seed, share, socket, whole

io = api.io

PERCENT = "percent"
UNITS = ("timestep", PERCENT)
CROSSED = Edit("cross-frame attention", self_attention=CrossFrameEdit())


class ZeroShotSampler(io.ComfyNode):
    """Text2Video-Zero: sample a video from a plain image model, in one node.

    It samples one frame to t1 and t0, moves it along the path, adds noise up to t1, and samples all frames
    from there while they attend to the first. The first frame is the picture that the model draws by itself
    from Video Noise of the same seed. With a mask, the background is smoothed. The same as Noise Warp, Cross
    Frame Attention and Background Smooth.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Zero Shot Sampler", "zero-shot",
            aliases=[
                "animate", "video without motion module", "Text2Video-Zero", "TextToVideoZeroPipeline",
                "text to video without training",
            ],
            inputs=[
                socket(io.Model, "model", "The model that samples: SD1.5, SDXL, or the demo model."),
                socket(io.Conditioning, "positive", "Positive prompt: what to draw."),
                socket(io.Conditioning, "negative", "Negative prompt: what not to draw."),
                socket(io.Latent, "latent", "One empty latent of the picture's size (batch_size 1)."),
                socket(PathType, "path", "A path from Motion Path; its length is the video's."),
                seed("Seed of the start noise and of each frame's own noise."),
                whole("steps", 50, 1, 10_000, "Steps of the whole noise schedule. The reference takes 50."),
                cfg("Guidance: how closely to follow the prompt. The demo model wants 3."),
                choice("sampler_name", MEMORYLESS,
                    "Sampler. Those in the list remember no step and draw no noise; others break at the "
                    "segments' joints."),
                choice("scheduler", SCHEDULERS,
                    "Noise schedule. ddim_uniform is the reference's.", default="ddim_uniform"),
                number("t0", 881.0, 0.0, 999.0, 0.01,
                    "Noise level at which the frame is warped, less noisy than t1; the schedule's nearest "
                    "step is taken. 881 is the paper's, the demo model wants 640."),
                number("t1", 941.0, 0.0, 999.0, 0.01,
                    "Noise level up to which noise is added again; higher lets frames differ more. 941 is "
                    "the paper's, the demo model wants 700."),
                choice("level_unit", UNITS,
                    "Unit of t0 and t1: timesteps of training, 999 = pure noise; or percent of sampling "
                    "done, 0 to 1."),
                whole("chunk_size", 0, 0, 100_000,
                    "Frames sampled at once, the first frame included, to save memory; 0: all. It does not "
                    "change the result, but with a motion module: a frame then attends to those of its chunk "
                    "alone."),
                socket(io.Mask, "mask",
                    "Foreground of each frame, 1 = foreground. With it, the background is "
                    "smoothed at t1.", optional=True),
                share("keep", 0.4,
                    "Share of a frame's own latents in its background, with a mask.", optional=True),
            ],
            outputs=[out(io.Latent, "latent", "The frames of the video.")],
        )  # fmt: skip

    @classmethod
    def validate_inputs(
        cls,
        sampler_name: str | None,
        t0: float | None = None,
        t1: float | None = None,
        level_unit: str | None = None,
    ) -> bool | str:
        """Refuse samplers with a memory by name, and levels in the wrong order."""
        said = check_early(check_sampler, sampler_name)
        return said if said is not True else check_early(_check_levels, t0, t1, level_unit)

    @classmethod
    def execute(
        cls,
        model: Any,
        positive: Any,
        negative: Any,
        latent: dict[str, Any],
        path: Any,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        t0: float,
        t1: float,
        level_unit: str,
        chunk_size: int,
        mask: Tensor | None = None,
        keep: float = 0.4,
    ) -> io.NodeOutput:
        """Run the node."""
        start = _check_family(model, latent, {"positive": positive, "negative": negative})
        _check(sampler_name, mask, path, chunk_size)
        _check_levels(t0, t1, level_unit)
        sigmas = api.port().sigmas(model, steps, scheduler)
        to_t0, to_t1 = find_levels(sigmas, *(_sigma(model, level, level_unit) for level in (t0, t1)))
        _check_found(to_t0, to_t1, steps)
        chunks = chunk_frames(len(path), chunk_size)
        _check_conditions({"positive": positive, "negative": negative}, len(path), len(chunks))
        bar = Segments(api.port().progress(to_t0 + len(chunks) * (len(sigmas) - 1 - to_t1)).update)
        sampling = _Sampling(model, (positive, negative), sampler_name, cfg, sigmas, to_t0, to_t1, bar)
        frames = sampling.frames(start, path, seed)
        if mask is not None:
            frames = smooth_background(frames, mask, path, keep)
        return io.NodeOutput(renew_frames(latent, sampling.finish(frames, chunks).to(start.device)))


@dataclass(frozen=True)
class _Sampling:
    """The three segments of one schedule, under one bar: to t1, on to t0, and from t1 to the end."""

    model: Any
    sides: tuple[Conditioning, Conditioning]
    sampler: str
    cfg: float
    sigmas: Tensor
    t0: int
    t1: int
    bar: Segments

    def frames(self, start: Tensor, path: Path, seed: int) -> Tensor:
        """Draw one frame down to t0 and make all frames at t1 of it, [F, C, H, W]."""
        noise, levels = draw_noise(seed, [0], start.shape[1:]), self.sigmas[self.t1 : self.t0 + 1]
        at_t1 = self._run(self.model, [0], start, self.sigmas[: self.t1 + 1], noise)
        at_t0 = self._run(self.model, [0], at_t1, levels)
        unit = api.port().noise_unit(self.model)
        return warp_forward(at_t0, path, range(len(path)), seed=seed, sigmas=levels, unit=unit, anchor=at_t1)

    def finish(self, frames: Tensor, chunks: list[list[int]]) -> Tensor:
        """Sample all frames from t1 to the end, chunk by chunk, each behind frame 0."""
        crossed = api.port().install(self.model, CROSSED)
        parts = [self._run(crossed, chunk, frames[chunk], self.sigmas[self.t1 :]) for chunk in chunks]
        return torch.cat([part if index == 0 else part[1:] for index, part in enumerate(parts)])

    def _run(
        self, model: Any, frame_ids: list[int], start: Tensor, sigmas: Tensor, noise: Tensor | None = None
    ) -> Tensor:
        port = api.port()
        positive, negative = (port.select_frames(side, frame_ids) for side in self.sides)
        options = {"noise": torch.zeros_like(start) if noise is None else noise}
        options |= {"sampler": self.sampler, "cfg": self.cfg}
        return self.bar.sample(model, (positive, negative), start, sigmas, **options)


def _check(sampler_name: str, mask: Tensor | None, path: Path, chunk_size: int) -> None:
    check_sampler(sampler_name)
    if mask is not None:
        check_masks(mask, len(path))
    if chunk_size == 1 < len(path):
        raise ValueError(
            "chunk_size=1 holds the first frame alone; expected 0 (all at once) or at least 2; raise it."
        )


def _check_family(model: Any, latent: dict[str, Any], sides: dict[str, Conditioning]) -> Tensor:
    """Return the one frame to start from, if it and the prompts are of the model's kind, and that is SD1.x."""
    family = api.port().family(model)
    check_offered(family, ["self_attention"], CROSSED.name)
    start = one_frame(latent, "the path says how many frames the video has")
    check_finite(start)
    check_channels(family, start)
    for name, side in sides.items():
        check_tokens(family, side, name)
    return start


def _check_levels(t0: float, t1: float, unit: str) -> None:
    for level in (t0, t1):
        if unit == PERCENT and level > 1:
            raise ValueError(
                f"t={level:g} is more than 1 with level_unit='percent'; expected 0 to 1; or choose 'timestep'."
            )
    if t0 == t1 or (t0 > t1) != (unit == PERCENT):
        raise ValueError(
            f"t0={t0:g} is not below t1={t1:g} in noise; expected t1 the noisier one, such as timesteps 881 and 941, "
            "or percents 0.118 and 0.058; exchange them."
        )


def _check_found(t0: int, t1: int, steps: int) -> None:
    if not 0 < t1 < t0:
        raise ValueError(
            f"t1 and t0 are nearest to steps {t1} and {t0} of {steps}; expected two different ones after the first; "
            "raise steps, or set t0 and t1 further apart and t1 lower."
        )


def _check_conditions(sides: dict[str, Conditioning], frames: int, chunks: int) -> None:
    for name, side in sides.items():
        for tokens, options in side:
            for what, rows in (("prompts", tokens), ("masks", options.get("mask"))):
                if rows is not None and len(rows) not in (1, frames):
                    raise ValueError(
                        f"{name}: got {what} for {len(rows)} frames, the path has {frames}; expected one for all, or "
                        "one a frame; make both of the same number of frames."
                    )
        if chunks > 1 and any(PAYLOAD in options for _, options in side):
            raise ValueError(
                f"{name}: got a layout, whose boxes go by the frames' numbers, and {chunks} chunks, in each of which "
                "frames are numbered from 0; expected one chunk; set chunk_size to 0."
            )


def _sigma(model: Any, level: float, unit: str) -> float:
    timestep = (1 - level) * (TRAIN_TIMESTEPS - 1) if unit == PERCENT else level
    return api.port().timestep_to_sigma(model, timestep)


NODES: list[type] = [ZeroShotSampler]
