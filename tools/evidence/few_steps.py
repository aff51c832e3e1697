"""The few-step motion module beside the module that taught it: the same prompts and noise, a tenth of the calls."""

from __future__ import annotations

import time

import torch
from frameloom.headless.weights.model import Model
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.models.motion.few_steps import SCHEDULER
from frameloom.models.video import metrics
from frameloom.tools.detector import measure
from frameloom.tools.evidence.motion import follow, looks, mean_step, moving_clips, read_direction
from frameloom.tools.evidence.rows import Row, agreement, row
from frameloom.tools.evidence.studio import ASSETS, MOVING, Section, Studio, draw_noise, watched
from frameloom.training import shapes
from torch import Tensor

FILE = ASSETS / "motion_few_steps.safetensors"
TAUGHT, TEACHER, PLAIN = "4 calls, few-step module", "40 calls, its teacher", "4 calls, its teacher"
NEAR = "-0.03 .. 0.03"
FIGURES = (
    "direction (of five)",
    "step over the drawn one",
    "color",
    "background",
    "shape",
    "similarity",
    "flicker",
)


def rows(studio: Studio, samples: int) -> list[Row]:
    """Each figure of the three arms, and how far each arm of 4 calls is from the 40 on the same prompts and noise."""
    truth = moving_clips(samples)
    taught = studio.with_motion(studio.host.load_motion(read_motion_weights(FILE)))
    teacher = studio.animated()
    arms = {
        TEACHER: (teacher, 20, "normal", 3.0),
        TAUGHT: (taught, 4, SCHEDULER, 1.0),
        PLAIN: (teacher, 4, SCHEDULER, 1.0),
    }
    found, seconds = {}, {}
    for arm, settings in arms.items():
        found[arm], seconds[arm] = _measure_clips(studio, truth, arm, *settings)
    made = []
    for place, figure in enumerate(FIGURES):
        values = {arm: each[place] for arm, each in found.items()}
        made += [row(f"few steps: {figure}", arm, each[each.isfinite()]) for arm, each in values.items()]
        for arm in (TAUGHT, PLAIN):
            apart = values[arm] - values[TEACHER]
            target = NEAR if arm == TAUGHT else ""
            made.append(row(f"few steps: {figure}", f"{arm}, less the 40's", apart[apart.isfinite()], target))
    made.append(
        row("few steps: time of a clip over the 40's", TAUGHT, seconds[TAUGHT] / seconds[TEACHER], "<= 0.15")
    )
    return made


def _measure_clips(
    studio: Studio, truth: shapes.Clips, arm: str, model: Model, steps: int, scheduler: str, cfg: float
) -> tuple[Tensor, Tensor]:
    """Return each clip's figures, [figures, B] with NaN for the step of what stands still, and its seconds, [B]."""
    sigmas = studio.host.sigmas(model, steps, scheduler)
    columns, seconds = [], []
    for index in watched(arm, range(len(truth))):
        caption = shapes.caption(truth, index, with_place=False)
        noise, start = draw_noise(shapes.FRAMES, 20_000 + index), time.perf_counter()
        latent = studio.denoise(model, caption, noise, sigmas=sigmas, sampler="euler", cfg=cfg)
        seconds.append(time.perf_counter() - start)
        columns.append(_figures(studio.decode(latent), truth, index))
    return torch.stack(columns, 1), torch.tensor(seconds)


def _figures(clip: Tensor, truth: shapes.Clips, index: int) -> Tensor:
    found = measure(clip)
    centers, present = follow([found])
    direction = truth.direction[index]
    right = agreement(read_direction(centers, present), direction[None])[0]
    step = mean_step(centers)[0] / mean_step(truth.centers[index : index + 1])[0]
    step = step if direction != shapes.STILL else torch.tensor(torch.nan)
    report = metrics.measure((clip.movedim(1, -1) + 1) / 2).video
    alike = [torch.tensor(report.similarity), torch.tensor(report.flicker)]
    values = [right, step, *looks(found, truth, index, "color", "background", "shape"), *alike]
    return torch.stack([value.double() for value in values])


SECTIONS = {
    "few steps": Section(
        rows,
        (*MOVING, FILE),
        "The clips of `animatediff_demo` and of `few_steps_demo`: 20 steps of euler with guidance 3, which are 40 "
        "calls of the model, beside 4 without guidance. Differences are of the same prompts and noise.",
    )
}
