"""Single pictures: the detector itself, and what the demo model draws."""

from __future__ import annotations

import torch
from frameloom.tools.detector import measure
from frameloom.tools.evidence.rows import SEED, Row, agreement, row
from frameloom.tools.evidence.studio import MODEL, Section, Studio
from frameloom.training import shapes
from frameloom.training.loop import step_generator


def detector_rows(_: Studio, samples: int) -> list[Row]:
    """The measuring eye itself: drawn pictures must be read right, noise at chance."""
    truth = shapes.sample_images(samples, step_generator(SEED, 1))
    drawn = measure(shapes.render(truth)[:, 0])
    noise = measure(torch.rand(samples, 3, 128, 128, generator=step_generator(SEED, 2)) * 2 - 1)
    rows = []
    for name in ("shape", "color", "background"):
        rows.append(
            row(
                f"detector: {name}", "drawn", agreement(getattr(drawn, name), getattr(truth, name)), ">= 0.99"
            )
        )
        rows.append(row(f"detector: {name}", "noise", agreement(getattr(noise, name), getattr(truth, name))))
    return rows


def image_rows(studio: Studio, samples: int) -> list[Row]:
    """Text to image: does the picture show what the prompt says? Control: another prompt's words."""
    truth = shapes.sample_images(samples, step_generator(SEED, 3))
    prompts = [shapes.caption(truth, index) for index in range(samples)]
    pictures = [
        studio.sample(studio.model, prompt, 1, 10_000 + index) for index, prompt in enumerate(prompts)
    ]
    found = measure(torch.cat(pictures))
    other = truth.select(torch.arange(samples).roll(1))
    targets = {"color": ">= 0.95", "background": ">= 0.95", "shape": ">= 0.85"}
    rows = []
    for name, target in targets.items():
        value = getattr(found, name)
        rows.append(
            row(f"text to image: {name}", "demo model", agreement(value, getattr(truth, name)), target)
        )
        rows.append(row(f"text to image: {name}", "another's prompt", agreement(value, getattr(other, name))))
    near = (found.centers - torch.tensor(shapes.CELL_CENTERS)[truth.cell.flip(1)]).abs().amax(1) < 0.11
    rows.append(row("text to image: place (of nine)", "demo model", near))
    return rows


SECTIONS = {
    "detector": Section(detector_rows, ()),
    "image": Section(image_rows, (MODEL,)),
}
