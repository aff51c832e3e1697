"""Video editing by a model of pictures: does a clip take the prompt's color, stay what it is, and flicker?

Drawn clips are inverted to noise, part of the way, and sampled from there with another color in the prompt. Arms differ
in the model that samples alone.
"""

from __future__ import annotations

from functools import partial

import torch
from frameloom.headless.weights.model import Model
from frameloom.models.video import metrics
from frameloom.models.zero_shot.rave import rave_edit
from frameloom.models.zero_shot.vidtome import vidtome_edit
from frameloom.tools.detector import measure
from frameloom.tools.evidence.motion import looks, moving_clips
from frameloom.tools.evidence.rows import Row, table
from frameloom.tools.evidence.studio import CFG, MODEL, SCHEDULER, Section, Studio
from frameloom.training import shapes
from torch import Tensor

ALONE, RAVE, VIDTOME = "each frame by itself", "RAVE, grid 2", "VidToMe"
FRAMES, STEPS, DENOISE = 8, 8, 0.6
BACK = 1e-4  # noise level from which inversion begins, as core's Flip Sigmas has it


def editing_rows(studio: Studio, samples: int) -> list[Row]:
    """Edit each clip by every arm."""
    count = max(5, samples // 4)
    figures = torch.stack(studio.each("editing", count, partial(_task, count)), 1)
    claims = (
        "flicker",
        "color as the prompt's",
        "background as the clip's",
        "shape as the clip's",
        "distance from the clip's shape, in widths",
    )
    return table("editing", (ALONE, RAVE, VIDTOME), claims, figures, {}, ALONE)


def _task(count: int, studio: Studio, index: int) -> Tensor:
    """Return the figures of one clip by every arm, [arms, figures]."""
    clips = moving_clips(count)
    truth = shapes.Clips(**{**vars(clips), "centers": clips.centers[:, :: shapes.FRAMES // FRAMES]})
    wanted = shapes.Clips(**{**vars(truth), "color": (truth.color + 3) % len(shapes.COLORS)})
    was, prompt = (shapes.caption(each, index, with_place=False) for each in (truth, wanted))
    pictures = shapes.render(truth.select(torch.tensor([index])))[0]
    clip = studio.host.encode(studio.vae, (pictures.movedim(1, -1) + 1) / 2)["samples"]
    levels = _levels(studio)
    noisy = _sample(studio, studio.model, was, clip, levels.flip(0).clamp(min=BACK), 1.0)
    arms = [studio.model] + [
        studio.host.install(studio.model, edit) for edit in (rave_edit(2, 0), vidtome_edit(4, 0.9, 0.8, 0))
    ]
    edited = [studio.decode(_sample(studio, arm, prompt, noisy, levels, CFG)) for arm in arms]
    return torch.stack([_figures(each, wanted, index) for each in edited])


def _levels(studio: Studio) -> Tensor:
    """Return the noise levels of the last part of sampling."""
    return studio.host.sigmas(studio.model, int(STEPS / DENOISE), SCHEDULER)[-STEPS - 1 :]


def _sample(
    studio: Studio, model: Model, prompt: str, latent: Tensor, levels: Tensor, scale: float
) -> Tensor:
    """Sample without new noise."""
    positive, negative = (studio.host.encode_text(studio.clip, text)[0] for text in (prompt, ""))
    return studio.host.sample(
        model, positive, negative, {"samples": latent}, noise=torch.zeros_like(latent), sigmas=levels,
        sampler="euler", cfg=scale,
    )["samples"]  # fmt: skip


def _figures(clip: Tensor, wanted: shapes.Clips, index: int) -> Tensor:
    """Return the figures of one clip, in the order of the claims."""
    found = measure(clip)
    flicker = torch.tensor(metrics.measure((clip.movedim(1, -1) + 1) / 2).video.flicker)
    color, background, shape = looks(found, wanted, index, "color", "background", "shape")
    distance = (found.centers - wanted.centers[index]).norm(dim=-1).mean()
    return torch.stack([each.double() for each in (flicker, color, background, shape, distance)])


SECTIONS = {
    "Video editing": Section(
        editing_rows,
        (MODEL,),
        f"{FRAMES} frames of drawn clips, {STEPS} steps of Euler down from {DENOISE:.0%} of the schedule, to which the "
        "same model has inverted them with the clip's own words. The prompt names another color. Frames by themselves "
        "are steady here already, since noise that a clip was inverted to carries it; and the demo model has never "
        "seen a picture with several shapes, which a grid is.",
    ),
}
