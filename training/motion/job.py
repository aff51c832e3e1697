"""One training of a motion module, for the node and the command: encode a dataset, train, and return the result.

Latents are kept in ``frameloom/latents`` of the user's folder, for the next training on the same clips.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch
from einops import rearrange
from torch import Tensor

from ...host.contract import Host
from ...models.files.keys import hash_settings
from ...models.motion.checkpoint import MotionWeights, check_fit
from ...models.motion.few_steps import FewStepSettings
from ...models.motion.lora import MotionLoRA, Strength, merge_loras
from ...models.motion.mask_adapter import MASK_KEY
from ...models.motion.pia import PICTURE_KEY
from ...models.training import Base
from ...models.video.schedules import ANIMATEDIFF, ANIMATEDIFF_SDXL, BetaSchedule
from ..team import ALONE, Team, gather
from ..video.captions import as_prompt
from .dataset import Dataset
from .latent_cache import EncodedClips, encode_clips
from .lessons import Learned, Lesson, learn_lora, learn_module, new_module
from .training import MotionSettings, Trained, check_frames, train_motion

Target = Literal["module", "motion LoRA", "mask adapter", "PIA adapter"]
ENCODERS: Mapping[str, str] = {"mask adapter": MASK_KEY, "PIA adapter": PICTURE_KEY}  # target -> its encoder
LATENTS = "latents"  # name of the folder in the user's folder
_PROBE_TEXT = "a red circle moving left on a navy background"


@dataclass(frozen=True, slots=True)
class MotionJob:
    """The target and the settings of a training.

    Attributes:
        target: a whole module, or a LoRA or an adapter on one.
        name: name of the result.
        rank: rank of a LoRA or an adapter; 0: an adapter's encoder alone.
        middle: True if a new module has AnimateDiff v2's slot in the middle block.
        max_frames: number of frames that a new module's positional encoding holds.
        beta_schedule: beta schedule of a new module.
        settings: settings of the training.
    """

    target: Target
    name: str
    settings: MotionSettings
    rank: int = 16
    middle: bool = False
    max_frames: int = 32
    beta_schedule: BetaSchedule = ANIMATEDIFF


def run_job(
    port: Host,
    job: MotionJob,
    parts: tuple[Any, Any, Any],
    dataset: Dataset,
    start: tuple[MotionWeights, Sequence[tuple[MotionLoRA, Strength]]] | None,
    folder: Callable[[str], Path],
    on_clip: Callable[[int], None],
    on_step: Callable[[int, float], None],
    on_checkpoint: Callable[[int, Learned], None] | None = None,
    team: Team = ALONE,
) -> Trained:
    """Encode and train. Both continue where an earlier run was stopped.

    Args:
        port: the host.
        job: target and settings of the training.
        parts: MODEL, CLIP and VAE.
        dataset: the clips.
        start: module to go on with, or to put a LoRA or an adapter on, with its LoRAs, which are merged; None: a
            new one.
        folder: function from the key of the run to the folder of its files.
        on_clip: callback that gets the number of encoded clips.
        on_step: callback of ``train_motion``.
        on_checkpoint: callback of ``train_motion``.
        team: processes that work together: each first encodes its share of the clips.

    Raises:
        ValueError: a LoRA or an adapter is to be learned on nothing, no clip can be decoded, or as ``train_motion``.
    """
    model, clip, vae = parts
    # This comes before the clips are encoded, which can take hours.
    base = port.base(model)
    _check_base(base, job, is_new=start is None)
    lesson = _lesson(port, job, base, start)
    _check_encoders(lesson.learner.weights)
    check_fit(lesson.learner.weights, base.widths)
    _check_levels(base, lesson.learner.weights)
    check_frames(dataset.frames, lesson.learner.weights, job.settings.frames_per_step)
    if few := job.settings.few:
        gives = lesson.learner.weights.size.mask_encoder
        few.check(job.settings.min_snr, taught=start is not None, gives=gives)
    if team.count > 1:
        own = replace(dataset, clips=dataset.clips[team.rank :: team.count])
        if own.clips:
            encode_dataset(port, model, clip, vae, own, on_clip)
        gather(team, 1)  # wait until all clips are in the cache
    clips = encode_dataset(port, model, clip, vae, dataset, on_clip)
    if not len(clips.latents):
        raise ValueError(
            f"dataset: none of its {len(dataset)} clips could be decoded ({'; '.join(clips.skipped[:5])}); expected "
            "one at least; run Video Dataset again."
        )
    settings = replace(job.settings, caption_dropout=dataset.caption_dropout)
    return train_motion(port, model, clips, lesson, settings, folder, on_step, on_checkpoint, team)


def encode_dataset(
    port: Host, model: Any, clip: Any, vae: Any, dataset: Dataset, watch: Callable[[int], None]
) -> EncodedClips:
    """Return the latents of a dataset in the UNet's units, and its captions, from the cache if they are there.

    Args:
        port: the host.
        model: a MODEL, for its latents' scale and the width of the pooled text that it reads.
        clip: a CLIP.
        vae: a VAE.
        dataset: clips and their captions.
        watch: callback that gets the number of clips that are done.

    Raises:
        ValueError: the CLIP has no pooled text as the model reads it.
    """
    unit, pooled = port.noise_unit(model), port.base(model).pooled

    @lru_cache(maxsize=1)
    def condition(text: str) -> list[Any]:
        return port.encode_text(clip, as_prompt(text))[0][0]

    def encode_pictures(pictures: Tensor) -> Tensor:
        images = rearrange(pictures / 2 + 0.5, "f c h w -> f h w c")
        return port.encode(vae, images)["samples"] / unit

    def encode_text(text: str) -> Tensor:
        return condition(text)[0][0]

    def encode_pooled(text: str) -> Tensor:
        return _pooled_of(condition(text)[1], pooled)

    # A VAE and a text encoder, with all patches on them, can't be hashed. Their answers to a probe can.
    pattern = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    probes = {"picture": encode_pictures(pattern), "text": encode_text(_PROBE_TEXT)}
    if pooled:
        probes["pooled"] = encode_pooled(_PROBE_TEXT)
    folder, beside = port.user_dir() / LATENTS, encode_pooled if pooled else None
    return encode_clips(
        dataset,
        encode_pictures,
        encode_text,
        folder,
        hash_settings(**probes),
        watch,
        port.check_interrupt,
        beside,
    )


def _pooled_of(options: Mapping[str, Any], width: int) -> Tensor:
    """Return the pooled text of a condition, [1, D], if it is of the width that SDXL reads."""
    pooled: Tensor | None = options.get("pooled_output")
    if pooled is None or pooled.shape[-1] != width:
        got = "no pooled text" if pooled is None else f"pooled text {pooled.shape[-1]:,} wide"
        raise ValueError(
            f"clip: got {got}; expected {width:,}, as SDXL's second text encoder makes it; connect the CLIP of the "
            "model's own checkpoint, with both text encoders."
        )
    return pooled


def refuse_nothing(target: str) -> NoReturn:
    """Raise the error that a LoRA or an adapter has no module to be learned on."""
    raise ValueError(
        f"motion: got none to learn a {target} on; expected a motion module; connect Load Motion Module, or learn a "
        "module."
    )


def check_rank(target: str, rank: int) -> None:
    """Raise ValueError if a motion LoRA has no rank: it has nothing else that could learn."""
    if rank == 0 and target == "motion LoRA":
        raise ValueError(
            "rank=0: got a motion LoRA to learn without a rank; expected 1 or more; 0 is for adapters, whose encoder "
            "then learns alone."
        )


def _check_encoders(weights: MotionWeights) -> None:
    """Raise ValueError for a module with both encoders: what training gives is for one of them."""
    if weights.size.mask_encoder and weights.size.picture_encoder:
        raise ValueError(
            f"motion: got {weights.name} with a mask encoder and a picture encoder; expected one of them to train "
            "with; take the mask adapter or the PIA adapter off it."
        )


def _check_base(base: Base, job: MotionJob, *, is_new: bool) -> None:
    """Raise ValueError for what AnimateDiff's module for a base does not have, so that no loader would read it."""
    if base.is_sdxl and job.target in ENCODERS:
        raise ValueError(
            f"target: got {job.target} with an SDXL base; expected a module or a motion LoRA, since adapters are for "
            "Stable Diffusion 1.x alone; choose another target, or an SD1.5 checkpoint."
        )
    if base.is_sdxl and is_new and job.middle:
        raise ValueError(
            "middle_block: got true with an SDXL base; expected false, since AnimateDiff's modules for SDXL have no "
            "layers in the middle block; set it to false."
        )
    if is_new and base.is_sdxl and job.beta_schedule != ANIMATEDIFF_SDXL:
        raise ValueError(
            f"beta_schedule: got {job.beta_schedule.name} up to {job.beta_schedule.end} for a new module on SDXL; "
            "expected AnimateDiff-SDXL's, with which all loaders sample such a module; choose linear "
            "(AnimateDiff-SDXL)."
        )
    if is_new and not base.is_sdxl and job.beta_schedule == ANIMATEDIFF_SDXL:
        raise ValueError(
            "beta_schedule: got AnimateDiff-SDXL's for a new module on Stable Diffusion 1.x; expected sqrt_linear "
            "(AnimateDiff) or linear (Stable Diffusion), with which loaders sample such a module; choose one of them."
        )


def _check_levels(base: Base, weights: MotionWeights) -> None:
    """Raise ValueError for a module without a schedule of its own on a base that is not sampled with the usual one."""
    if weights.beta_schedule is None and base.own_levels:
        raise ValueError(
            f"model: got noise levels of its own, such as zero terminal SNR's, below {weights.name}, which is sampled "
            "with the model's; expected Stable Diffusion's, which training has; choose another checkpoint, or a module "
            "with a schedule of its own, such as AnimateDiff-SDXL's."
        )


def _lesson(
    port: Host,
    job: MotionJob,
    base: Base,
    start: tuple[MotionWeights, Sequence[tuple[MotionLoRA, Strength]]] | None,
) -> Lesson:
    device, seed = port.compute_device(), job.settings.loop.seed
    check_rank(job.target, job.rank)
    if start is None and job.target != "module":
        refuse_nothing(job.target)
    if start is None:
        weights = new_module(
            base.widths,
            job.beta_schedule,
            middle=job.middle,
            max_frames=job.max_frames,
            norm_scope="clip" if base.is_sdxl else "frame",
            seed=seed,
        )
    else:
        with torch.inference_mode(False):
            weights = replace(merge_loras(*start), few_steps=None)
    few = None if job.settings.few is None else FewStepSettings(job.settings.few.steps)
    if job.target == "module":
        return learn_module(replace(weights, few_steps=few), job.name, device, in_place=start is None)
    encoder = ENCODERS.get(job.target)
    return learn_lora(weights, job.rank, job.name, device, seed, encoder=encoder, few_steps=few)
