"""Long video: NUWA-XL's recursion on a frozen model, beside windows, FreeNoise, and a short clip again and again.

All arms draw the same prompt, of a shape at a place, over as many frames. What joins frames differs, and so do the
places where a seam would show: a keyframe, the end of a window, the end of a clip. With the demo's mask adapter the
same keyframes are joined once more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.long_video.free_noise import NoiseShuffle, WindowFusion
from frameloom.models.long_video.nuwa_fill import Filling
from frameloom.models.long_video.nuwa_tree import Tree
from frameloom.models.video import metrics
from frameloom.models.video.windows import WindowPlan
from frameloom.tools.detector import measure
from frameloom.tools.evidence.motion import mean_step
from frameloom.tools.evidence.rows import SEED, Row, agreement, row, table
from frameloom.tools.evidence.studio import (
    ADAPTED_FILES,
    CFG,
    LATENT_SIDE,
    MOVING,
    SAMPLER,
    SCHEDULER,
    STEPS,
    Section,
    Studio,
    draw_noise,
)
from frameloom.training import shapes
from frameloom.training.loop import step_generator
from torch import Tensor

LENGTH, DEPTH = 7, 2
FRAMES, GAP = (LENGTH - 1) ** DEPTH + 1, LENGTH - 1
WINDOW, OVERLAP = shapes.FRAMES, 4
# An adapter needs no help by what noise frames start from, and none by resampling.
ADAPTED_FILLING = Filling("own noise", resample_rounds=1)
NUWA, ADAPTED, FADED = "NUWA", "NUWA, mask adapter", "cross-fade of its keyframes"
WINDOWS, FREE, REPEATED = "windows", "FreeNoise", "a clip, repeated"
# Of each arm, the frames before which a seam would be: around given frames, at a window's end, at a clip's.
_KEYS = [frame for key in range(0, FRAMES, GAP) for frame in (key, key + 1) if 0 < frame < FRAMES]
_CLIPS = list(range(WINDOW, FRAMES, WINDOW))
_STARTS = range(0, FRAMES - WINDOW + 1, WINDOW - OVERLAP)
SEAMS: dict[str, list[int]] = {
    NUWA: _KEYS,
    ADAPTED: _KEYS,
    FADED: _KEYS,
    WINDOWS: [frame for start in _STARTS for frame in (start, start + WINDOW) if 0 < frame < FRAMES],
    FREE: _CLIPS,
    REPEATED: _CLIPS,
}


ARMS = (NUWA, FADED, WINDOWS, FREE, REPEATED)
CLAIMS = (
    "jump at a seam over the others",
    "motion, % a frame",
    "step of the shape a frame",
    "drift, first to last frame",
    "shape's place, last from first frame",
    f"distance from a cross-fade of every {GAP}th frame",
    "color as the prompt's",
    "background as the prompt's",
    "shape as the prompt's",
)
TARGETS = {CLAIMS[0]: "<= 1.5"}


@dataclass(frozen=True)
class Task:
    """One video of the set.

    Attributes:
        truth: description of one picture, as the prompt says it.
        number: number of the set.
    """

    truth: shapes.Clips
    number: int

    @property
    def prompt(self) -> str:
        """What is drawn, and where."""
        return shapes.caption(self.truth, 0)

    @property
    def noise(self) -> Tensor:
        """Of a whole clip, [F, 4, h, w]."""
        return draw_noise(FRAMES, 50_000 + self.number)


def long_rows(studio: Studio, samples: int) -> list[Row]:
    """Draw each prompt in every way; controls: a cross-fade of the keyframes, and a clip repeated."""
    return _rows(studio, samples, "long video", ARMS, NUWA)


def adapted_rows(studio: Studio, samples: int) -> list[Row]:
    """Join the keyframes of ``long_rows`` with the mask adapter."""
    return _rows(studio, samples, "long video, mask adapter", (ADAPTED,), ADAPTED)


def _rows(studio: Studio, samples: int, name: str, arms: tuple[str, ...], recursion: str) -> list[Row]:
    count = max(8, samples // 4)
    drawn = studio.each(name, count, partial(_task, arms, recursion, count))
    figures, changed = torch.stack([each for each, _ in drawn], 1), torch.stack([each for _, each in drawn])
    exact = row(f"{FRAMES} frames: largest change of a given frame", recursion, changed, "<= 0")
    return [exact, *table(f"{FRAMES} frames", arms, CLAIMS, figures, TARGETS, recursion)]


def _task(
    arms: tuple[str, ...], recursion: str, count: int, studio: Studio, number: int
) -> tuple[Tensor, Tensor]:
    """Return the figures of one prompt by every arm, [arms, claims], and the largest change of a keyframe."""
    studio.select()
    drawn = shapes.sample_images(count, step_generator(SEED, 8))
    task = Task(drawn.select(torch.tensor([number])), number)
    keyframes = _keyframes(studio, task)
    ways: dict[str, Callable[[], Tensor]] = {
        NUWA: lambda: _between(studio, task, keyframes, studio.motion, Filling()),
        ADAPTED: lambda: _between(studio, task, keyframes, studio.adapted_motion, ADAPTED_FILLING),
        FADED: lambda: _faded(keyframes),
        WINDOWS: lambda: _sample(studio, task, Edit("windows", windows=WindowPlan(WINDOW, OVERLAP))),
        FREE: lambda: _sample(studio, task, Edit("FreeNoise", noise=NoiseShuffle(), time=WindowFusion())),
        REPEATED: lambda: _repeated(_sample(studio, task, None, task.noise[:WINDOW])),
    }
    clips = {arm: ways[arm]() for arm in arms}
    figures = [_figures(studio.decode(clip), task.truth, SEAMS[arm]) for arm, clip in clips.items()]
    return torch.stack(figures), (clips[recursion][::GAP] - keyframes).abs().amax()


def _keyframes(studio: Studio, task: Task) -> Tensor:
    from frameloom.nodes.long_video.nuwa import NuwaKeyframes

    return NuwaKeyframes.execute(
        model=studio.model,
        latent={"samples": torch.zeros(1, 4, LATENT_SIDE, LATENT_SIDE)},
        shared_noise=0.4,
        shared_attention=1.0,
        **_asked(studio, task),
    )[0]["samples"]


def _between(studio: Studio, task: Task, keyframes: Tensor, motion: Any, filling: Filling) -> Tensor:
    from frameloom.models.long_video.nuwa_jobs import Recursion
    from frameloom.nodes.long_video.nuwa import LocalWork, ask

    given = _asked(studio, task)
    seed, tree = given.pop("seed"), given["tree"]
    recursion = Recursion(tree, keyframes)
    model = studio.with_motion(motion)
    asked = ask(model=model, controls=None, sampler=given.pop("sampler_name"), **given)
    studio.host.run_jobs(recursion, LocalWork(asked, filling, seed))
    return recursion.frames


def _asked(studio: Studio, task: Task) -> dict[str, Any]:
    return {
        "clip": studio.clip,
        "tree": Tree(LENGTH, DEPTH, {0: task.prompt}),
        "negative": studio.host.encode_text(studio.clip, "")[0],
        "seed": 50_000 + task.number,
        "steps": STEPS,
        "cfg": CFG,
        "sampler_name": SAMPLER,
        "scheduler": SCHEDULER,
    }


def _faded(keyframes: Tensor) -> Tensor:
    place = torch.arange(FRAMES - 1)
    part = (place % GAP / GAP).view(-1, 1, 1, 1)
    faded = torch.lerp(keyframes[place // GAP], keyframes[place // GAP + 1], part)
    return torch.cat([faded, keyframes[-1:]])


def _repeated(clip: Tensor) -> Tensor:
    return clip.repeat(-(-FRAMES // WINDOW), 1, 1, 1)[:FRAMES]


def _sample(studio: Studio, task: Task, edit: Edit | None, noise: Tensor | None = None) -> Tensor:
    model = studio.animated()
    if edit is not None:
        model = studio.host.install(model, edit)
    return studio.denoise(model, task.prompt, task.noise if noise is None else noise)


def _figures(images: Tensor, truth: shapes.Clips, seams: list[int]) -> Tensor:
    """Return the figures of one video, [F, 3, H, W] in -1..1, in the order of the claims."""
    found, unit = measure(images), (images + 1) / 2
    jumps = (unit[1:] - unit[:-1]).abs().mean((1, 2, 3))
    is_seam = torch.zeros(FRAMES - 1, dtype=torch.bool)
    is_seam[torch.tensor(seams) - 1] = True
    report = metrics.measure(unit.movedim(1, -1)).video
    looks = [
        agreement(getattr(found, name), getattr(truth, name)).mean()
        for name in ("color", "background", "shape")
    ]
    return torch.stack(
        [
            (jumps[is_seam].mean() / jumps[~is_seam].mean().clamp(min=1e-6)).double(),
            torch.tensor(report.motion).double(),
            mean_step(found.centers[None])[0].double(),
            torch.tensor(report.drift).double(),
            (found.centers[-1] - found.centers[0]).norm().double(),
            (unit - _faded(unit[::GAP])).abs().mean().double(),
            *looks,
        ]
    )


SECTIONS = {
    "long video": Section(
        long_rows,
        MOVING,
        f"{FRAMES} frames of a shape at a place that the prompt names. NUWA: L {LENGTH}, depth {DEPTH}, with "
        "the nodes' defaults. Seams are around given frames, at windows' ends and at clips'. A cross-fade of "
        "NUWA's own keyframes is what one has without a model: it jumps nowhere, and nothing moves in it.",
    ),
    "long video, mask adapter": Section(
        adapted_rows,
        ADAPTED_FILES,
        "The keyframes of the section above, with the adapter between them: own noise, no resampling. It was "
        "trained on 16 frames, and here has 7.",
    ),
}
