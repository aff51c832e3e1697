"""Train a motion module in a frozen base, on encoded clips: by the error of the predicted noise, or into few steps.

This file draws the batch of a step, works out the key of everything that a run depends on, and writes the run's folder:
``checkpoint.pt``, from which the run goes on, ``metrics.jsonl``, and ``motion.safetensors``, the averaged weights of
the last checkpoint, which can be used as they are.

Source: AnimateDiff (Guo et al. 2023), https://arxiv.org/abs/2307.04725, sections 4.2 and 4.3.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ...host.contract import Host
from ...models.errors import HostError
from ...models.files.keys import hash_settings, plain
from ...models.motion.checkpoint import MotionWeights
from ...models.motion.few_steps import trailing
from ...models.motion.save import save_motion
from ...models.training import FrozenForward, recompute
from ...models.video.schedules import STABLE_DIFFUSION, TRAIN_TIMESTEPS
from ..loop import LoopSettings, LossFunction, Precision, train
from ..metrics_log import MetricsLog
from ..team import ALONE, Team
from .affinity import affinities, draw_pictures
from .few_steps import FewSteps, few_steps_mse, guide
from .given_frames import LEAST_BETWEEN, draw_given
from .latent_cache import EncodedClips
from .lessons import Learned, Lesson
from .targets import noise_mse

Texts: TypeAlias = tuple[Tensor, Tensor | None]  # tokens and pooled text of each clip
CHECKPOINT, RESULT, METRICS = "checkpoint.pt", "motion.safetensors", "metrics.jsonl"


@dataclass(frozen=True, slots=True)
class MotionSettings:
    """Settings of the training. The defaults are AnimateDiff's, except for the number of steps.

    Attributes:
        loop: settings of the optimiser. A constant rate (``final_rate`` 1) lets a finished run go on with
            more steps.
        batch: number of clips at once.
        caption_dropout: share of clips that the model sees with an empty caption, for guidance.
        min_snr: gamma of Min-SNR weighting; 0: none.
        timestep_power: exponent p; timesteps are drawn as ``1000 u^(1/p)``, or those of few steps in the same way.
            Above 1 there are more of the noisy ones, where motion is decided.
        save_memory: True if the UNet's blocks are computed again for gradients instead of remembered.
        checkpoint_every: number of steps between checkpoints.
        frames_per_step: number of frames of each clip, drawn anew for each step and kept in order, with their
            positions; 0: all. Four frames of four clips take the time of sixteen of one, and the way that
            things go is learned sooner.
        few: settings by which the module learns from itself to draw in few steps; None: it learns from the clips.
    """

    loop: LoopSettings
    batch: int = 4
    caption_dropout: float = 0.1
    min_snr: float = 0.0
    timestep_power: float = 1.0
    save_memory: bool = False
    checkpoint_every: int = 250
    frames_per_step: int = 0
    few: FewSteps | None = None


@dataclass(frozen=True)
class Batch:
    """The clips of one forward pass in training.

    Attributes:
        latents: [B, F, 4, h, w], clean.
        tokens: [B, L, D].
        timesteps: [B] long. Timestep of each clip.
        noise: [B, F, 4, h, w].
        frame_ids: [F] long. Number of each frame in its clip; None: all frames are there.
        given: [B, F] bool. Frames that the mask encoder is told, and that are not in the loss; None: there is
            no mask encoder.
        picture: latents [B, 4, h, w] of a frame of each clip that a picture encoder is given, and affinities [B, F] to
            it; None: there is no picture encoder.
        pooled: [B, D]. Pooled text, for SDXL; None: the base reads none.
    """

    latents: Tensor
    tokens: Tensor
    timesteps: Tensor
    noise: Tensor
    frame_ids: Tensor | None = None
    given: Tensor | None = None
    picture: tuple[Tensor, Tensor] | None = None
    pooled: Tensor | None = None


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Attributes:
        learned: the averaged module or LoRA.
        losses: losses of all steps.
        base: hash of the base's weights, before and after.
        folder: folder of the run's files.
    """

    learned: Learned
    losses: list[float]
    base: str
    folder: Path


def train_motion(
    port: Host,
    model: Any,
    clips: EncodedClips,
    lesson: Lesson,
    settings: MotionSettings,
    folder: Callable[[str], Path],
    on_step: Callable[[int, float], None] | None = None,
    on_checkpoint: Callable[[int, Learned], None] | None = None,
    team: Team = ALONE,
) -> Trained:
    """Train, from the checkpoint in the folder if there is one.

    Args:
        port: the host.
        model: MODEL without a motion module. Its UNet, a copy where the host needs one, stays as it is, which
            is checked to the last bit.
        clips: encoded clips, at least one, of a length that ``check_frames`` allows.
        lesson: network to train, on the host's device.
        settings: settings of the training.
        folder: function from the key of everything that the run depends on to the folder of its files.
        on_step: callback of ``loop.train``.
        on_checkpoint: callback of ``loop.train`` that gets what was learned so far in place of the averages.
        team: processes that train together; the main one alone writes files, and calls ``on_checkpoint``.

    Raises:
        ValueError: the checkpoint is of another run, or damaged.
        CheckpointError: the base is of another family.
        FloatingPointError: the loss is not finite. The last checkpoint stays.
        OSError: a checkpoint can't be written. The last one stays.
        HostError: the base's weights changed.
    """
    with torch.inference_mode(False), torch.enable_grad():
        frames = settings.frames_per_step or clips.latents.shape[1]
        forward = port.train_forward(model, frames, lesson.learner, save_memory=settings.save_memory)
        base, kind = forward.hash_weights(), port.base(model).prediction_type
        if settings.save_memory:
            for slot in lesson.learner.network.slots:
                recompute(lesson.learner.network.transformer(slot))
        key = run_key(clips, lesson, settings, [base, kind, plain(port.edits(model))])
        place = folder(key)
        log, began = MetricsLog(place / METRICS), time.perf_counter()

        def note(step: int, loss: float) -> None:
            nonlocal began
            seconds, began = time.perf_counter() - began, time.perf_counter()
            if team.rank == 0:
                log.add(step, loss=loss, rate=settings.loop.rate(step), seconds=round(seconds, 3))
            if on_step is not None:
                on_step(step, loss)

        def save(steps: int, averages: dict[str, Tensor]) -> None:
            learned = lesson.finish(averages)
            facts = {"frameloom.base": base, "frameloom.prediction_type": kind}
            save_motion(place / RESULT, learned, facts=facts)
            if on_checkpoint is not None:
                on_checkpoint(steps, learned)

        averages = train(
            lesson.parameters,
            _loss(forward, clips, lesson, settings, kind),
            settings.loop,
            checkpoint=place / CHECKPOINT,
            checkpoint_every=settings.checkpoint_every,
            key=key,
            on_step=note,
            on_checkpoint=save,
            team=team,
        )
        check_frozen(base, forward)
    return Trained(lesson.finish(averages), log.column("loss"), base, place)


def check_frames(frames: int, weights: MotionWeights, frames_per_step: int) -> None:
    """Check that a module can be trained on clips of a length.

    Args:
        frames: number of frames of each clip.
        weights: weights of the module.
        frames_per_step: number of frames in one step, as in ``MotionSettings``.

    Raises:
        ValueError: the clips are single pictures, or have nothing between their ends for a mask encoder, or more frames
            than the positional encoding holds; or ``frames_per_step`` is too small or too large.
    """
    if frames < 2:
        raise ValueError(
            f"frames={frames} is a single picture, in which nothing moves; expected clips of at least 2 frames; raise "
            "the data set's frames."
        )
    least = LEAST_BETWEEN if weights.size.mask_encoder else 2
    if frames_per_step and not least <= frames_per_step <= frames:
        raise ValueError(
            f"frames_per_step={frames_per_step} can't be taken from clips of {frames} frames; expected {least} to "
            f"{frames}, or 0 for all of them; 4 is a good choice."
        )
    if frames < least:
        raise ValueError(
            f"frames={frames} leaves nothing between a clip's ends; expected at least {least}; raise the data set's "
            "frames."
        )
    longest = weights.size.max_frames
    if frames > longest:
        raise ValueError(
            f"frames={frames} is more than the {longest} that the positional encoding of {weights.name} holds; "
            f"expected at most {longest}; lower the data set's frames, or train a new module with a longer one."
        )


def check_frozen(before: str, forward: FrozenForward) -> None:
    """Check that the base is the same to the last bit.

    Args:
        before: hash of the base before the training.
        forward: forward pass with the base.

    Raises:
        HostError: its weights have changed.
    """
    after = forward.hash_weights()
    if after != before:
        raise HostError(
            f"model: its weights changed in training (SHA-256 {before[:12]} before, {after[:12]} after); expected a "
            "frozen base; the result is not to be used; delete the run's folder, and report it with the workflow."
        )


def draw_batch(
    clips: EncodedClips,
    settings: MotionSettings,
    generator: torch.Generator,
    *,
    gives: bool = False,
    affinity: Tensor | None = None,
) -> Batch:
    """Draw a batch: clips, some without their caption, with one timestep each, and noise for each frame.

    Args:
        clips: encoded clips.
        settings: settings of the training.
        generator: source of the random numbers, on the CPU; the result depends on it alone.
        gives: True if some frames are given, as ``draw_given`` chooses them.
        affinity: ``affinities`` of the clips, if a picture of each is given, as ``draw_pictures`` chooses it.
    """
    count = settings.batch
    index = torch.randint(len(clips.latents), (count,), generator=generator)
    is_empty = torch.rand(count, generator=generator) < settings.caption_dropout
    levels = torch.arange(TRAIN_TIMESTEPS) if settings.few is None else trailing(settings.few.steps).flip(0)
    uniform = torch.rand(count, generator=generator) ** (1 / settings.timestep_power)
    timesteps = levels[(len(levels) * uniform).long().clamp(max=len(levels) - 1)]
    latents, frame_ids = clips.latents[index], None
    if settings.frames_per_step:
        every = torch.randperm(latents.shape[1], generator=generator)
        frame_ids = every[: settings.frames_per_step].sort().values
        latents = latents[:, frame_ids]
    noise = torch.randn(latents.shape, generator=generator)
    rows = clips.caption[index].masked_fill(is_empty, 0)
    pooled = None if clips.pooled is None else clips.pooled[rows]
    given = draw_given(count, latents.shape[1], generator) if gives else None
    picture = None
    if affinity is not None:
        shown, near = draw_pictures(clips.latents[index], affinity[index], generator)
        picture = shown, near if frame_ids is None else near[:, frame_ids]
    return Batch(latents, clips.tokens[rows], timesteps, noise, frame_ids, given, picture, pooled)


def run_key(clips: EncodedClips, lesson: Lesson, settings: MotionSettings, base: Sequence[Any]) -> str:
    """Return the hash of everything that the numbers of a run depend on.

    Args:
        clips: encoded clips.
        lesson: lesson before training.
        settings: settings of the training.
        base: hash of the base's weights, of its prediction type, and of its edits.
    """
    told: dict[str, Any] = asdict(settings)
    for name in ("save_memory", "checkpoint_every"):
        del told[name]
    if settings.loop.final_rate == 1:
        del told["loop"]["steps"]
    if settings.few is None:
        del told["few"]
    weights = lesson.learner.weights
    if weights.size.picture_encoder:
        told["picture"] = "PIA"
    return hash_settings(
        settings=told,
        base=list(base),
        start=dict(weights.state),
        parameters=dict(lesson.parameters),
        schedule=None if weights.beta_schedule is None else asdict(weights.beta_schedule),
        clips=[clips.latents, clips.tokens, clips.caption, *([] if clips.pooled is None else [clips.pooled])],
    )


def pick_precision(device: torch.device) -> Precision:
    """Return the precision for the loss on a device: bf16 or else fp16 on GPUs, fp32 elsewhere."""
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def _loss(
    forward: FrozenForward,
    clips: EncodedClips,
    lesson: Lesson,
    settings: MotionSettings,
    prediction_type: str,
) -> LossFunction:
    """Return the loss of a step."""
    device = next(iter(lesson.parameters.values())).device
    schedule = lesson.learner.weights.beta_schedule or STABLE_DIFFUSION
    alphas = schedule.alphas_cumprod().float().to(device)
    gives = lesson.learner.network.mask_encoder is not None
    affinity = None if lesson.learner.picture is None else affinities(clips.latents)
    parameters = list(lesson.parameters.values())
    start = [value.detach().clone() for value in parameters] if settings.few else []

    def loss(_step: int, generator: torch.Generator) -> Tensor:
        batch = draw_batch(clips, settings, generator, gives=gives, affinity=affinity)
        if batch.frame_ids is not None:
            lesson.learner.network.number_frames(batch.frame_ids)
        latents, timesteps, noise = (
            part.to(device) for part in (batch.latents, batch.timesteps, batch.noise)
        )
        texts = batch.tokens.to(device), None if batch.pooled is None else batch.pooled.to(device)
        told = unknown = None
        if batch.given is not None:
            given = batch.given.to(device).float()
            unknown = 1 - given
            told = latents.flatten(0, 1), given.view(-1, 1, 1, 1).expand(-1, 1, *latents.shape[-2:])
        if batch.picture is not None:
            shown, near = (part.to(device) for part in batch.picture)
            told = (
                shown.repeat_interleave(latents.shape[1], 0),
                near.view(-1, 1, 1, 1).expand(-1, 1, *latents.shape[-2:]),
            )

        def predict(noisy: Tensor, at: Tensor, texts: Texts = texts) -> Tensor:
            text, pooled = texts
            out = forward(noisy.flatten(0, 1), at.repeat_interleave(noisy.shape[1]), text, told, pooled)
            return out.view_as(noisy)

        if settings.few is None:
            snr = settings.min_snr
            return noise_mse(
                predict, latents, timesteps, noise, alphas, prediction_type, min_snr=snr, unknown=unknown
            )
        empty, cfg = _empty_like(texts, clips), settings.few.teacher_cfg

        def teach(noisy: Tensor, at: Tensor) -> Tensor:
            with holding(parameters, start):
                return guide(predict(noisy, at), predict(noisy, at, empty), cfg)

        return few_steps_mse(
            predict, teach, latents, timesteps, noise, alphas, prediction_type, few=settings.few
        )

    return loss


def _empty_like(texts: Texts, clips: EncodedClips) -> Texts:
    """Return the empty caption as often as there are captions."""
    tokens, pooled = texts
    empty = clips.tokens[:1].to(tokens).expand_as(tokens)
    if pooled is None or clips.pooled is None:
        return empty, None
    return empty, clips.pooled[:1].to(pooled).expand_as(pooled)


@contextmanager
def holding(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> Iterator[None]:
    """Let parameters hold other values inside the context, where nothing wants a gradient."""
    own = [parameter.data for parameter in parameters]
    try:
        for parameter, value in zip(parameters, values, strict=True):
            parameter.data = value
        yield
    finally:
        for parameter, value in zip(parameters, own, strict=True):
            parameter.data = value
