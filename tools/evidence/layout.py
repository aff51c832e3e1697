"""Layout Conditioning: is a thing drawn where its boxes are, does it go where they go, do two keep their looks?

The node as users run it, with its defaults. Prompts say no place, no direction and no way; boxes are as big as what the
prompt names. Arms of a storyboard share their start noise, and every frame has noise of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from frameloom.headless.weights.model import Model
from frameloom.models.storyboard.scenes import BoxKey, Entity, Scene, Storyboard
from frameloom.tools.detector import Measurement, measure
from frameloom.tools.evidence.rows import SEED, Row, agreement, row, table
from frameloom.tools.evidence.studio import MODEL, MOVING, Section, Studio, draw_noise, watched
from frameloom.training import shapes
from frameloom.training.loop import step_generator
from torch import Tensor

if TYPE_CHECKING:
    from frameloom.nodes.layout.conditioning import Method  # needs a selected host

FRAMES = 6
SIDE = 0.3  # of a box: what the demo model calls small
CROP = 0.42  # side of what is looked at around a box
WITH, WITHOUT, ANOTHER = "its boxes", "no layout", "another storyboard's boxes"
MODULE, MODULE_ALONE = "its boxes, motion module", "no layout, motion module"
ALONE, ENERGY = "its boxes, bias alone", "its boxes, bias and energy"


@dataclass(frozen=True)
class Thing:
    """An entity: what it is, and its boxes' centers, [F, 2], shares of the picture."""

    color: int
    shape: int
    centers: Tensor

    @property
    def text(self) -> str:
        """What the prompt calls it."""
        return f"small {list(shapes.COLORS)[self.color]} {shapes.SHAPES[self.shape]}"

    @property
    def boxes(self) -> Tensor:
        """[F, 4], left, top, right, bottom."""
        return torch.cat([self.centers - SIDE / 2, self.centers + SIDE / 2], 1)


@dataclass(frozen=True)
class Task:
    """One storyboard of the set, of one or two things, and the seed of its noise."""

    things: tuple[Thing, ...]
    background: int
    seed: int

    @property
    def prompt(self) -> str:
        """What to draw, and no word of where."""
        named = " and ".join(f"a {thing.text}" for thing in self.things)
        return f"{named} on a {list(shapes.BACKGROUNDS)[self.background]} background"

    def storyboard(self, tracks: tuple[Thing, ...] = (), prompt: str = "") -> Storyboard:
        """Return it. ``tracks``: things whose boxes to take instead; ``prompt``: instead of its own."""
        entities = tuple(
            Entity(
                id=f"thing_{number}",
                text=thing.text,
                track=tuple(BoxKey(f=f, box=tuple(box)) for f, box in enumerate(other.boxes.tolist())),
            )
            for number, (thing, other) in enumerate(zip(self.things, tracks or self.things, strict=True))
        )
        return Storyboard(
            scenes=(Scene(id=1, prompt=prompt or self.prompt, frames=FRAMES, entities=entities),)
        )


def layout_rows(studio: Studio, samples: int) -> list[Row]:
    """Place and way of one thing. Controls: no layout, and the boxes of the next storyboard."""
    tasks = make_tasks(samples)
    moved = studio.animated()
    found: dict[str, list[Measurement]] = {}
    for number, task in enumerate(watched("layouts", tasks)):
        following = tasks[(number + 1) % len(tasks)]
        arms = {
            WITH: (studio.model, task.storyboard()),
            WITHOUT: (studio.model, None),
            ANOTHER: (studio.model, task.storyboard(following.things)),
        }
        if number < max(8, samples // 4):
            arms |= {
                MODULE: (moved, task.storyboard()),
                MODULE_ALONE: (moved, None),
                ALONE: (studio.model, task.storyboard()),
            }
        for arm, (model, storyboard) in arms.items():
            method = "bias" if arm == ALONE else "bias + gather"
            images = draw(studio, model, task, storyboard, method)
            found.setdefault(arm, []).append(measure(images))
    return [
        *place_rows(found, tasks),
        *(entry for arm in found for entry in look_rows(arm, found[arm], tasks)),
    ]


def energy_rows(studio: Studio, samples: int) -> list[Row]:
    """Place of one thing by energy guidance, on the first of the tasks. Control: the bias that it is added to."""
    tasks = make_tasks(samples)[: max(8, samples // 4)]
    methods: dict[str, Method] = {ENERGY: "bias + energy (experimental)", ALONE: "bias"}
    found = {
        arm: [measure(draw(studio, studio.model, task, task.storyboard(), method)) for task in tasks]
        for arm, method in methods.items()
    }
    overlaps = {arm: _each(overlap, clips, tasks) for arm, clips in found.items()}
    return [
        *(row("layout: IoU with the box", arm, values) for arm, values in overlaps.items()),
        row("layout: IoU with the box", f"{ENERGY}, minus bias alone", overlaps[ENERGY] - overlaps[ALONE]),
        *(entry for arm, clips in found.items() for entry in look_rows(arm, clips, tasks)),
    ]


def place_rows(found: dict[str, list[Measurement]], tasks: list[Task]) -> list[Row]:
    """Hold every arm's pictures against the storyboard's own boxes; an arm stands for the tasks it drew."""
    overlaps = {arm: _each(overlap, clips, tasks) for arm, clips in found.items()}
    gain = ">= 0.35"
    rows = [row("layout: IoU with the box", arm, values) for arm, values in overlaps.items()]
    rows += [
        row(
            "layout: IoU with the box",
            f"{WITH}, minus {arm}",
            overlaps[WITH] - overlaps[arm],
            gain if arm == WITHOUT else "",
        )
        for arm in (WITHOUT, ANOTHER)
    ]
    rows += [
        row("layout: distance of the centers", arm, _each(_distance, clips, tasks))
        for arm, clips in found.items()
    ]
    directions = {arm: _directions(clips, tasks) for arm, clips in found.items()}
    targets: dict[str, str] = dict.fromkeys((WITH, MODULE), ">= 0.90")
    return rows + [
        row("layout: direction of a moving thing", arm, values, targets.get(arm, ""))
        for arm, values in directions.items()
    ]


def look_rows(arm: str, clips: list[Measurement], tasks: list[Task]) -> list[Row]:
    """Say how often the thing is what the prompt calls it."""
    pairs = list(zip(clips, tasks, strict=False))
    color = torch.stack([agreement(clip.color, task.things[0].color).mean() for clip, task in pairs])
    shape = torch.stack([agreement(clip.shape, task.things[0].shape).mean() for clip, task in pairs])
    return [row("layout: color", arm, color), row("layout: shape", arm, shape)]


def two_rows(studio: Studio, samples: int) -> list[Row]:
    """Two things, each looked at in its own boxes: whose look has it? The demo model never saw two in training."""
    tasks = make_pairs(samples)
    looks: dict[str, list[Tensor]] = {WITH: [], WITHOUT: []}
    for task in watched("two things", tasks):
        for arm, storyboard in ((WITH, task.storyboard()), (WITHOUT, None)):
            images = draw(studio, studio.model, task, storyboard)
            looks[arm].append(_looks(images, task))
    claims = ("own color", "the other's color", "own shape", "the other's shape")
    targets = {"the other's color": "<= 0.10"}
    figures = torch.stack([torch.stack(clips) for clips in looks.values()])
    return table("two things", list(looks), claims, figures, targets, WITH)


def make_tasks(count: int) -> list[Task]:
    """Return the set of a count: things of training's tracks, small. Depends on the count, nothing else."""
    clips = shapes.sample_clips(count, step_generator(SEED, 8), FRAMES)
    return [
        Task(
            (Thing(int(clips.color[n]), int(clips.shape[n]), clips.centers[n]),),
            int(clips.background[n]),
            50_000 + n,
        )
        for n in range(count)
    ]


def make_pairs(count: int) -> list[Task]:
    """Return storyboards of two things of other colors and shapes, which cross the picture side by side.

    One goes along one side of the picture, the other along the opposite side, the other way.
    """
    generator = step_generator(SEED, 9)
    tasks = []
    low, high = 0.26, 0.74
    for n in range(count):
        colors = torch.randperm(len(shapes.COLORS), generator=generator)[:2].tolist()
        kinds = torch.randperm(len(shapes.SHAPES), generator=generator)[:2].tolist()
        upright, reverse, background = (
            int(torch.randint(high, (), generator=generator)) for high in (2, 2, len(shapes.BACKGROUNDS))
        )
        way = torch.linspace(low, high, FRAMES)
        track = torch.stack([way.flip(0) if reverse else way, torch.full_like(way, low)], 1)
        tracks = [side.flip(1) if upright else side for side in (track, 1 - track)]
        things = tuple(
            Thing(color, kind, side) for color, kind, side in zip(colors, kinds, tracks, strict=True)
        )
        tasks.append(Task(things, background, 60_000 + n))
    return tasks


def draw(
    studio: Studio, model: Model, task: Task, storyboard: Storyboard | None, method: Method = "bias + gather"
) -> Tensor:
    """Sample a task with a storyboard's layout, or without. Returns [F, 3, H, W] in -1..1."""
    positive: str | list[Any] = task.prompt
    if storyboard is not None:
        model, positive = lay_out(studio, model, storyboard, method)
    return studio.decode(studio.denoise(model, positive, draw_noise(FRAMES, task.seed)))


def lay_out(
    studio: Studio, model: Model, storyboard: Storyboard, method: Method = "bias + gather"
) -> tuple[Model, list]:
    """Return the model and the condition that Layout Conditioning makes of a storyboard of one scene."""
    studio.select()
    from frameloom.nodes.layout.conditioning import LayoutConditioning  # needs a selected host

    widgets = ("strength", "end_percent", "gather_percent")
    chosen = {
        entry.id: entry.default for entry in LayoutConditioning.define_schema().inputs if entry.id in widgets
    }
    return LayoutConditioning.execute(model, studio.clip, storyboard, "", method=method, **chosen).args


def _each(
    figure: Callable[[Measurement, Thing], Tensor], clips: list[Measurement], tasks: list[Task]
) -> Tensor:
    return torch.stack(
        [figure(clip, task.things[0]).mean() for clip, task in zip(clips, tasks, strict=False)]
    )


def _directions(clips: list[Measurement], tasks: list[Task]) -> Tensor:
    """Say of every task of a moving thing whether its way is within 45 degrees of its boxes': 1 or 0."""
    ways = torch.stack([clip.centers[-1] - clip.centers[0] for clip in clips])
    tracks = [task.things[0].centers for task in tasks[: len(clips)]]
    wanted = torch.stack([track[-1] - track[0] for track in tracks])
    moving = wanted.norm(dim=1) > 0
    return (torch.cosine_similarity(ways[moving], wanted[moving]) > math.sqrt(0.5)).double()


def _distance(found: Measurement, thing: Thing) -> Tensor:
    """Return how far the drawn thing's middle is from its box's: [F], shares of the picture."""
    drawn = _bounds(found.mask)
    return ((drawn[:, :2] + drawn[:, 2:]) / 2 - thing.centers).norm(dim=1)


def overlap(found: Measurement, thing: Thing) -> Tensor:
    """Return the IoU of the drawn thing's bounding box with its box: [F]; 0 where nothing is drawn."""
    drawn, boxes = _bounds(found.mask), thing.boxes
    inner = (
        (torch.minimum(drawn[:, 2:], boxes[:, 2:]) - torch.maximum(drawn[:, :2], boxes[:, :2]))
        .clamp(min=0)
        .prod(1)
    )
    areas = [(one[:, 2:] - one[:, :2]).prod(1) for one in (drawn, boxes)]
    return inner / (areas[0] + areas[1] - inner)


def _bounds(masks: Tensor) -> Tensor:
    """Return bounding boxes: [F, H, W] bool -> [F, 4], shares of the picture; the whole picture's middle if empty."""
    edges = []
    for mask in masks:
        y, x = mask.nonzero(as_tuple=True)
        height, width = mask.shape
        empty = (0.5, 0.5, 0.5, 0.5)
        edges.append(
            (x.min() / width, y.min() / height, (x.max() + 1) / width, (y.max() + 1) / height)
            if len(x)
            else empty
        )
    return torch.tensor(edges)


def _looks(images: Tensor, task: Task) -> Tensor:
    """Return shares of the things' own color, the other's color, own shape, the other's shape: [4]."""
    side = images.shape[-1]
    crop = round(CROP * side)
    shares = []
    for thing, other in zip(task.things, reversed(task.things), strict=True):
        corners = ((thing.centers * side).round().long() - crop // 2).clamp(0, side - crop)
        crops = [
            picture[:, y : y + crop, x : x + crop]
            for picture, (x, y) in zip(images, corners.tolist(), strict=True)
        ]
        found = measure(torch.stack(crops))
        shares.append(
            torch.stack(
                [
                    agreement(value, wanted).mean()
                    for value, name in ((found.color, "color"), (found.shape, "shape"))
                    for wanted in (getattr(thing, name), getattr(other, name))
                ]
            )
        )
    return torch.stack(shares).mean(0)


SECTIONS = {
    "layouts": Section(
        layout_rows,
        MOVING,
        f"Layout Conditioning with its defaults, {FRAMES} frames. Boxes have sides of {SIDE} of the picture, "
        "what the demo model calls small, and tracks are those of the training clips. Prompts say no place, "
        "no way and no direction; arms of a storyboard share their start noise. Another storyboard's boxes: "
        "drawn with those, held against its own. IoU is of the bounding box of what the detector finds; a "
        "triangle's never fills its box. A direction counts when it is within 45 degrees of the boxes'; "
        "chance is a quarter.",
    ),
    "layouts, energy": Section(
        energy_rows,
        (MODEL,),
        "The experimental method with its defaults, on the first storyboards of those above.",
    ),
    "layouts, two things": Section(
        two_rows,
        (MODEL,),
        "Two things of other colors and shapes pass each other on opposite sides of the picture. The demo "
        f"model has only ever seen one. Looks are of squares of {CROP} of the picture around each thing's "
        "boxes; where the detector finds nothing there, no color and no shape counts.",
    ),
}
