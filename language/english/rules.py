"""The planner that asks no model. It reads plain English by rules and finds a box for each thing. It is deterministic.

Of all places that the things of a scene could have, it takes those that contradict the script least, then overlap
least, then lie closest to the middle. Boxes are (left, top, right, bottom), 0..1.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

from ...models.storyboard.scenes import Box, BoxKey, Entity, Provenance, Scene, Storyboard
from ..llm.model import Tell
from ..planning.assemble import assemble
from .sentences import Motion, Reading, Thing, read_script
from .vocabulary import APPEARING, ENTERING, LEAVING, VANISHING

SIDE = 0.32  # side of a box as a share of the picture; its square is below 1/9
CROWDED_SIDE = 0.26  # side if there are more than four things
TRAVEL = 0.4  # way of a thing that moves, from the first frame to the last
CENTERS = (0.0, 0.3, 0.5, 0.7, 1.0)  # centers that are tried; boxes at the edge are moved inside
GROWTH = 1.6
GAP = 0.02  # distance between things that meet
KEPT = 32  # best placements that are kept while further things are placed

Point = tuple[float, float]
_STEPS = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}


@dataclass(frozen=True)
class _Way:
    """The boxes of a thing in the first and in the last frame."""

    start: Box
    end: Box

    def at(self, part: float) -> Box:
        left, top, right, bottom = (a + part * (b - a) for a, b in zip(self.start, self.end, strict=True))
        return left, top, right, bottom


def plan_by_rules(
    script: str,
    *,
    frames: int,
    fps: float = 8.0,
    size: tuple[int, int] = (512, 512),
    seed: int = 0,
    tell: Tell = lambda sentence: None,
) -> Storyboard:
    """Make a storyboard of a script in plain English.

    Args:
        script: sentences, lines, or ``Scene 2:`` and the text of that scene; see ``script.split_scenes``.
        frames: length of each scene.
        fps: frames a second.
        size: width and height in pixels.
        seed: number for the provenance; nothing is drawn at random.
        tell: callback that takes one sentence about a part of the script that was not read.

    Raises:
        ValueError: there is nothing in the script that can be read, or too much.
    """
    scenes = [
        _plan_scene(reading, number, frames, size)
        for number, reading in enumerate(read_script(script, tell), 1)
    ]
    return assemble(scenes, fps=fps, size=size, provenance=Provenance(planner="rules", seed=seed))


def _plan_scene(reading: Reading, number: int, frames: int, size: tuple[int, int]) -> Scene:
    ways = _place(reading, size)
    entities = [
        Entity(id=thing.id, text=thing.text, track=_track(thing.motion, ways[thing.id], frames))
        for thing in reading.things
    ]
    return Scene(
        id=number,
        prompt=_describe(reading),
        background=reading.background,
        frames=frames,
        entities=tuple(entities),
    )


def _describe(reading: Reading) -> str:
    """Return a scene's prompt: its things, actions that a picture can show, and the setting; no place and no motion."""
    parts: list[str] = []
    for thing in reading.things:
        text = f"{thing.text} {thing.action}" if thing.action else thing.text
        if parts and thing.is_object and reading.things[len(parts) - 1].action and len(reading.things) == 2:
            parts[-1] += f" {text}"
        else:
            parts.append(text)
    things = " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part) if parts else ""
    return " ".join(part for part in (things, reading.setting) if part) or reading.text


def _place(reading: Reading, size: tuple[int, int]) -> dict[str, _Way]:
    """Return the boxes of all things. Things are placed one by one, and the best few placements are kept each time."""
    things = {thing.id: thing for thing in reading.things}
    side = SIDE if len(things) <= 4 else CROWDED_SIDE
    states: list[tuple[float, dict[str, _Way]]] = [(0.0, {})]
    # A thing that moves to another one comes after it.
    for thing in sorted(reading.things, key=lambda thing: bool(thing.motion.goal)):
        grown: list[tuple[float, dict[str, _Way]]] = []
        for cost, placed in states:
            for way in _candidates(thing, placed, side, size):
                more = _own_cost(thing, way) + sum(
                    _pair_cost(thing, way, things[other], other_way, reading)
                    for other, other_way in placed.items()
                )
                grown.append((cost + more, {**placed, thing.id: way}))
        states = heapq.nsmallest(KEPT, grown, key=lambda state: state[0])
    return min(states, key=lambda state: state[0] + _imbalance(state[1]))[1]


def _candidates(thing: Thing, placed: dict[str, _Way], side: float, size: tuple[int, int]) -> list[_Way]:
    """Return the possible ways of a thing. ``side`` is that of its box if the script says no size."""
    motion = thing.motion
    width, height = _sides(thing.side or side, size)
    smaller = 1 / GROWTH if motion.grow else 1.0
    first, last = {0: (1.0, 1.0), 1: (smaller, 1.0), -1: (1.0, smaller)}[motion.grow]
    goal = placed.get(motion.goal)
    ways: list[_Way] = []
    for x in CENTERS:
        for y in CENTERS:
            start = _box_at((x, y), width * first, height * first)
            end = _end(start, motion, goal, (width * last, height * last))
            ways.append(_Way(start, end))
    return list(dict.fromkeys(ways))


def _sides(side: float, size: tuple[int, int]) -> Point:
    """Return width and height of a box that is a square in pixels and has the area of ``side``."""
    stretch = math.sqrt(size[0] / size[1])
    return min(side / stretch, 0.95), min(side * stretch, 0.95)


def _box_at(center: Point, width: float, height: float) -> Box:
    """Return the box with a center, moved inside the picture."""
    left = min(max(center[0] - width / 2, 0.0), 1 - width)
    top = min(max(center[1] - height / 2, 0.0), 1 - height)
    return left, top, left + width, top + height


def _center(box: Box) -> Point:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _end(start: Box, motion: Motion, goal: _Way | None, sides: Point) -> Box:
    x, y = _center(start)
    if not motion.verb:
        return start
    if goal and not motion.away:
        return _meet(start, goal.end)
    if goal:
        other = _center(goal.start)
        length = math.hypot(x - other[0], y - other[1]) or 1.0
        return _box_at((x + TRAVEL * (x - other[0]) / length, y + TRAVEL * (y - other[1]) / length), *sides)
    if motion.place:
        column, row = motion.place
        return _box_at((x if column is None else _at(column), y if row is None else _at(row)), *sides)
    step = _step(motion)
    travel = 1.0 if motion.across else TRAVEL
    return _box_at((x + step[0] * travel, y + step[1] * travel), *sides)


def _at(cell: int) -> float:
    return (cell + 1) / 2


def _step(motion: Motion) -> tuple[int, int]:
    """Return the direction of a thing. A thing that walks without a direction walks to the right."""
    if motion.step != (0, 0) or motion.grow or motion.goal or motion.place:
        return motion.step
    still = motion.verb in ("", "stay", *APPEARING, *VANISHING)
    return (0, 0) if still else (1, 0)


def _meet(start: Box, goal: Box) -> Box:
    """Return the end of a box that goes straight to another one: it stops ``GAP`` before it."""
    (x, y), (goal_x, goal_y) = _center(start), _center(goal)
    width, height = start[2] - start[0], start[3] - start[1]
    reach = (width + goal[2] - goal[0]) / 2 + GAP, (height + goal[3] - goal[1]) / 2 + GAP
    away = abs(goal_x - x), abs(goal_y - y)
    parts = [1 - near / far for near, far in zip(reach, away, strict=True) if far > near]
    part = max(parts, default=0.0)
    return _box_at((x + part * (goal_x - x), y + part * (goal_y - y)), width, height)


def _own_cost(thing: Thing, way: _Way) -> float:
    """Return the cost of a thing's way: contradictions to the script, and the distance from the middle."""
    motion, (x, y), (end_x, end_y) = thing.motion, _center(way.start), _center(way.end)
    cost = 0.0
    column, row = motion.start or (thing.column, thing.row)
    reach = (way.start[2] - way.start[0]) / 2, (way.start[3] - way.start[1]) / 2
    for cell, value, half in ((column, x, reach[0]), (row, y, reach[1])):
        if cell is not None:
            wanted = 0.5 + 0.3 * cell if half < 0.25 else half if cell < 0 else 1 - half if cell else 0.5
            cost += 20 * abs(value - wanted)
    step = _step(motion)
    if motion.across or (motion.start and motion.verb):
        near = 0.0 if motion.across else 0.25
        for value, axis in zip((x, y), step, strict=True):
            cost += 10 * abs(value - (near if axis > 0 else 1 - near)) * abs(axis)
    elif not motion.goal:
        moved = (end_x - x) * step[0], (end_y - y) * step[1]
        cost += sum(15 * max(0.0, TRAVEL - far) for far, axis in zip(moved, step, strict=True) if axis)
    if motion.place or motion.goal:
        cost += 15 * max(0.0, TRAVEL - math.hypot(end_x - x, end_y - y)) + 3 * abs(end_y - y)
        cost += sum(5 for far, axis in zip((end_x - x, end_y - y), step, strict=True) if axis * far < 0)
    middle = (x + end_x) / 2 - 0.5, (y + end_y) / 2 - 0.5
    return cost + abs(middle[0]) + 1.2 * abs(middle[1])


def _pair_cost(thing: Thing, way: _Way, other: Thing, other_way: _Way, reading: Reading) -> float:
    """Return the cost of two ways: contradictions to the script about both things, and their overlap."""
    cost = 10 * _overlap(way.start, other_way.start)
    cost += sum(3 * _overlap(way.at(part), other_way.at(part)) for part in (0.25, 0.5, 0.75, 1.0))
    for first, kind, second in reading.relations:
        if (first, second) == (thing.id, other.id):
            cost += _relation_cost(kind, way, other_way, _step(other.motion))
        elif (first, second) == (other.id, thing.id):
            cost += _relation_cost(kind, other_way, way, _step(thing.motion))
    return cost + 0.001 * (way.start[0] < other_way.start[0])


def _relation_cost(kind: str, way: _Way, other: _Way, step: tuple[int, int]) -> float:
    """Return the cost of the relation of a first thing to a second one, which goes by ``step``."""
    (x, y), (other_x, other_y) = _center(way.start), _center(other.start)
    if kind == "next to" or (kind == "drives" and step == (0, 0)):
        return 4 * abs(y - other_y) + 2 * abs(abs(x - other_x) - 0.4)
    # What drives another thing has that in front of it.
    step_x, step_y = _STEPS.get(kind, (-step[0], -step[1]))
    forward = (x - other_x) * step_x + (y - other_y) * step_y
    aside = abs(x - other_x) * abs(step_y) + abs(y - other_y) * abs(step_x)
    return 20 * max(0.0, 0.3 - forward) + 2 * aside


def _overlap(a: Box, b: Box) -> float:
    """Return the share of the smaller box that lies inside the other one."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))


def _imbalance(placed: dict[str, _Way]) -> float:
    """Return the distance of the things' common center from the picture's center."""
    if not placed:
        return 0.0
    centers = [_center(way.at(0.5)) for way in placed.values()]
    return 3 * sum(abs(sum(values) / len(centers) - 0.5) for values in zip(*centers, strict=True))


def _track(motion: Motion, way: _Way, frames: int) -> tuple[BoxKey, ...]:
    """Return the keys of a way. A thing that appears or leaves is absent for a quarter or a half of the scene."""
    last = frames - 1
    boxes: dict[int, Box | None] = {0: way.start, last: way.end}
    if frames >= 4 and motion.verb in (*ENTERING, *APPEARING):
        first = frames // (4 if motion.verb in ENTERING else 2)
        boxes = {0: None, first: way.start, last: way.end}
    elif frames >= 4 and motion.verb in (*LEAVING, *VANISHING):
        gone = last - frames // (4 if motion.verb in LEAVING else 2)
        boxes = {0: way.start, gone: way.end, gone + 1: None}
    return tuple(BoxKey(f=frame, box=box and _rounded(box)) for frame, box in sorted(boxes.items()))


def _rounded(box: Box) -> Box:
    left, top, right, bottom = (round(side, 4) for side in box)
    return left, top, right, bottom
