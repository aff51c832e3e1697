"""Prompt Travel: does a clip begin as one prompt says and end as the other, and what is on the way?"""

from __future__ import annotations

from functools import partial

import torch
from frameloom.models.long_video.prompt_travel import plan_travel, travel_conditions
from frameloom.models.video import metrics
from frameloom.tools.detector import measure
from frameloom.tools.evidence.rows import SEED, Row, agreement, table
from frameloom.tools.evidence.studio import MOVING, Section, Studio, draw_noise
from frameloom.training import shapes
from frameloom.training.loop import step_generator
from torch import Tensor

FRAMES = shapes.FRAMES
QUARTER = FRAMES // 4
TRAVEL, CUT, FIRST, BARE = "linear", "hold", "the first prompt alone", "linear, no motion module"
ARMS = (TRAVEL, CUT, FIRST, BARE)


def travel_rows(studio: Studio, samples: int) -> list[Row]:
    """Change the color from a prompt to another, of neighbours in the list; controls: no change, no motion module."""
    count = max(8, samples // 4)
    figures = torch.stack(studio.each("prompt travel", count, partial(_task, count)), 1)
    claims = (
        "first quarter, the first color",
        "last quarter, the last color",
        "between, one of both colors",
        "changes back to an earlier color",
        "similarity of neighbours",
    )
    targets = {claims[0]: ">= 0.90", claims[1]: ">= 0.90"}
    return table("prompt travel", ARMS, claims, figures, targets, TRAVEL)


def _task(count: int, studio: Studio, number: int) -> Tensor:
    """Return the figures of one pair of prompts by every arm, [arms, figures]."""
    drawn = shapes.sample_images(count, step_generator(SEED, 9))
    names = list(shapes.COLORS)
    first = int(drawn.color[number])
    last, prompt = (first + 1) % len(names), shapes.caption(drawn, number)
    keys = {0: prompt, FRAMES - 1: prompt.replace(f" {names[first]} ", f" {names[last]} ")}
    noise = draw_noise(FRAMES, 70_000 + number)
    return torch.stack([_figures(_draw(studio, arm, keys, noise), first, last) for arm in ARMS])


def _draw(studio: Studio, arm: str, keys: dict[int, str], noise: Tensor) -> Tensor:
    """Return one arm's frames, [F, 3, H, W] in -1..1. A cut is in the clip's middle."""
    model = studio.model if arm == BARE else studio.animated()
    if arm == FIRST:
        keys = {0: keys[0]}
    elif arm == CUT:
        keys = {0: keys[0], FRAMES // 2: keys[FRAMES - 1]}
    blends = plan_travel(keys, FRAMES, "hold" if arm == CUT else "linear")
    encoded = {prompt: studio.host.encode_text(studio.clip, prompt)[0] for prompt in keys.values()}
    return studio.decode(studio.denoise(model, travel_conditions(encoded, keys, blends), noise))


def _figures(images: Tensor, first: int, last: int) -> Tensor:
    """Return the figures of one clip, in the order of the claims."""
    color = measure(images).color
    between = color[QUARTER:-QUARTER]
    runs = [
        int(color[0]),
        *(int(now) for now, before in zip(color[1:], color[:-1], strict=True) if now != before),
    ]
    report = metrics.measure(((images + 1) / 2).movedim(1, -1)).video
    return torch.stack(
        [
            agreement(color[:QUARTER], torch.tensor(first)).mean(),
            agreement(color[-QUARTER:], torch.tensor(last)).mean(),
            ((between == first) | (between == last)).double().mean(),
            torch.tensor(len(runs) - len(set(runs))).double(),
            torch.tensor(report.similarity).double(),
        ]
    )


SECTIONS = {
    "prompt travel": Section(
        travel_rows,
        MOVING,
        "From a color to its neighbour in the list, over 16 frames. On the way the demo model draws a third "
        "color in one frame of three.",
    ),
}
