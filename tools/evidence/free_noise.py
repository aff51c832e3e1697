"""FreeNoise: is a clip of three windows one piece, does it move, and does it stay about one thing without repeating?

Every arm draws the same prompts, and its first frames start from the same noise.
"""

from __future__ import annotations

from functools import partial

import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.long_video.free_noise import NoiseShuffle, WindowFusion
from frameloom.models.video import metrics
from frameloom.tools.detector import measure
from frameloom.tools.evidence.motion import looks, mean_step, moving_clips
from frameloom.tools.evidence.rows import Row, table
from frameloom.tools.evidence.studio import MOVING, Section, Studio, draw_noise
from frameloom.training import shapes
from torch import Tensor

WINDOW, FRAMES = shapes.FRAMES, 3 * shapes.FRAMES
STRIDE = WINDOW // 4
WHOLE, OWN, REPEATED, JOINED = "FreeNoise", "windows alone", "noise repeated", "clips, joined"
ARMS = (WHOLE, OWN, REPEATED, JOINED)


def free_noise_rows(studio: Studio, samples: int) -> list[Row]:
    """Draw each prompt with both parts, with windows on other noise, and as clips that know nothing of each other."""
    count = max(5, samples // 4)
    figures = torch.stack(studio.each("FreeNoise", count, partial(_task, count)), 1)
    claims = (
        "jump at a window's end over the others",
        "motion, % a frame",
        "step a frame, after the first window",
        "similarity of neighbours",
        "similarity a window later",
        "color as the prompt's",
        "background as the prompt's",
        "shape as the prompt's",
    )
    targets = {claims[0]: "<= 1.2"}
    return table("48 frames", ARMS, claims, figures, targets, WHOLE)


def _task(count: int, studio: Studio, index: int) -> Tensor:
    """Return the figures of one prompt by every arm, [arms, figures]."""
    truth = moving_clips(count)
    noise, prompt = draw_noise(FRAMES, 30_000 + index), shapes.caption(truth, index)
    return torch.stack([_figures(_draw(studio, arm, prompt, noise), truth, index) for arm in ARMS])


def _draw(studio: Studio, arm: str, prompt: str, noise: Tensor) -> Tensor:
    """Return one arm's frames, [F, 3, H, W] in -1..1."""
    model = studio.animated()
    if arm != JOINED:
        shuffle = NoiseShuffle(WINDOW, STRIDE) if arm == WHOLE else None
        edit = Edit("evidence", noise=shuffle, time=WindowFusion(WINDOW, STRIDE))
        model = studio.host.install(model, edit)
    if arm == REPEATED:
        noise = noise[:WINDOW].repeat(FRAMES // WINDOW, 1, 1, 1)
    parts = noise.split(WINDOW if arm == JOINED else FRAMES)
    return torch.cat([studio.decode(studio.denoise(model, prompt, part)) for part in parts])


def _figures(images: Tensor, truth: shapes.Clips, index: int) -> Tensor:
    """Return the figures of one clip, in the order of the claims."""
    found, unit = measure(images), (images + 1) / 2
    jumps = (unit[1:] - unit[:-1]).abs().mean((1, 2, 3))
    ends = torch.tensor([(frame + 1) % WINDOW == 0 for frame in range(FRAMES - 1)])
    report = metrics.measure(unit.movedim(1, -1)).video
    return torch.stack(
        [
            (jumps[ends].mean() / jumps[~ends].mean()).double(),
            torch.tensor(report.motion).double(),
            mean_step(found.centers[None, WINDOW:])[0].double(),
            torch.tensor(report.similarity).double(),
            metrics.frame_similarity(unit[:-WINDOW], unit[WINDOW:]).mean().double(),
            *looks(found, truth, index, "color", "background", "shape"),
        ]
    )


SECTIONS = {
    "FreeNoise": Section(
        free_noise_rows,
        MOVING,
        "48 frames, three windows. Windows alone: the motion module attends in windows, and every frame has "
        "noise of its own. Clips, joined: three runs that know nothing of each other.",
    ),
}
