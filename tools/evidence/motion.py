"""The motion module and the motion LoRA: where shapes go, how far, and whether they stay what they are."""

from __future__ import annotations

from dataclasses import replace

import torch
from frameloom.headless.weights.model import Model
from frameloom.models.video import metrics
from frameloom.tools.detector import Measurement, measure
from frameloom.tools.evidence.rows import SEED, Row, agreement, row
from frameloom.tools.evidence.studio import LORA, MODEL, MOVING, Section, Studio, watched
from frameloom.training import shapes
from frameloom.training.loop import step_generator
from torch import Tensor


def moving_clips(samples: int) -> shapes.Clips:
    """Return clips of the published set: directions in turn, everything else drawn."""
    pool = shapes.sample_clips(8 * samples, step_generator(SEED, 4))
    kinds = len(shapes.DIRECTIONS)
    of_direction = [(pool.direction == index).nonzero().flatten() for index in range(kinds)]
    return pool.select(torch.stack([of_direction[i % kinds][i // kinds] for i in range(samples)]))


def follow(found: list[Measurement]) -> tuple[Tensor, Tensor]:
    """Return the shapes' paths, [B, F, 2] float, normalised, and the frames in which they were found, [B, F] bool."""
    return torch.stack([one.centers for one in found]), torch.stack([one.shape >= 0 for one in found])


def read_direction(centers: Tensor, present: Tensor) -> Tensor:
    """Name each clip's direction from its path (of ``follow``).

    Returns:
        [B] long, index into ``shapes.DIRECTIONS``; -1 where the shape was missing in more than half of the frames.
    """
    x, y = travel(centers, present).unbind(1)
    horizontal = torch.where(x < 0, 0, 1)
    vertical = torch.where(y < 0, 2, 3)
    named = torch.where(x.abs() >= y.abs(), horizontal, vertical)
    named = torch.where(torch.maximum(x.abs(), y.abs()) < 0.08, shapes.STILL, named)
    return torch.where(present.double().mean(1) > 0.5, named, -1)


def travel(centers: Tensor, present: Tensor) -> Tensor:
    """Return each clip's way from its first quarter to its last, [B, 2] double. Arguments: see ``follow``."""
    quarter = max(1, centers.shape[1] // 4)
    weight = present.unsqueeze(-1).double()

    def middle(part: slice) -> Tensor:
        return (centers[:, part] * weight[:, part]).sum(1) / weight[:, part].sum(1).clamp(min=1)

    return middle(slice(-quarter, None)) - middle(slice(quarter))


def looks(found: Measurement, truth: shapes.Clips, index: int, *names: str) -> list[Tensor]:
    """Return the shares of a clip's frames whose looks, by name, are those of one drawn clip; [] double each."""
    return [agreement(getattr(found, name), getattr(truth, name)[index]).mean() for name in names]


def mean_step(centers: Tensor) -> Tensor:
    """Return the mean distance of the shape between neighbouring frames, [B], as a share of the width."""
    return (centers[:, 1:] - centers[:, :-1]).norm(dim=-1).mean(1)


def video_rows(studio: Studio, samples: int) -> list[Row]:
    """Text to video: direction, step, similarity; and the same of drawn clips, like those it was trained on."""
    truth = moving_clips(samples)
    clips = sample_clips(studio, studio.animated(), truth, "motion module")
    return [
        *clip_rows("motion module", clips, truth, is_technique=True),
        *clip_rows("drawn clips", shapes.render(truth), truth, is_technique=False),
    ]


def unmoved_rows(studio: Studio, samples: int) -> list[Row]:
    """The video section's control: the same prompts and noise without the motion module."""
    truth = moving_clips(samples)
    clips = sample_clips(studio, studio.model, truth, "no module")
    return clip_rows("no module", clips, truth, is_technique=False)


def sample_clips(studio: Studio, model: Model, truth: shapes.Clips, arm: str) -> Tensor:
    """Sample a clip for each caption. Returns [B, F, 3, H, W] in -1..1."""
    clips = []
    for index in watched(arm, range(len(truth))):
        caption = shapes.caption(truth, index, with_place=False)
        clips.append(studio.sample(model, caption, shapes.FRAMES, 20_000 + index))
    return torch.stack(clips)


def clip_rows(arm: str, clips: Tensor, truth: shapes.Clips, *, is_technique: bool) -> list[Row]:
    """Measure one arm. ``clips``: [B, F, 3, H, W] in -1..1."""
    found = [measure(clip) for clip in clips]
    centers, present = follow(found)
    right = agreement(read_direction(centers, present), truth.direction)
    moving = truth.direction != shapes.STILL
    rows = [row("video: direction (of five)", arm, right, ">= 0.90" if is_technique else "")]
    for index, name in enumerate(shapes.DIRECTIONS):
        rows.append(row(f"video: direction, {name}", arm, right[truth.direction == index]))
    step, true_step = mean_step(centers)[moving], mean_step(truth.centers)[moving]
    rows.append(row("video: step a frame, moving", arm, step))
    rows.append(
        row("video: step over the drawn one", arm, step / true_step, "0.67 .. 1.5" if is_technique else "")
    )
    for name in ("color", "background", "shape"):
        every = torch.stack([getattr(one, name) for one in found])
        rows.append(row(f"video: {name}", arm, agreement(every, getattr(truth, name)[:, None]).mean(1)))
    reports = [metrics.measure((clip.movedim(1, -1) + 1) / 2) for clip in clips]
    for name in ("similarity", "flicker"):
        for control in ("video", "shuffled", "frozen"):
            label = arm if control == "video" else f"{arm}, {control}"
            values = torch.tensor([getattr(getattr(report, control), name) for report in reports])
            rows.append(row(f"video: {name}", label, values))
    return rows


def lora_rows(studio: Studio, samples: int) -> list[Row]:
    """The motion LoRA, a pan to the left: still shapes drift to the right; with negative strength, to the left."""
    drawn = shapes.sample_clips(samples, step_generator(SEED, 5))
    truth = replace(drawn, direction=torch.full_like(drawn.direction, shapes.STILL))
    rows = []
    for strength in (0.0, 1.0, -1.0):
        clips = sample_clips(studio, studio.animated(strength), truth, f"LoRA {strength:g}")
        ways = travel(*follow([measure(clip) for clip in clips]))
        arm = f"strength {strength:g}"
        rows.append(row("motion LoRA: way to the right", arm, ways[:, 0], ">= 0.10" if strength == 1 else ""))
        rows.append(row("motion LoRA: way down", arm, ways[:, 1]))
    return rows


SECTIONS = {
    "video": Section(video_rows, MOVING),
    "video, no module": Section(unmoved_rows, (MODEL,)),
    "motion LoRA": Section(lora_rows, (*MOVING, LORA)),
}
