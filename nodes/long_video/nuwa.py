"""NUWA-XL on a frozen model: keyframes of a long video, and what is between them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, get_args

import torch
from torch import Tensor

from ...host import api
from ...host.contract import Conditioning
from ...models.edits.call import PAYLOAD
from ...models.edits.edit import Edit
from ...models.edits.run import arrange_noise
from ...models.files.keys import hash_settings, plain
from ...models.long_video.job_folder import JobFolder, open_folder, probe_steps
from ...models.long_video.nuwa_fill import Filling, Start, fill_between
from ...models.long_video.nuwa_jobs import Recursion, Watch, check_keyframes
from ...models.long_video.nuwa_tree import Job, Tree
from ...models.long_video.prompt_travel import Blend, travel_conditions, used_prompts
from ...models.network.family import check_channels, check_makes_pictures, check_tokens
from ...models.video.frames import PER_FRAME
from ...models.video.latents import frames_of, one_frame
from ...models.video.noise import draw_noise
from ...models.zero_shot.cross_frame import CrossFrameEdit
from ..segments import MEMORYLESS, Segments, check_sampler
from ..sockets import TreeType
from ..widgets import SCHEDULERS, cfg, choice, out, schema, seed, share, socket, whole

io = api.io
logger = logging.getLogger(__name__)

NUWA_INSTEAD = "take Keyframed Video, which draws what is between two pictures"


@dataclass(frozen=True)
class Asked:
    """What a tree's jobs ask a model; it goes to other machines as a pickle.

    Attributes:
        model: model with its edits.
        tree: tree with the prompts.
        encoded: each prompt that is used.
        negative: conditions of what not to draw; what they have for each frame is for the video's frames.
        controls: conditions from which everything is taken but their prompts, for the video's frames; None: nothing.
        sigmas: [steps + 1] descending.
        sampler: name of the sampler.
        cfg: guidance.
        blends: mixture of prompts of each frame of the video.
    """

    model: Any
    tree: Tree
    encoded: Mapping[str, Conditioning]
    negative: Conditioning
    controls: Conditioning | None
    sigmas: Tensor
    sampler: str
    cfg: float
    blends: tuple[Blend, ...] = field(repr=False)

    def conditions(self, job: Job) -> tuple[Conditioning, Conditioning]:
        """Return what a job's frames are drawn from, and what not."""
        blends = [self.blends[frame] for frame in job.frame_ids]
        positive = travel_conditions(self.encoded, self.tree.prompts, blends)
        if self.controls is not None:
            controls = api.port().select_frames(self.controls, job.frame_ids)
            positive = [
                [tokens, {**given, **options}] for _, given in controls for tokens, options in positive
            ]
        return positive, api.port().select_frames(self.negative, job.frame_ids)

    def sample(
        self,
        job: Job,
        latents: Tensor,
        noise: Tensor,
        sigmas: Tensor,
        bar: Segments,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Take some steps of a job; ``mask``, [F, 1, H, W], is 0 on frames that stay."""
        options = {"noise": noise, "mask": mask, "sampler": self.sampler, "cfg": self.cfg}
        return bar.sample(self.model, self.conditions(job), latents, sigmas, **options)


@dataclass(frozen=True)
class LocalWork:
    """What every local job does, as ``nuwa_jobs.Work`` says.

    Attributes:
        asked: question to the model.
        filling: settings by which frames between two are drawn.
        seed: seed of the frames' noise.
    """

    asked: Asked
    filling: Filling
    seed: int

    @property
    def steps(self) -> int:
        """How many steps a job takes."""
        return self.filling.count_steps(len(self.asked.sigmas) - 1)

    def __call__(self, job: Job, ends: Tensor, watch: Watch) -> Tensor:
        """Do a job."""
        return fill_between(
            job,
            ends,
            self.filling,
            seed=self.seed,
            sigmas=self.asked.sigmas,
            unit=api.port().noise_unit(self.asked.model),
            sample=partial(self.asked.sample, job, bar=Segments(watch), mask=_mask_of_ends(job, ends)),
        )


class NuwaKeyframes(io.ComfyNode):
    """Draw the keyframes of a long video, each from its own prompt: NUWA-XL's global stage on a frozen model.

    Keyframes share a look, since they start from noise that is partly common and attend to the first of them.
    For Nuwa Interpolate, or as a sheet of pictures by themselves.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Nuwa Keyframes", "long video",
            aliases=["long video", "NUWA-XL", "global diffusion", "storyboard keyframes", "consistent images"],
            inputs=[
                *_model_inputs(),
                socket(io.Latent, "latent", "One empty latent of the picture's size (batch_size 1)."),
                *_sampling_inputs(),
                share("shared_noise", 0.4,
                    "Share of the start noise that all keyframes have in common. More makes them more "
                    "alike."),
                share("shared_attention", 1.0,
                    "Share of the first keyframe in what keyframes read in self-attention. 0: none, for "
                    "scenes that have nothing in common. A motion module on the model ties them, too: half "
                    "its strength is enough here."),
                _control_input(),
            ],
            outputs=[out(io.Latent, "keyframes", "Latents of the keyframes, as many as the tree's length.")],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        model: Any,
        clip: Any,
        tree: Tree,
        negative: Conditioning,
        latent: dict[str, Any],
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        shared_noise: float,
        shared_attention: float,
        positive: Conditioning | None = None,
    ) -> io.NodeOutput:
        """Run the node."""
        _check_family(model, latent, "latent")
        job, shape = tree.keyframes, one_frame(latent, "the tree says how many keyframes there are").shape[1:]
        if shared_attention > 0:
            cross_frame = CrossFrameEdit(strength=shared_attention)
            model = api.port().install(model, Edit("shared look", self_attention=cross_frame))
        asked = ask(model, clip, tree, negative, positive, steps, cfg, sampler_name, scheduler)
        noise = draw_noise(seed, job.frame_ids, shape, "mixed", shared_noise)
        start = latent["samples"].expand(tree.length, *shape)
        bar = Segments(api.port().progress(steps).update)
        drawn = asked.sample(job, start, noise, asked.sigmas, bar=bar)
        return io.NodeOutput({"samples": drawn.to(start.device)})


class NuwaInterpolate(io.ComfyNode):
    """Draw the frames between keyframes, then those between these: NUWA-XL's local stage on a frozen model.

    The tree says which. A job's first and last frame stay as they are, bit for bit; the model, best with a
    motion module, draws the others towards them; a mask adapter tells it which are given. Finished jobs are
    kept in the user folder, in frameloom/nuwa: a run that was stopped goes on where it was.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Nuwa Interpolate", "long video",
            aliases=["long video", "NUWA-XL", "local diffusion", "frame interpolation", "in-betweening", "RePaint"],
            inputs=[
                *_model_inputs(),
                socket(io.Latent, "keyframes",
                    "Latents from Nuwa Keyframes, or any others, as many as the tree's length."),
                *_sampling_inputs(),
                choice("start", get_args(Start),
                    "Start of new frames. turned noise: noise that turns from one end's into the other's. "
                    "own noise: each frame its own; take it with a mask adapter, and one resample round. "
                    "cross-fade: a mixture of both ends, drawn anew as far as denoise says."),
                share("correlation", Filling.correlation,
                    "Share of the noise that turns, for turned noise; the rest is the frame's own. More "
                    "holds neighbours together and leaves less to move."),
                whole("resample_rounds", Filling.resample_rounds, 1, 10,
                    "Number of times that each of the first steps is taken, with noise between (RePaint), so "
                    "that new frames come to agree with the given ones. 1: once."),
                share("resample_share", Filling.resample_share,
                    "Share of the steps that are taken several times. They cost as much each time."),
                share("denoise", Filling.denoise,
                    "Share of the steps that are taken, for cross-fade. Low values leave ghosts of both "
                    "ends."),
                _control_input(),
            ],
            outputs=[out(io.Latent, "latent", "All frames of the video.")],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        model: Any,
        clip: Any,
        tree: Tree,
        negative: Conditioning,
        keyframes: dict[str, Any],
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        start: Start,
        correlation: float,
        resample_rounds: int,
        resample_share: float,
        denoise: float,
        positive: Conditioning | None = None,
    ) -> io.NodeOutput:
        """Run the node."""
        _check_family(model, keyframes, "keyframes")
        given = _given(keyframes, tree)
        api.port().noise_unit(model)  # refuses flow models, before anything is sampled
        asked = ask(model, clip, tree, negative, positive, steps, cfg, sampler_name, scheduler)
        filling = Filling(start, correlation, resample_rounds, resample_share, denoise)
        work = LocalWork(asked, filling, seed)
        recursion = Recursion(tree, given, _folder(work, given))
        if recursion.kept:
            logger.info("Nuwa Interpolate: %d of %d jobs were finished.", recursion.kept, tree.local_jobs)
        api.port().run_jobs(recursion, work)
        return io.NodeOutput({"samples": recursion.frames})


def _model_inputs() -> list[Any]:
    return [
        socket(io.Model, "model", "The model that samples: SD1.5, SDXL, or the demo model, with any edits of it."),
        socket(io.Clip, "clip", "The model's text encoder, for the tree's prompts."),
        socket(TreeType, "tree", "A tree from Nuwa Plan."),
        socket(io.Conditioning, "negative",
            "Negative prompt: what not to draw. What it has for each frame is for the video's frames."),
    ]  # fmt: skip


def _sampling_inputs() -> list[Any]:
    return [
        seed("Seed of the noise, which is each frame's by its number in the video."),
        whole("steps", 20, 1, 10_000, "Steps of the noise schedule."),
        cfg("Guidance: how closely to follow the prompts. The demo model wants 3."),
        choice("sampler_name", MEMORYLESS,
            "Sampler. Those in the list remember no step and draw no noise: a step can be "
            "taken again.", default="euler"),
        choice("scheduler", SCHEDULERS, "Noise schedule."),
    ]  # fmt: skip


def _control_input() -> Any:
    return socket(
        io.Conditioning, "positive",
        "A condition whose ControlNets, GLIGEN and masks are taken over, with a hint for each of the video's frames "
        "or one for all. Its prompt is not: prompts are the tree's.", optional=True,
    )  # fmt: skip


def ask(
    model: Any,
    clip: Any,
    tree: Tree,
    negative: Conditioning,
    controls: Conditioning | None,
    steps: int,
    cfg: float,
    sampler: str,
    scheduler: str,
) -> Asked:
    """Encode a tree's prompts."""
    check_sampler(sampler)  # a link's name is known only now
    if any(PAYLOAD in options for _, options in controls or ()):
        raise ValueError(
            "positive: got a layout, whose boxes belong to the words of its prompt; expected ControlNets or masks, "
            "since prompts are the tree's; connect what is before Layout Conditioning."
        )
    blends, port = tuple(tree.blends()), api.port()
    for name, conditions in (("negative", negative), ("positive", controls or [])):
        _check_rows(name, port.describe(conditions), tree.frames)
    numbers = torch.arange(float(tree.length))[:, None, None, None]
    own = len(arrange_noise(port.edits(model), numbers).unique())
    if own < tree.length:
        raise ValueError(
            f"model: Free Noise shuffles the noise of more than {own} frames, got jobs of {tree.length}; "
            "expected noise of its own for every frame of a job; connect what is before Free Noise, or lower the "
            "plan's length."
        )
    encoded = {prompt: port.encode_text(clip, prompt)[0] for prompt in used_prompts(tree.prompts, blends)}
    for name, side in (("clip", next(iter(encoded.values()))), ("negative", negative)):
        check_tokens(port.family(model), side, name)
    sigmas = port.sigmas(model, steps, scheduler)
    return Asked(model, tree, encoded, negative, controls, sigmas, sampler, cfg, blends)


def _check_family(model: Any, latent: dict[str, Any], what: str) -> None:
    family = api.port().family(model)
    check_makes_pictures(family, "Nuwa", NUWA_INSTEAD)
    check_channels(family, frames_of(latent, NUWA_INSTEAD, what), what)


def _check_rows(name: str, described: list[Any], frames: int) -> None:
    """Refuse what has neither one row nor one for each frame of the video: it would begin again in the middle."""
    for tokens, options in described:
        rows = [("a prompt", tokens), *((kind, options.get(kind)) for kind in PER_FRAME)]
        control = options.get("control")
        while control:
            rows.append(("a ControlNet's picture", control["hints"]))
            control = control["previous"]
        for what, value in rows:
            if value is not None and len(value) not in (1, frames):
                raise ValueError(
                    f"{name}: got {what} for each of {len(value)} frames; expected one for each of the video's "
                    f"{frames}, or one for all; Nuwa Plan's report says how many frames the video has."
                )


def _folder(work: LocalWork, keyframes: Tensor) -> JobFolder:
    """Return where a recursion's jobs are kept: the same folder for the same question to the same model."""
    asked, tree, port = work.asked, work.asked.tree, api.port()
    key = hash_settings(
        tree=[tree.length, tree.depth, tree.interpolation, sorted(tree.prompts.items())],
        prompts=[tokens for prompt in asked.encoded.values() for tokens, _ in prompt],
        negative=port.describe(asked.negative),
        controls=port.describe(asked.controls or []),
        edits=plain(port.edits(asked.model)),
        keyframes=keyframes,
        sampling=[asked.sampler, asked.cfg, work.seed, asked.sigmas],
        filling=asdict(work.filling),
    )
    job, steps = tree.keyframes, len(asked.sigmas) - 1
    noise, mask = draw_noise(work.seed, job.frame_ids, keyframes.shape[1:]), _mask_of_ends(job, keyframes)
    answers = [
        asked.sample(job, keyframes, noise, asked.sigmas[[step, -1]], bar=Segments(), mask=mask)
        for step in probe_steps(steps)
    ]
    return open_folder(port.user_dir() / "nuwa", key, torch.cat(answers))


def _given(keyframes: dict[str, Any], tree: Tree) -> Tensor:
    check_keyframes(tree, keyframes["samples"])
    if "noise_mask" in keyframes:
        raise ValueError(
            "keyframes: got a noise mask; expected none, since whole frames are given or drawn; take out the node that "
            "sets it."
        )
    return keyframes["samples"]


def _mask_of_ends(job: Job, latents: Tensor) -> Tensor:
    """Return where a job generates, [L, 1, H, W]: everywhere but in its ends."""
    mask = torch.ones(len(job.frame_ids), 1, *latents.shape[2:])
    mask[[0, -1]] = 0
    return mask


NODES: list[type] = [NuwaKeyframes, NuwaInterpolate]
