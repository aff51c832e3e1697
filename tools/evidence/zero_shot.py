"""Text2Video-Zero: do frames look like frame 0, do they follow the path, is frame 0 the picture drawn alone?

Clips are made of the functions of ``models/zero_shot``, as the Zero Shot Sampler makes them, and cut open at t1: from
there arms differ in the model that draws the frames, or in their path, and in nothing else. Prompts name no place and
no direction. Where a prompt leaves the background open, nothing but other frames can tell a frame which one to take.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from frameloom.headless.weights.model import Model
from frameloom.models.edits.edit import Edit
from frameloom.models.video.metrics import displacement
from frameloom.models.video.noise import draw_noise
from frameloom.models.zero_shot.cross_frame import Anchor, CrossFrameEdit
from frameloom.models.zero_shot.latents import find_levels, warp_forward
from frameloom.models.zero_shot.motion_path import MotionPath, translation
from frameloom.tools.detector import Measurement, measure
from frameloom.tools.evidence.rows import SEED, Row, agreement, row
from frameloom.tools.evidence.studio import LATENT_SIDE, MODEL, SCHEDULER, Section, Studio, watched
from frameloom.training import shapes
from frameloom.training.loop import step_generator
from torch import Tensor

FRAMES, STEPS = 6, 20
STRENGTHS = (12.0, 30.0)  # of the paths, pixels a frame on the paper's canvas, either way on both axes
Levels = tuple[int, int]  # t1 and t0, timesteps
PAPER: Levels = (941, 881)
DEMO: Levels = (700, 640)  # those of the demo workflows
LOW: Levels = (600, 540)  # at which the demo model has decided where a shape is
BETWEEN: tuple[Levels, ...] = ((880, 820), (800, 740), (640, 580))
INSIDE = (0.2, 0.8)  # of the picture: where the demo model has learned to draw shapes


@dataclass(frozen=True)
class Task:
    """One clip of the set.

    Attributes:
        prompt: prompt to draw.
        seed: seed of the noise.
        path: path of the picture.
    """

    prompt: str
    seed: int
    path: MotionPath


@dataclass(frozen=True)
class Start:
    """A task at t1, where arms part.

    Attributes:
        task: task of these frames.
        frames: [F, 4, h, w] latents at t1, frame 0 first.
        sigmas: noise levels from t1 to the end.
    """

    task: Task
    frames: Tensor
    sigmas: Tensor


@dataclass(frozen=True)
class Clip:
    """What one arm made of a task.

    Attributes:
        latent: [F, 4, h, w].
        images: pictures, [F, 3, H, W] in -1..1.
        found: findings of the detector in each frame; its mask is the foreground.
    """

    latent: Tensor
    images: Tensor
    found: Measurement

    @property
    def way(self) -> Tensor:
        """How far the shape is from where frame 0 has it, in the last frame: [2], shares of the picture."""
        return self.found.centers[-1] - self.found.centers[0]

    @property
    def motion(self) -> Tensor:
        """Motion a frame, percent of the picture's side: [], as the node Video Metrics measures it."""
        return displacement((self.images + 1) / 2).mean()

    @property
    def background_change(self) -> Tensor:
        """Mean difference from frame 0, of a range of 1, where neither frame has the shape: []."""
        background = ~(self.found.mask[1:] | self.found.mask[:1])
        change = (self.images[1:] - self.images[:1]).abs().mean(1) / 2
        return (change * background).sum() / background.sum()

    def keeps(self, name: str) -> Tensor:
        """Return the share of frames whose color, shape or background is that of frame 0: []."""
        found = getattr(self.found, name)
        return (agreement(found[1:], found[0]) * (found[0] >= 0)).mean()


WITH, WITHOUT = "cross-frame attention", "without it"


def demo_rows(studio: Studio, samples: int) -> list[Row]:
    """At the demo workflows' levels: look, way, frame 0. Controls: no cross-frame attention, and a path of zero."""
    tasks = make_tasks(samples)
    still = [replace(task, path=translation(FRAMES, 0, 0)) for task in tasks]
    crossed = with_anchor(studio)
    clips = make_clips(studio, tasks, DEMO, {WITH: crossed, WITHOUT: studio.model})
    unmoved = make_clips(studio, still, DEMO, {"zero path": crossed})["zero path"]
    claim = "zero-shot"
    look_targets: dict[str, str] = dict.fromkeys(
        ("color as frame 0", "shape as frame 0", "background as frame 0"), ">= 0.90"
    )
    return [
        *look_rows(claim, WITH, clips[WITH], look_targets),
        *look_rows(claim, WITHOUT, clips[WITHOUT]),
        *look_rows(claim, "zero path", unmoved),
        *path_rows(claim, WITH, clips[WITH], tasks, {"sign": ">= 0.90"}),
        *path_rows(claim, WITHOUT, clips[WITHOUT], tasks),
        *path_rows(claim, "zero path, against the task's", unmoved, tasks),
        *anchor_rows(studio, tasks, clips[WITH]),
    ]


def anchor_rows(studio: Studio, tasks: list[Task], clips: list[Clip]) -> list[Row]:
    """Hold latents of frame 0 against the picture drawn alone. Control: frame 1's."""
    sigmas = studio.host.sigmas(studio.model, STEPS, SCHEDULER)
    apart = []
    for task, clip in zip(tasks, clips, strict=True):
        noise = first_noise(task)
        alone = studio.denoise(studio.model, task.prompt, noise, sigmas=sigmas)
        apart.append((clip.latent[:2] - alone).abs().amax((1, 2, 3)) / alone.abs().max())
    first, second = torch.stack(apart).unbind(1)
    claim = "zero-shot: largest difference from the picture alone"
    return [
        row(claim, "frame 0", first, "<= 0.0001", largest),
        row(claim, "frame 1", second, statistic=largest),
    ]


def open_rows(studio: Studio, samples: int) -> list[Row]:
    """Prompts that leave the background open, at the paper's levels: do frames agree on one?"""
    tasks = make_tasks(samples, say_background=False)
    clips = make_clips(studio, tasks, PAPER, {WITH: with_anchor(studio), WITHOUT: studio.model})
    kept, alone = (torch.stack([clip.keeps("background") for clip in clips[arm]]) for arm in (WITH, WITHOUT))
    claim = "zero-shot, background unsaid"
    return [
        *look_rows(claim, WITH, clips[WITH], {"background as frame 0": ">= 0.90"}),
        *look_rows(claim, WITHOUT, clips[WITHOUT]),
        row(f"{claim}: background as frame 0", "with minus without", kept - alone, ">= 0.10"),
    ]


def setting_rows(studio: Studio, samples: int) -> list[Row]:
    """What users may choose: t1 and t0, and the anchor. The paper's levels and the lowest take all samples."""
    tasks = make_tasks(samples)
    few = tasks[: max(8, samples // 4)]
    crossed = with_anchor(studio)
    rows = []
    for levels in (PAPER, *BETWEEN, LOW):
        chosen = few if levels in BETWEEN else tasks
        clips = make_clips(studio, chosen, levels, {WITH: crossed})[WITH]
        targets = {"sign": ">= 0.90"} if levels == LOW else {}
        rows += setting(f"zero-shot, t1 {levels[0]}, t0 {levels[1]}", clips, chosen, targets)
    anchors = {anchor: with_anchor(studio, anchor) for anchor in ("first", "previous", "first + previous")}
    for anchor, clips in make_clips(studio, few, DEMO, anchors).items():
        rows += setting(f"zero-shot, anchor {anchor}", clips, few, {})
    return rows


def setting(claim: str, clips: list[Clip], tasks: list[Task], targets: dict[str, str]) -> list[Row]:
    """Look and way of one setting. ``targets``: of the way's figures."""
    return [*look_rows(claim, WITH, clips), *path_rows(claim, WITH, clips, tasks, targets)]


def make_tasks(count: int, *, say_background: bool = True) -> list[Task]:
    """Return the set of a count: prompts, seeds, and a translation each. Depends on the count, nothing else."""
    pictures = shapes.sample_images(count, step_generator(SEED, 6))
    draw = torch.rand(count, 2, 2, generator=step_generator(SEED, 7))
    strengths = (STRENGTHS[0] + (STRENGTHS[1] - STRENGTHS[0]) * draw[..., 0]) * (draw[..., 1] - 0.5).sign()
    prompts = [shapes.caption(pictures, index, with_place=False) for index in range(count)]
    if not say_background:
        prompts = [prompt.partition(" on a ")[0] for prompt in prompts]
    return [
        Task(prompt, 40_000 + index, translation(FRAMES, *strengths[index].tolist()))
        for index, prompt in enumerate(prompts)
    ]


def with_anchor(studio: Studio, anchor: Anchor = "first") -> Model:
    """Return the demo model with cross-frame attention."""
    edit = CrossFrameEdit(anchor)
    return studio.host.install(studio.model, Edit("cross-frame attention", self_attention=edit))


def begin(studio: Studio, task: Task, levels: Levels) -> Start:
    """Sample a task's frame 0 to t1 and t0, and make all frames at t1 of it."""
    host, model = studio.host, studio.model
    sigmas = host.sigmas(model, STEPS, SCHEDULER)
    t0, t1 = find_levels(sigmas, *(host.timestep_to_sigma(model, level) for level in reversed(levels)))
    at_t1 = studio.denoise(model, task.prompt, first_noise(task), sigmas=sigmas[: t1 + 1])
    nothing = torch.zeros_like(at_t1)
    at_t0 = studio.denoise(model, task.prompt, nothing, latent=at_t1, sigmas=sigmas[t1 : t0 + 1])
    frames = warp_forward(
        at_t0,
        task.path,
        range(FRAMES),
        seed=task.seed,
        sigmas=sigmas[t1 : t0 + 1],
        unit=host.noise_unit(model),
        anchor=at_t1,
    )
    return Start(task, frames, sigmas[t1:])


def first_noise(task: Task) -> Tensor:
    """Return the noise that frame 0 starts from."""
    return draw_noise(task.seed, [0], (4, LATENT_SIDE, LATENT_SIDE))


def finish(studio: Studio, start: Start, model: Model) -> Clip:
    """Sample all frames from t1 to the end."""
    prompt, nothing = start.task.prompt, torch.zeros_like(start.frames)
    latent = studio.denoise(model, prompt, nothing, latent=start.frames, sigmas=start.sigmas)
    images = studio.decode(latent)
    return Clip(latent, images, measure(images))


def make_clips(
    studio: Studio, tasks: list[Task], levels: Levels, models: dict[str, Model]
) -> dict[str, list[Clip]]:
    """Make every task's clip by each model, from the same frames at t1. Returns lists by the models' names."""
    clips: dict[str, list[Clip]] = {arm: [] for arm in models}
    for task in watched(f"t1, t0 = {levels}, {', '.join(models)}", tasks):
        start = begin(studio, task, levels)
        for arm, model in models.items():
            clips[arm].append(finish(studio, start, model))
    return clips


def look_rows(claim: str, arm: str, clips: list[Clip], targets: dict[str, str] | None = None) -> list[Row]:
    """Say how far frames keep frame 0's look; motion stands beside it, since a still clip keeps all."""
    figures: dict[str, Callable[[Clip], Tensor]] = {
        "color as frame 0": lambda clip: clip.keeps("color"),
        "shape as frame 0": lambda clip: clip.keeps("shape"),
        "background as frame 0": lambda clip: clip.keeps("background"),
        "background change": lambda clip: clip.background_change,
        "motion, % a frame": lambda clip: clip.motion,
    }
    return [
        row(
            f"{claim}: {name}",
            arm,
            torch.stack([figure(clip) for clip in clips]),
            (targets or {}).get(name, ""),
        )
        for name, figure in figures.items()
    ]


def path_rows(
    claim: str, arm: str, clips: list[Clip], tasks: list[Task], targets: dict[str, str] | None = None
) -> list[Row]:
    """Hold the shapes' ways from frame 0 to the last frame against the path's, on both axes.

    Once for all ways, once for those that the path ends where the demo model can draw: elsewhere a shape is cut off by
    the edge, or not drawn.
    """
    ways = torch.stack([clip.way for clip in clips]).double()
    wanted = torch.stack([task.path.move[-1] for task in tasks])
    ends = torch.stack([clip.found.centers[0] for clip in clips]).double() + wanted
    is_inside = ((ends > INSIDE[0]) & (ends < INSIDE[1])).double()
    pairs = torch.stack([ways, wanted], -1)
    inside = (pairs * is_inside[..., None])[is_inside.amax(1) > 0]
    figures = {"sign": same_sign, "correlation": correlation, "slope": slope}
    return [
        row(f"{claim}: {which}, {name}", arm, chosen, (targets or {}).get(name, ""), figure)
        for which, chosen in (("way along the path", pairs), ("the same, ending inside", inside))
        for name, figure in figures.items()
    ]


def same_sign(pairs: Tensor) -> Tensor:
    """Return the share of ways that go the path's way. ``pairs``: [R, N, axes, (way, path)]; path 0: left out."""
    way, path = pairs.flatten(1, 2).unbind(-1)
    return (way * path > 0).double().sum(1) / (path != 0).double().sum(1)


def slope(pairs: Tensor) -> Tensor:
    """Return the slope of ways over the path's, through the origin. Arguments: see ``same_sign``."""
    way, path = pairs.flatten(1, 2).unbind(-1)
    return (way * path).sum(1) / (path * path).sum(1)


def correlation(pairs: Tensor) -> Tensor:
    """Return Pearson's correlation of ways and the path's. Arguments: see ``same_sign``."""
    way, path = pairs.flatten(1, 2).unbind(-1)
    weight = (path != 0).double()
    weight = weight / weight.sum(1, keepdim=True)
    way, path = (part - (weight * part).sum(1, keepdim=True) for part in (way, path))
    return (weight * way * path).sum(1) / (
        (weight * way * way).sum(1) * (weight * path * path).sum(1)
    ).sqrt().clamp(min=1e-12)


def largest(values: Tensor) -> Tensor:
    """Return the largest value of each set of samples. ``values``: [R, N]."""
    return values.amax(1)


SECTIONS = {
    "zero-shot video": Section(
        demo_rows,
        (MODEL,),
        f"{FRAMES} frames, {STEPS} steps, t1 {DEMO[0]} and t0 {DEMO[1]}, as in the demo workflows. Prompts "
        "say color, shape and background, and the path is in the frames at t1; so cross-frame attention is "
        "not needed for either here. A way leads from the shape in frame 0 to that in the last frame, on "
        f"each axis. Ending inside: the path's end lies within {INSIDE[0]} to {INSIDE[1]} of the picture, "
        "where the demo model has learned to draw shapes; beyond, the edge cuts them off, or the model puts "
        "them elsewhere.",
    ),
    "zero-shot video, background unsaid": Section(
        open_rows,
        (MODEL,),
        f"t1 {PAPER[0]} and t0 {PAPER[1]}, the paper's: noisy enough that little is decided yet. Prompts say "
        "no background, so a frame learns which one to take from its own noise or from frame 0.",
    ),
    "zero-shot video, settings": Section(
        setting_rows,
        (MODEL,),
        "A path is followed where the model has decided a shape's place by t0. At the paper's levels the "
        "demo model has not, and the way says little of the path; choose lower ones for it.",
    ),
}
