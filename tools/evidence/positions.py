"""Stretch Positions: 32 frames at once by a module that learned 16, beside the module as it is and a clip of 16.

The demo's module has encodings for 32 frames, of which training saw the first 16. Every arm draws the same prompts, and
its first frames start from the same noise.
"""

from __future__ import annotations

from functools import partial

import torch
from frameloom.models.motion.positions import stretch_positions
from frameloom.models.video import metrics
from frameloom.tools.detector import measure
from frameloom.tools.evidence.motion import follow, looks, mean_step, moving_clips, read_direction, travel
from frameloom.tools.evidence.rows import Row, agreement, table
from frameloom.tools.evidence.studio import MOVING, Section, Studio, draw_noise
from frameloom.training import shapes
from torch import Tensor

FRAMES = 2 * shapes.FRAMES
STRETCHED, PLAIN, SHORT = "stretched", "not stretched", "16 frames, as learned"
ARMS = (STRETCHED, PLAIN, SHORT)
CLAIMS = (
    "direction as the prompt's (of five)",
    "way from the first quarter to the last",
    "step a frame",
    "similarity of neighbours",
    "color as the prompt's",
    "background as the prompt's",
    "shape as the prompt's",
)


def stretch_rows(studio: Studio, samples: int) -> list[Row]:
    """Draw each prompt in every way."""
    count = max(5, samples // 4)
    figures = torch.stack(studio.each("Stretch Positions", count, partial(_clip, count)), 1)
    return table("32 frames", ARMS, CLAIMS, figures, {CLAIMS[0]: ">= 0.90"}, STRETCHED)


def _clip(count: int, studio: Studio, index: int) -> Tensor:
    """Return the figures of one prompt by every arm, [arms, claims]."""
    truth, noise = moving_clips(count), draw_noise(FRAMES, 80_000 + index)
    prompt = shapes.caption(truth, index, with_place=False)
    weights = stretch_positions(studio.motion.weights, shapes.FRAMES, FRAMES)
    stretched, plain = (
        studio.with_motion(each) for each in (studio.host.load_motion(weights), studio.motion)
    )
    drawn = (
        studio.denoise(model, prompt, noise[:frames])
        for model, frames in ((stretched, FRAMES), (plain, FRAMES), (plain, shapes.FRAMES))
    )
    return torch.stack([_figures(studio.decode(clip), truth, index) for clip in drawn])


def _figures(images: Tensor, truth: shapes.Clips, index: int) -> Tensor:
    """Return the figures of one clip, [F, 3, H, W] in -1..1, in the order of the claims."""
    found = measure(images)
    path = follow([found])
    report = metrics.measure((images.movedim(1, -1) + 1) / 2).video
    return torch.stack(
        [
            agreement(read_direction(*path), truth.direction[index : index + 1])[0],
            travel(*path)[0].norm(),
            mean_step(found.centers[None])[0].double(),
            torch.tensor(report.similarity).double(),
            *looks(found, truth, index, "color", "background", "shape"),
        ]
    )


SECTIONS = {
    "Stretch Positions": Section(
        stretch_rows,
        MOVING,
        "32 frames at once, by a module that learned 16: with their encodings stretched over 32, and with those of "
        "frames 16 to 31, which it never learned. Beside them a clip of 16 frames. Stretched, the shape should go the "
        "way of its prompt, as far in 32 frames as else in 16.",
    ),
}
