"""Foreground masks against what the detector sees, and what background smoothing with them does to clips.

Clips are those of ``zero_shot``, at the demo workflows' levels. The node itself is asked, with its defaults. A cell of
the latents is foreground in truth where the detector's mask of the decoded picture covers more than half of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from frameloom.headless.weights.model import Model
from frameloom.models.zero_shot.latents import smooth_background
from frameloom.models.zero_shot.motion_path import MotionPath
from frameloom.tools.evidence.rows import SEED, Row, row
from frameloom.tools.evidence.studio import MODEL, Section, Studio, watched
from frameloom.tools.evidence.zero_shot import (
    DEMO,
    FRAMES,
    PAPER,
    Clip,
    Start,
    Task,
    begin,
    finish,
    make_tasks,
    slope,
    with_anchor,
)
from frameloom.training.loop import step_generator
from torch import Tensor

CELL = 8  # pixels
DILATION = 3  # cells; the demo model's latents have 16 a side, for the 64 of the paper's
KEEP = 0.4
SMOOTHED, PLAIN = "smoothed", "not smoothed"
BACKGROUND = "contrast, the background's word"


@dataclass(frozen=True)
class Masks:
    """Masks of one clip, [F, h, w] bool each, by arm; and the truth."""

    found: dict[str, Tensor]
    truth: Tensor


def mask_rows(studio: Studio, samples: int) -> list[Row]:
    """Masks, and smoothing with them, at the demo workflows' levels with cross-frame attention."""
    model, tasks = with_anchor(studio), make_tasks(samples)
    masks: list[Masks] = []
    clips: dict[str, list[Clip]] = {PLAIN: [], SMOOTHED: []}
    for index, task in enumerate(watched("masks", tasks)):
        start = begin(studio, task, DEMO)
        plain = finish(studio, start, model)
        masks.append(find_masks(studio, task, plain, index))
        clips[PLAIN].append(plain)
        clips[SMOOTHED].append(smooth(studio, start, masks[-1].found[f"dilated by {DILATION}"], model))
    return [
        *overlap_rows(masks),
        *change_rows("smoothing", clips, tasks),
        *way_rows("smoothing", clips, tasks),
    ]


def smoothing_rows(studio: Studio, samples: int) -> list[Row]:
    """Smoothing where frames disagree: at the paper's levels, no background said, no cross-frame attention."""
    tasks = make_tasks(samples, say_background=False)
    clips: dict[str, list[Clip]] = {PLAIN: [], SMOOTHED: []}
    for task in watched("smoothing", tasks):
        start = begin(studio, task, PAPER)
        plain = finish(studio, start, studio.model)
        mask = ask_node(studio, task, plain, name_of(task), {"dilation": DILATION}) > 0
        clips[PLAIN].append(plain)
        clips[SMOOTHED].append(smooth(studio, start, mask, studio.model))
    claim = "smoothing, background unsaid"
    return change_rows(claim, clips, tasks, {"change": "<= 0.70", "agree": ">= 0.95"})


def smooth(studio: Studio, start: Start, mask: Tensor, model: Model) -> Clip:
    """Smooth the frames at t1 outside a mask, [F, h, w] bool, and sample them again."""
    frames = smooth_background(start.frames, mask.float(), start.task.path, KEEP)
    return finish(studio, Start(start.task, frames, start.sigmas), model)


def name_of(task: Task) -> str:
    """Return the color and shape that a prompt names."""
    return " ".join(task.prompt.partition(" on a ")[0].split()[-2:])


def find_masks(studio: Studio, task: Task, clip: Clip, index: int) -> Masks:
    """Ask the node, once for each arm, and make the masks that chance would."""
    truth = torch.nn.functional.avg_pool2d(clip.found.mask[:, None].float(), CELL)[:, 0] > 0.5
    phrase, background = name_of(task), task.prompt.partition(" on a ")[2].split()[0]

    def ask(words: str, **settings: object) -> Tensor:
        return ask_node(studio, task, clip, words, settings) > 0

    contrast = ask(phrase)
    order = torch.rand(truth.shape, generator=step_generator(SEED, 50_000 + index)).flatten(1).argsort(1)
    chance = contrast.flatten(1).gather(1, order).view_as(contrast)
    found = {
        "contrast": contrast,
        BACKGROUND: ask(background),
        "attention": ask(phrase, method="attention"),
        "attention, level 0": ask(phrase, method="attention", levels="0"),
        "cells at random": chance,
        f"dilated by {DILATION}": ask(phrase, dilation=DILATION),
        "dilated by 5": ask(phrase, dilation=5),
    }
    return Masks(found, truth)


def ask_node(studio: Studio, task: Task, clip: Clip, words: str, settings: dict[str, object]) -> Tensor:
    """Run Foreground Mask with its defaults but for some settings, undilated; [F, h, w]."""
    studio.select()
    from frameloom.nodes.zero_shot.foreground import ForegroundMask

    inputs = ForegroundMask.define_schema().inputs
    defaults = {each.id: each.default for each in inputs if getattr(each, "default", None) is not None}
    values = {**defaults, "seed": task.seed, "dilation": 1, **settings}
    sockets = {"model": studio.model, "clip": studio.clip, "latent": {"samples": clip.latent}}
    return ForegroundMask.execute(**{**values, **sockets, "prompt": task.prompt, "phrase": words}).args[0]


def overlap_rows(masks: list[Masks]) -> list[Row]:
    """Say how far masks and truth are the same cells, and how much of the truth they cover."""
    rows = []
    for arm in masks[0].found:
        both = torch.stack([overlap(each.found[arm], each.truth) for each in masks])
        rows.append(
            row("mask: IoU with the detector's", arm, both, ">= 0.70" if arm == "contrast" else "", ratio)
        )
    for arm in ("contrast", f"dilated by {DILATION}", "dilated by 5"):
        both = torch.stack([covered(each.found[arm], each.truth) for each in masks])
        target = ">= 0.95" if arm == f"dilated by {DILATION}" else ""
        rows.append(row("mask: foreground that it covers", arm, both, target, ratio))
    return rows


def overlap(mask: Tensor, truth: Tensor) -> Tensor:
    """Return the cells of one clip that both masks have, and that either has: [2]."""
    return torch.stack([(mask & truth).sum(), (mask | truth).sum()])


def covered(mask: Tensor, truth: Tensor) -> Tensor:
    """Return the cells of the truth that a mask has, and all: [2]."""
    return torch.stack([(mask & truth).sum(), truth.sum()])


def ratio(pairs: Tensor) -> Tensor:
    """Return the sum of the first over that of the second. ``pairs``: [R, N, 2]."""
    return pairs[..., 0].sum(1) / pairs[..., 1].sum(1)


def change_rows(
    claim: str, clips: dict[str, list[Clip]], tasks: list[Task], targets: dict[str, str] | None = None
) -> list[Row]:
    """Hold the background's change along the path against that without smoothing."""
    targets = targets or {}
    change = {
        arm: torch.stack([change_along(clip, task.path) for clip, task in zip(made, tasks, strict=True)])
        for arm, made in clips.items()
    }
    agree = {arm: torch.stack([clip.keeps("background") for clip in made]) for arm, made in clips.items()}
    rows = [row(f"{claim}: background change", arm, values) for arm, values in change.items()]
    pairs = torch.stack([change[SMOOTHED], change[PLAIN]], -1)
    rows.append(
        row(f"{claim}: background change", "with over without", pairs, targets.get("change", ""), ratio)
    )
    for arm, values in agree.items():
        target = targets.get("agree", "") if arm == SMOOTHED else ""
        rows.append(row(f"{claim}: background as frame 0", arm, values, target))
    return rows


def way_rows(claim: str, clips: dict[str, list[Clip]], tasks: list[Task]) -> list[Row]:
    """Hold the foreground's way and look against those without smoothing."""
    wanted = torch.stack([task.path.move[-1] for task in tasks])
    ways = {arm: torch.stack([clip.way for clip in made]).double() for arm, made in clips.items()}
    rows = [
        row(f"{claim}: way along the path, slope", arm, torch.stack([way, wanted], -1), statistic=slope)
        for arm, way in ways.items()
    ]
    pairs = torch.stack([ways[SMOOTHED], ways[PLAIN]], -1)
    rows.append(row(f"{claim}: way", "with over without", pairs, "0.90 .. 1.10", slope))
    for name in ("shape", "color"):
        rows += [
            row(f"{claim}: {name} as frame 0", arm, torch.stack([clip.keeps(name) for clip in made]))
            for arm, made in clips.items()
        ]
    return rows


def change_along(clip: Clip, path: MotionPath) -> Tensor:
    """Return the mean difference from frame 0 moved along the path, of a range of 1: [].

    It is taken where neither the frame nor the moved frame 0 has the shape, and a cell around it is left out, which the
    decoder blurs.
    """
    shape = torch.nn.functional.max_pool2d(clip.found.mask[:, None].float(), 2 * CELL + 1, 1, CELL)
    total, count = torch.zeros(()), torch.zeros(())
    for frame in range(1, FRAMES):
        rows, columns = path.source_cells(frame, *clip.images.shape[-2:])
        background = (1 - shape[frame, 0]) * (1 - shape[0, 0][rows, columns])
        change = (clip.images[frame] - clip.images[0][:, rows, columns]).abs().mean(0) / 2
        total, count = total + (change * background).sum(), count + background.sum()
    return total / count


SECTIONS = {
    "foreground masks": Section(
        mask_rows,
        (MODEL,),
        f"Of the zero-shot clips at t1 {DEMO[0]} and t0 {DEMO[1]}, by Foreground Mask with its defaults, in "
        "cells of 8 pixels; undilated unless the row says. IoU and cover are of all clips' cells together. "
        f"Smoothing takes the mask dilated by {DILATION}: at these levels backgrounds agree already, and it "
        "has nothing to do.",
    ),
    "background smoothing, background unsaid": Section(
        smoothing_rows,
        (MODEL,),
        f"t1 {PAPER[0]} and t0 {PAPER[1]}, prompts that say no background, and no cross-frame attention: "
        "nothing but smoothing tells a frame which one frame 0 took.",
    ),
}
