"""A mask adapter: frames between two that are given, and after the first ones, beside a module untrained for either.

The given frames are those of clips like the training set's, drawn anew, so that the clip itself tells what was to come.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from frameloom.headless.weights.model import Model
from frameloom.models.long_video.nuwa_fill import Filling
from frameloom.models.long_video.nuwa_tree import Tree
from frameloom.models.video import metrics
from frameloom.tools.detector import measure
from frameloom.tools.evidence.long_video import ADAPTED_FILLING
from frameloom.tools.evidence.rows import SEED, Row, agreement, table
from frameloom.tools.evidence.studio import (
    ADAPTED_FILES,
    CFG,
    SAMPLER,
    SCHEDULER,
    STEPS,
    Section,
    Studio,
    draw_noise,
)
from frameloom.training import shapes
from frameloom.training.loop import step_generator
from torch import Tensor

FRAMES = shapes.FRAMES
ADAPTED, FREE, HELD = "mask adapter", "training-free", "held, nothing told"
FADED, ITSELF = "cross-fade", "the clip itself"
ARMS = (ADAPTED, FREE, HELD, FADED, ITSELF)
AFTER = (ADAPTED, HELD, ITSELF)
SEVERAL = 4  # first frames that show how the shape moves
CLAIMS = (
    "jump at the given frames over the others",
    "new frames with the color, shape and background of the given",
    "new frames' distance from the clip's",
    "shape's distance from its place in the clip",
    "motion, % a frame",
)
TARGETS = {CLAIMS[0]: "<= 1.5", CLAIMS[1]: ">= 0.9"}


@dataclass(frozen=True)
class Task:
    """One clip, of which frames are given.

    Attributes:
        truth: the clip.
        number: number of the set.
    """

    truth: shapes.Clips
    number: int

    @property
    def prompt(self) -> str:
        """What is drawn; neither where, nor which way it goes."""
        return f"{shapes.name_thing(self.truth, 0)} {shapes.name_background(self.truth, 0)}"


def adapter_rows(studio: Studio, samples: int) -> list[Row]:
    """Draw what is between the ends of each clip, and what comes after its first frames, in every way."""
    count = max(8, samples // 2)
    drawn = studio.each("mask adapter", count, partial(_task, count))
    ends, first, several = (torch.stack(figures, 1) for figures in zip(*drawn, strict=True))
    return [
        *table("ends given", ARMS, CLAIMS, ends, TARGETS, ADAPTED),
        *table("first given", AFTER, CLAIMS, first, TARGETS, ADAPTED),
        *table(f"first {SEVERAL} given", AFTER, CLAIMS, several, TARGETS, ADAPTED),
    ]


def _task(count: int, studio: Studio, number: int) -> tuple[Tensor, ...]:
    """Return the figures of one clip by every arm, [arms, claims]: its ends given, its first frame, its first ones."""
    studio.select()
    clips = shapes.sample_clips(count, step_generator(SEED, 61))
    task = Task(clips.select(torch.tensor([number])), number)
    pictures = shapes.render(task.truth)[0]
    latents = studio.host.encode(studio.vae, pictures.movedim(1, -1) / 2 + 0.5)["samples"]
    plain, adapted = studio.with_motion(studio.motion), studio.with_motion(studio.adapted_motion)
    between = {
        ADAPTED: _between(studio, task, latents, adapted, ADAPTED_FILLING),
        FREE: _between(studio, task, latents, plain, Filling()),
        HELD: _between(studio, task, latents, plain, ADAPTED_FILLING),
        FADED: torch.lerp(latents[:1], latents[-1:], torch.linspace(0, 1, FRAMES).view(-1, 1, 1, 1)),
        ITSELF: latents,
    }
    asked = [([0, FRAMES - 1], between)]
    for first in (1, SEVERAL):
        after = {
            ADAPTED: _after(studio, task, latents, first, adapted),
            HELD: _after(studio, task, latents, first, plain),
            ITSELF: latents,
        }
        asked.append(([*range(first)], after))
    return tuple(
        torch.stack([_figures(studio.decode(clip), pictures, task.truth, given) for clip in clips.values()])
        for given, clips in asked
    )


def _between(studio: Studio, task: Task, latents: Tensor, model: Model, filling: Filling) -> Tensor:
    from frameloom.nodes.long_video.nuwa import LocalWork, ask

    tree = Tree(FRAMES, 2, {0: task.prompt})
    negative = studio.host.encode_text(studio.clip, "")[0]
    asked = ask(model, studio.clip, tree, negative, None, STEPS, CFG, SAMPLER, SCHEDULER)
    return LocalWork(asked, filling, 60_000 + task.number)(tree.job(1, 0), latents[[0, -1]], lambda *_: None)


def _after(studio: Studio, task: Task, latents: Tensor, first: int, model: Model) -> Tensor:
    mask = torch.ones(FRAMES, 1, *latents.shape[-2:])
    mask[:first] = 0
    start = torch.cat([latents[:first], torch.zeros_like(latents[first:])])
    noise = draw_noise(FRAMES, 60_000 + task.number)
    return studio.denoise(model, task.prompt, noise, latent=start, mask=mask)


def _figures(images: Tensor, pictures: Tensor, truth: shapes.Clips, given: list[int]) -> Tensor:
    """Return the figures of one clip, [F, 3, H, W] in -1..1, in the order of the claims."""
    found, unit = measure(images), (images + 1) / 2
    jumps = (unit[1:] - unit[:-1]).abs().mean((1, 2, 3))
    is_new = torch.ones(FRAMES, dtype=torch.bool)
    is_new[given] = False
    at_given, between_new = is_new[1:] != is_new[:-1], is_new[1:] & is_new[:-1]
    looks = torch.stack(
        [agreement(getattr(found, name), getattr(truth, name)) for name in ("color", "shape", "background")]
    )
    apart = (found.centers - truth.centers[0]).norm(dim=-1)
    there = is_new & (found.shape >= 0)
    return torch.stack(
        [
            (jumps[at_given].mean() / jumps[between_new].mean().clamp(min=1e-6)).double(),
            looks.amin(0)[is_new].mean(),
            (unit - (pictures + 1) / 2)[is_new].abs().mean().double(),
            (apart[there].mean() if there.any() else torch.tensor(0.5)).double(),
            torch.tensor(metrics.measure(unit.movedim(1, -1)).video.motion).double(),
        ]
    )


SECTIONS = {
    "mask adapter": Section(
        adapter_rows,
        ADAPTED_FILES,
        "Clips of the training set's kind, drawn anew, of which both ends or the first frames are given. "
        "Prompts say color, shape and background, neither place nor way. With the adapter: Nuwa Interpolate "
        "from own noise, without resampling, and a run with the first frames held. Training-free: Nuwa "
        "Interpolate's defaults. The clip itself went through the VAE, and is as good as one can be. After "
        "one frame, its trail tells the way, and nothing how far: the distances are from one of many clips "
        "that would be right. Four frames tell how fast as well.",
    ),
}
