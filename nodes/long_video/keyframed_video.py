"""A long video on a model of video, of clips between exact keyframes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ...host import api
from ...host.contract import ClipEnds, Conditioning, Latent
from ...models.files.keys import hash_settings, plain
from ...models.long_video.job_folder import JobFolder, open_folder, probe_steps
from ...models.long_video.keyframed import (
    ClipJob,
    JoinedVideo,
    KeyframedPlan,
    Watch,
    grey_ends,
    job_noise,
    job_seed,
    make_video,
)
from ...models.network.family import Family, check_tokens, check_vae, law_of
from ...models.video.guards import check_frames
from ..segments import Segments
from ..widgets import SCHEDULERS, choice, number, out, schema, seed, socket, whole

io = api.io

SAMPLERS = ("euler", "uni_pc", "dpmpp_2m", "res_multistep", "lcm")


@dataclass(frozen=True)
class SampledClips:
    """What every clip's job does, as ``keyframed.ClipWork`` says.

    Attributes:
        plan: plan of the video.
        runs: models that sample a clip, one after the other, each with its noise levels, [steps + 1].
        vae: VAE of the models.
        ends: function that gives them two pictures.
        positive: conditions of what to draw, for every clip.
        negative: conditions of what not to draw.
        sampler: name of the sampler.
        cfg: guidance.
        seed: seed of the video.
        shape: shape of a clip's latents, [1, C, T, H, W].
    """

    plan: KeyframedPlan
    runs: tuple[tuple[Any, Tensor], ...]
    vae: Any
    ends: ClipEnds
    positive: Conditioning
    negative: Conditioning
    sampler: str
    cfg: float
    seed: int
    shape: tuple[int, ...] = field(default=(), repr=False)

    @property
    def steps(self) -> int:
        """How many steps a job takes."""
        return sum(len(sigmas) - 1 for _, sigmas in self.runs)

    def sample(self, job: ClipJob, ends: Tensor, watch: Watch) -> Tensor:
        """Return the latents of a clip from one picture to another."""
        sides, latent, noise = self.ask(job, ends)
        bar = Segments(watch)
        for model, sigmas in self.runs:
            samples = self.take(bar, model, sides, latent, sigmas, noise, self.sampler)
            latent = {**latent, "samples": samples}
            noise = torch.zeros_like(noise)  # what the first run left is in its latents
        return latent["samples"][:, :, : self.shape[2]].contiguous()  # LTX's guides stand behind

    def decode(self, job: ClipJob, latents: Tensor) -> Tensor:
        """Return the pictures of a clip."""
        return api.port().decode_clip(self.vae, latents, job_seed(self.seed, job))

    def ask(self, job: ClipJob, ends: Tensor) -> tuple[tuple[Conditioning, Conditioning], Latent, Tensor]:
        """Return both sides' conditions, what to sample, and its noise."""
        positive, negative, latent = self.ends(self.positive, self.negative, ends, self.plan.length)
        return (positive, negative), latent, job_noise(self.seed, job, latent["samples"].shape)

    def take(
        self,
        bar: Segments,
        model: Any,
        sides: tuple[Conditioning, Conditioning],
        latent: Latent,
        sigmas: Tensor,
        noise: Tensor,
        sampler: str,
    ) -> Tensor:
        """Take some steps of a clip."""
        options = {"noise": noise, "mask": latent.get("noise_mask"), "sampler": sampler, "cfg": self.cfg}
        return bar.sample(model, sides, latent["samples"], sigmas, **options)


class KeyframedVideo(io.ComfyNode):
    """Draw a long video on Wan or LTX-Video: a clip from each keyframe to the next, joined in pixels.

    Keyframes stay bit for bit where they are, and neighbours share one. A clip knows of nothing but its two
    keyframes, so errors do not add up from clip to clip; speed may change at a keyframe. Finished clips are kept in
    the user folder, in frameloom/keyframed_video: a run that was stopped goes on where it was, and a keyframe that
    is exchanged draws two clips anew. The frames lie in a file on the disk, not in memory. In ComfyUI alone.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Keyframed Video", "long video",
            aliases=[
                "long video", "first last frame", "FLF2V", "keyframe interpolation", "in-betweening", "Wan FLF",
                "WanFirstLastFrameToVideo", "LTXVAddGuide", "VACE", "start end frame",
            ],
            inputs=[
                socket(io.Model, "model",
                    "The model that samples, with any edits of it: Wan 2.1 or 2.2 14B image to video (FLF2V, Fun InP), "
                    "Wan VACE or LTX-Video. Of Wan 2.2's two, the one for high noise."),
                socket(io.Vae, "vae", "The model's VAE."),
                socket(io.Conditioning, "positive", "What to draw, in every clip."),
                socket(io.Conditioning, "negative", "What not to draw."),
                socket(io.Image, "keyframes",
                    "Pictures that the video goes through, two or more in one batch. They have its size; Wan wants "
                    "sides that 16 divides, LTX-Video 32."),
                whole("length", 81, 3, 1001,
                    "Frames of a clip, with both of its keyframes. Wan has 4 n + 1, LTX-Video 8 n + 1. K keyframes "
                    "make (K - 1) (length - 1) + 1 frames."),
                seed("Seed of the noise, which is each clip's by its place in the video."),
                whole("steps", 20, 1, 10_000, "Steps of the noise schedule, of both models together."),
                number("cfg", 4.0, 0.0, 100.0, 0.1,
                    "Guidance: how closely to follow the prompt. 1 for models and LoRAs of few steps."),
                choice("sampler_name", SAMPLERS, "Sampler."),
                choice("scheduler", SCHEDULERS, "Noise schedule.", default="simple"),
                whole("switch_step", 10, 1, 9_999,
                    "First step of low_noise_model. Not read without one.", optional=True),
                socket(io.Model, "low_noise_model",
                    "The model that takes the later steps, as Wan 2.2's for low noise. The noise levels are the first "
                    "model's, with its shift.", optional=True),
                socket(io.ClipVision, "clip_vision",
                    "What looks at the keyframes, for Wan 2.1's image to video models: clip_vision_h.", optional=True),
                whole("first_clip", 0, 0, 1_000_000,
                    "Number of the first clip, where the keyframes are a part of a longer video's: 2 if they begin "
                    "with its third. The clips are then those of the longer video, bit for bit.", optional=True),
            ],
            outputs=[out(io.Image, "images", "All frames of the video.")],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        model: Any,
        vae: Any,
        positive: Conditioning,
        negative: Conditioning,
        keyframes: Tensor,
        length: int,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        switch_step: int = 10,
        low_noise_model: Any = None,
        clip_vision: Any = None,
        first_clip: int = 0,
    ) -> io.NodeOutput:
        """Run the node."""
        port, pictures = api.port(), keyframes[..., :3]
        ends = _ends([model, low_noise_model], vae, clip_vision)
        check_vae(port.family(vae), port.family(model))
        plan = _plan(port.family(model), pictures, length, ends.side, first_clip)
        for name, side in (("positive", positive), ("negative", negative)):
            check_tokens(port.family(model), side, name)
        runs = _runs(model, low_noise_model, port.sigmas(model, steps, scheduler), switch_step)
        work = SampledClips(plan, runs, vae, ends, positive, negative, sampler_name, cfg, seed)
        work, folder = _open(work, pictures)
        bar = port.progress((len(pictures) - 1) * work.steps)
        video = JoinedVideo(plan, pictures, folder)
        return io.NodeOutput(make_video(video, work, bar.update, port.check_interrupt))


def _ends(models: Sequence[Any], vae: Any, clip_vision: Any) -> ClipEnds:
    """Return how models are given the ends of a clip; two of them have to be given them in one way."""
    port = api.port()
    ways = [port.clip_ends(model, vae, clip_vision) for model in models if model is not None]
    if len({way.name for way in ways}) > 1:
        first, second = (port.family(model).name for model in models)
        raise ValueError(
            f"low_noise_model: got {second} beside {first}; expected two models of one kind, such as Wan 2.2's for "
            "high and for low noise; connect the other one of the pair, or none."
        )
    return ways[0]


def _plan(family: Family, keyframes: Tensor, length: int, side: int, first: int) -> KeyframedPlan:
    plan = KeyframedPlan(len(keyframes), length, law_of(family), first)
    height, width = keyframes.shape[1:3]
    if height % side or width % side:
        near = " x ".join(str(max(round(each / side), 1) * side) for each in (width, height))
        raise ValueError(
            f"keyframes: got pictures of {width} x {height}; expected sides that {side} divides, as {family.name} has "
            f"them, since they stay as they are; scale them before (core's Upscale Image, crop center), to {near} say."
        )
    check_frames(keyframes, "keyframes")
    return plan


def _runs(model: Any, low: Any, sigmas: Tensor, switch: int) -> tuple[tuple[Any, Tensor], ...]:
    """Return which model takes which steps."""
    if low is None:
        return ((model, sigmas),)
    steps = len(sigmas) - 1
    if not 0 < switch < steps:
        raise ValueError(
            f"switch_step={switch}; expected 1 to {steps - 1}, so that both models take some of the {steps} steps; "
            "lower it, or disconnect low_noise_model."
        )
    return ((model, sigmas[: switch + 1]), (low, sigmas[switch:]))


def _open(work: SampledClips, keyframes: Tensor) -> tuple[SampledClips, JobFolder]:
    """Ask the models about grey pictures: that tells their clips' shape, and the folder of clips that they finished.

    A clip's own pictures are not in the folder's key but in the name of its file, as is its number: a part of a video
    finds what the whole finished, and the whole what a part did.
    """
    port, levels = api.port(), torch.cat([work.runs[0][1], *(sigmas[1:] for _, sigmas in work.runs[1:])])
    key = hash_settings(
        video=[work.plan.length, work.plan.law.stride, *keyframes.shape[1:3]],
        positive=port.describe(work.positive),
        negative=port.describe(work.negative),
        edits=[plain(port.edits(model)) for model, _ in work.runs],
        sampling=[work.sampler, work.cfg, work.seed, *(sigmas for _, sigmas in work.runs)],
        ends=work.ends.name,
    )
    sides, latent, noise = work.ask(next(replace(work.plan, first=0).jobs), grey_ends(keyframes))
    models = [model for model, sigmas in work.runs for _ in sigmas[1:]]
    answers = [
        work.take(Segments(), models[step], sides, latent, levels[[step, -1]], noise, "euler")
        for step in probe_steps(work.steps)
    ]
    folder = open_folder(port.user_dir() / "keyframed_video", key, torch.cat(answers))
    *front, _, height, width = latent["samples"].shape  # with LTX's guides among the latent frames
    return replace(work, shape=(*front, work.plan.law.latents(work.plan.length), height, width)), folder


NODES: list[type] = [KeyframedVideo]
