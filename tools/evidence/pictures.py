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
    return [
        row(f"detector: {name}", arm, agreement(getattr(found, name), getattr(truth, name)), target)
        for name in ("shape", "color", "background")
        for arm, found, target in (("drawn", drawn, ">= 0.99"), ("noise", noise, ""))
    ]


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
    rows = [
        row(f"text to image: {name}", arm, agreement(getattr(found, name), getattr(wanted, name)), bound)
        for name, target in targets.items()
        for arm, wanted, bound in (("demo model", truth, target), ("another's prompt", other, ""))
    ]
    near = (found.centers - torch.tensor(shapes.CELL_CENTERS)[truth.cell.flip(1)]).abs().amax(1) < 0.11
    return [*rows, row("text to image: place (of nine)", "demo model", near)]


SECTIONS = {
    "detector": Section(detector_rows, ()),
    "image": Section(image_rows, (MODEL,)),
}
