"""One training of a motion module, for the node and the command: encode a dataset, train, and return the result.

Latents are kept in ``frameloom/latents`` of the user's folder, for the next training on the same clips.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from ...models.video.schedules import BetaName, BetaSchedule
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
    beta_schedule: BetaName = "sqrt_linear"


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
    lesson = _lesson(port, job, model, start)
    # This comes before the clips are encoded, which can take hours.
    _check_encoders(lesson.learner.weights)
    check_fit(lesson.learner.weights, port.base(model).widths)
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
        model: a MODEL, for its latents' scale.
        clip: a CLIP.
        vae: a VAE.
        dataset: clips and their captions.
        watch: callback that gets the number of clips that are done.
    """
    unit = port.noise_unit(model)

    def encode_pictures(pictures: Tensor) -> Tensor:
        images = rearrange(pictures / 2 + 0.5, "f c h w -> f h w c")
        return port.encode(vae, images)["samples"] / unit

    def encode_text(text: str) -> Tensor:
        return port.encode_text(clip, as_prompt(text))[0][0][0][0]

    # A VAE and a text encoder, with all patches on them, can't be hashed. Their answers to a probe can.
    pattern = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    key = hash_settings(picture=encode_pictures(pattern), text=encode_text(_PROBE_TEXT))
    folder = port.user_dir() / LATENTS
    return encode_clips(dataset, encode_pictures, encode_text, folder, key, watch, port.check_interrupt)


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


def _lesson(
    port: Host,
    job: MotionJob,
    model: Any,
    start: tuple[MotionWeights, Sequence[tuple[MotionLoRA, Strength]]] | None,
) -> Lesson:
    device, seed = port.compute_device(), job.settings.loop.seed
    check_rank(job.target, job.rank)
    if start is None and job.target != "module":
        refuse_nothing(job.target)
    if start is None:
        schedule = BetaSchedule(job.beta_schedule)
        weights = new_module(
            port.base(model).widths, schedule, middle=job.middle, max_frames=job.max_frames, seed=seed
        )
    else:
        with torch.inference_mode(False):
            weights = replace(merge_loras(*start), few_steps=None)
    few = None if job.settings.few is None else FewStepSettings(job.settings.few.steps)
    if job.target == "module":
        return learn_module(replace(weights, few_steps=few), job.name, device, in_place=start is None)
    encoder = ENCODERS.get(job.target)
    return learn_lora(weights, job.rank, job.name, device, seed, encoder=encoder, few_steps=few)
