"""FreeU Per Frame: does its strength act in the frames that it is given for, and does a clip stay what it is?

Every arm draws the same prompts from the same noise.
"""

from __future__ import annotations

from functools import partial

import torch
from frameloom.headless.weights.model import Model
from frameloom.models.edits.edit import Edit
from frameloom.models.motion.free_u import FreeU
from frameloom.models.video import metrics
from frameloom.tools.detector import measure
from frameloom.tools.evidence.motion import looks, moving_clips
from frameloom.tools.evidence.rows import Row, table
from frameloom.tools.evidence.studio import MOVING, Section, Studio
from frameloom.training import shapes
from torch import Tensor

PLAIN, EVEN, RISING, STILLS = "no FreeU", "strength 1", "strength 0 to 1", "0 to 1, no motion module"
QUARTER = shapes.FRAMES // 4


def free_u_rows(studio: Studio, samples: int) -> list[Row]:
    """Draw each prompt without FreeU, with it in all frames, and with a strength that rises."""
    count = max(5, samples // 4)
    figures = torch.stack(studio.each("FreeU", count, partial(_task, count)), 1)
    claims = (
        "change of the first quarter, %",
        "change of the last quarter, %",
        "last quarter's change over the first's",
        "flicker",
        "color as the prompt's",
        "background as the prompt's",
        "shape as the prompt's",
    )
    targets = {claims[2]: ">= 2"}
    return table("FreeU", (PLAIN, EVEN, RISING, STILLS), claims, figures, targets, STILLS)


def _task(count: int, studio: Studio, index: int) -> Tensor:
    """Return the figures of one prompt by every arm, [arms, figures]."""
    truth = moving_clips(count)
    prompt = shapes.caption(truth, index, with_place=False)

    def draw(model: Model, *strengths: float) -> Tensor:
        if strengths:
            skips = FreeU(first=strengths[0], last=strengths[1], frames=shapes.FRAMES)
            model = studio.host.install(model, Edit("evidence", skips=skips))
        return studio.sample(model, prompt, shapes.FRAMES, 60_000 + index)

    moving = studio.animated()
    plain, stills = draw(moving), draw(studio.model)
    pairs = [
        (plain, plain),
        (draw(moving, 1, 1), plain),
        (draw(moving, 0, 1), plain),
        (draw(studio.model, 0, 1), stills),
    ]
    return torch.stack([_figures(clip, beside, truth, index) for clip, beside in pairs])


def _figures(clip: Tensor, plain: Tensor, truth: shapes.Clips, index: int) -> Tensor:
    """Return the figures of one clip, in the order of the claims."""
    change = (clip - plain).abs().mean((1, 2, 3)) * 50  # pictures reach from -1 to 1
    first, last = change[:QUARTER].mean(), change[-QUARTER:].mean()
    found = measure(clip)
    right = looks(found, truth, index, "color", "background", "shape")
    flicker = torch.tensor(metrics.measure((clip.movedim(1, -1) + 1) / 2).video.flicker)
    ratio = last / first if first > 0 else torch.ones(())
    return torch.stack([each.double() for each in (first, last, ratio, flicker, *right)])


SECTIONS = {
    "FreeU Per Frame": Section(
        free_u_rows,
        MOVING,
        "16 frames, the node's own scales. The demo model has features of twice the finest width only, so b1 and s1 "
        "find nothing there. Change: mean difference of pixels from the same clip without FreeU. A motion module "
        "carries what FreeU does in one frame over to the others.",
    ),
}
