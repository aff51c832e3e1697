"""FreeInit: do frames agree on what the prompt leaves open, at what cost of motion and look?

Prompts say no background, so that frames can differ in it, and no way. Every arm starts from the same noise. The
control takes as many steps as FreeInit does in all its runs, in one run.
"""

from __future__ import annotations

from functools import partial

import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.long_video.free_init import NoiseReinit
from frameloom.models.video import metrics
from frameloom.tools.detector import measure
from frameloom.tools.evidence.motion import looks
from frameloom.tools.evidence.rows import SEED, Row, agreement, row, table
from frameloom.tools.evidence.studio import MOVING, SCHEDULER, STEPS, Section, Studio, draw_noise
from frameloom.training import shapes
from frameloom.training.loop import step_generator
from torch import Tensor

DEFAULT = "FreeInit, 2 extra"
ARMS: dict[str, NoiseReinit | None] = {
    DEFAULT: NoiseReinit(2),
    "one run": None,
    "one run of three times the steps": None,
}


def free_init_rows(studio: Studio, samples: int) -> list[Row]:
    """Draw each prompt by every arm."""
    count = max(10, samples // 4)
    figures = torch.stack(studio.each("FreeInit", count, partial(_task, count)), 1)
    claims = (
        "background as frame 0",
        "similarity of neighbours",
        "flicker",
        "motion, % a frame",
        "color as the prompt's",
        "shape as the prompt's",
    )
    default, one, _ = figures
    agreed, steadied = default[:, 0] - one[:, 0], one[:, 2] - default[:, 2]
    return [
        row("FreeInit, background unsaid: background as frame 0", "2 extra minus one run", agreed, ">= 0.05"),
        row("FreeInit, background unsaid: flicker", "one run minus 2 extra", steadied, ">= 0"),
        *table("FreeInit, background unsaid", list(ARMS), claims, figures, {}, DEFAULT),
    ]


def _task(count: int, studio: Studio, index: int) -> Tensor:
    """Return the figures of one prompt by every arm, [arms, figures]."""
    truth = shapes.sample_images(count, step_generator(SEED, 10))
    prompt = shapes.caption(truth, index, with_place=False).partition(" on a ")[0]
    noise = draw_noise(shapes.FRAMES, 60_000 + index)
    drawn = []
    for arm, reinit in ARMS.items():
        steps = 3 * STEPS if arm.endswith("three times the steps") else STEPS
        drawn.append(_figures(_draw(studio, reinit, prompt, noise, steps), truth, index))
    return torch.stack(drawn)


def _draw(studio: Studio, reinit: NoiseReinit | None, prompt: str, noise: Tensor, steps: int) -> Tensor:
    """Return one arm's frames, [F, 3, H, W] in -1..1."""
    model = studio.animated()
    if reinit is not None:
        model = studio.host.install(model, Edit("FreeInit", run=reinit))
    sigmas = studio.host.sigmas(model, steps, SCHEDULER)
    return studio.decode(studio.denoise(model, prompt, noise, sigmas=sigmas))


def _figures(images: Tensor, truth: shapes.Clips, index: int) -> Tensor:
    """Return the figures of one clip, in the order of the claims."""
    found = measure(images)
    report = metrics.measure(((images + 1) / 2).movedim(1, -1)).video
    return torch.stack(
        [
            agreement(found.background[1:], found.background[0]).mean(),
            *(torch.tensor(value).double() for value in (report.similarity, report.flicker, report.motion)),
            *looks(found, truth, index, "color", "shape"),
        ]
    )


SECTIONS = {
    "FreeInit": Section(
        free_init_rows,
        MOVING,
        "Prompts say no background, so that frames can differ in it, and no way. On the demo model they "
        "agree on it in one run already, so that there is little to gain; the clip of `freeinit_demo` is one "
        "of the few where they do not.",
    ),
}
