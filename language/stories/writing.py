"""Write scripts with their storyboards: what things do and where they are is drawn first, then said in words.

Everything that a script says holds in its boxes: ways, relations, numbers, sizes. Centers and sides lie on a grid of
twentieths of the picture. A thing that a scene goes on with begins where the scene before left it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

from ...models.storyboard.scenes import Box, BoxKey, Entity, Ids, Scene
from .words import RELATIONS, WAYS, Words

FRAMES = 16
SIDE, CROWDED = 0.3, 0.25  # of a thing whose size no word says; where things need room
GRID = 20  # places of a center or a side, to the picture's width
TRAVEL = 0.3  # shortest way of a thing that moves
GROWTH = 0.55  # side of a thing before it grew, as a share of the side after
TRIES = 60
OVERLAP = 0.1  # share of the smaller of two boxes that may lie in the other

Point = tuple[float, float]
_STEPS: dict[str, Point] = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
_ASIDE: dict[str, Point] = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}
_PREPOSITION = re.compile(r"(?:in front of|in|on|at|inside|across|by|near|over|behind|before)\s+")


@dataclass(frozen=True)
class Told:
    """What a script says of a scene.

    Attributes:
        things: names of its things without an article; a name stands as often as there are such things.
        ways: way of each thing that has one: one of ``WAYS``, or ``towards`` and the other thing.
        relations: thing, relation, other thing.
    """

    things: tuple[str, ...]
    ways: dict[str, str]
    relations: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Story:
    """A script, the scenes of its storyboard, and what it says of each."""

    script: str
    scenes: tuple[Scene, ...]
    told: tuple[Told, ...]


@dataclass(frozen=True)
class _Actor:
    """A thing of a scene: its name, and its center and side in the first and the last frame."""

    name: str
    start: Point
    end: Point
    side: float
    last: float

    @property
    def boxes(self) -> tuple[Box, Box]:
        """Its box in the first and in the last frame."""
        return _box(self.start, self.side), _box(self.end, self.last)


@dataclass(frozen=True)
class _Shot:
    """A scene before it is written down: its sentence, things, place, and what is said of it."""

    sentence: str
    actors: tuple[_Actor, ...]
    setting: str
    told: Told


def write_story(words: Words, rng: random.Random) -> Story:
    """Return a story, drawn by the generator alone.

    Args:
        words: words to write it in.
        rng: generator of every choice.
    """
    head, count = rng.choice(words.heads), rng.choice(words.scenes)
    shots: list[_Shot] = []
    for _ in range(count):
        writer = _Writer(words, rng, {actor.name.split()[-1] for shot in shots for actor in shot.actors})
        shots.append(writer.go_on(shots[-1]) if shots and rng.random() < 0.5 else writer.begin())
    ids = Ids()
    scenes = tuple(_scene(number, shot, ids) for number, shot in enumerate(shots, 1))
    lines = [head.format(n=number) + _sentence(shot.sentence) for number, shot in enumerate(shots, 1)]
    between = "\n" if head or rng.random() < 0.3 else " "
    return Story(between.join(lines), scenes, tuple(shot.told for shot in shots))


class _Writer:
    """Draws one scene."""

    def __init__(self, words: Words, rng: random.Random, taken: set[str]) -> None:
        self._words, self._rng, self._taken = words, rng, taken

    def begin(self) -> _Shot:
        """Return a scene of things that were not there before."""
        kinds: list[Callable[[str], _Shot]] = [
            self._alone,
            self._pair,
            self._related,
            self._met,
            self._take,
            self._many,
        ]
        kind = self._rng.choices(kinds, (4, 3, 3, 1, 1, 2))[0]
        return kind(self._rng.choice(self._words.settings) if self._rng.random() < 0.8 else "")

    def go_on(self, before: _Shot) -> _Shot:
        """Return a scene in which one of the things of the scene before goes on from where it is."""
        counts = [actor.name for actor in before.actors]
        actor = self._rng.choice(
            [each for each in before.actors if counts.count(each.name) == 1] or [before.actors[0]]
        )
        ways = [way for way in WAYS if self._has_room(actor, way)]
        way = self._rng.choice(ways)
        moved = self._ends(actor.name, way, actor.last, start=actor.end)
        alone = len(before.actors) == 1
        template = self._rng.choice([each for each in self._words.again if alone or "{it}" not in each])
        does = _third(self._rng.choice(self._words.does[way]))
        sentence = template.format(the_a=f"the {actor.name.split()[-1]}", it="it", does=does)
        return _Shot(sentence, (moved,), before.setting, Told((actor.name,), {actor.name: way}))

    def _alone(self, setting: str) -> _Shot:
        name, side = self._thing()
        way = self._rng.choice(WAYS)
        sentence = self._rng.choice(self._words.alone).format(
            a=_article(name), does=self._say(way), **_place(setting)
        )
        return _Shot(sentence, (self._ends(name, way, side),), setting, Told((name,), {name: way}))

    def _pair(self, setting: str) -> _Shot:
        (a, side_a), (b, side_b) = self._thing(), self._thing()
        ways = {a: self._rng.choice(WAYS), b: self._rng.choice(WAYS)}
        sentence = self._rng.choice(self._words.pair).format(
            a=_article(a),
            b=_article(b),
            does=self._say(ways[a]),
            does_b=self._say(ways[b]),
            **_place(setting),
        )
        actors = self._apart(lambda: [self._ends(a, ways[a], side_a), self._ends(b, ways[b], side_b)])
        return _Shot(sentence, actors, setting, Told((a, b), ways))

    def _related(self, setting: str) -> _Shot:
        (a, side_a), (b, side_b) = (
            self._thing(),
            self._thing(sized=False),
        )  # two big ones have no room side by side
        kind = self._rng.choice(RELATIONS)
        sentence = self._rng.choice(self._words.related).format(
            a=_article(a), b=_article(b), rel=self._rng.choice(self._words.relations[kind]), **_place(setting)
        )
        one, other = self._beside((a, side_a), (b, side_b), _ASIDE[kind])
        return _Shot(sentence, (one, other), setting, Told((a, b), {}, ((a, kind, b),)))

    def _met(self, setting: str) -> _Shot:
        (a, _), (b, _) = self._thing(sized=False), self._thing(sized=False)
        sentence = self._rng.choice(self._words.met).format(
            a=_article(a),
            b=_article(b),
            goes=_third(self._rng.choice(self._words.towards)),
            **_place(setting),
        )
        step = _STEPS[self._rng.choice(("left", "right"))]
        there, other = self._beside((a, CROWDED), (b, CROWDED), (-step[0], -step[1]), TRAVEL)
        room = there.end[0] if step[0] > 0 else 1 - there.end[0]
        far = self._rng.uniform(TRAVEL, room - CROWDED / 2)
        begin = _inside((there.end[0] - step[0] * far, there.end[1]), CROWDED)
        come = replace(there, start=begin)
        return _Shot(sentence, (come, other), setting, Told((a, b), {a: f"towards {b}"}))

    def _take(self, setting: str) -> _Shot:
        (a, _), (b, _) = self._thing(sized=False), self._thing(sized=False)
        way, verb = self._rng.choice(("left", "right")), self._rng.choice(self._words.takes)
        direction = self._rng.choice(self._words.does[way]).partition(" ")[2]
        sentence = f"{_article(a)} {_third(verb)} {_article(b)} {direction} {setting}".rstrip()
        bearer = self._ends(a, way, CROWDED)
        y = max(bearer.start[1], 0.4)
        bearer = replace(bearer, start=(bearer.start[0], y), end=(bearer.end[0], y))
        above = replace(bearer, name=b, side=0.2, last=0.2)
        borne = replace(above, start=_snap((above.start[0], y - 0.25)), end=_snap((above.end[0], y - 0.25)))
        return _Shot(sentence, (bearer, borne), setting, Told((a, b), {a: way, b: way}))

    def _many(self, setting: str) -> _Shot:
        count = self._rng.choice(tuple(self._words.numbers))
        name, _ = self._thing(sized=False)
        way, side = self._rng.choice(WAYS), CROWDED if count == 2 else 0.2
        does = self._rng.choice(self._words.does[way])
        sentence = f"{self._words.numbers[count]} {name}s {does} {setting}".rstrip()
        actors = self._apart(lambda: [self._ends(name, way, side) for _ in range(count)])
        return _Shot(sentence, actors, setting, Told((name,) * count, {name: way}))

    def _thing(self, *, sized: bool = True) -> tuple[str, float]:
        """Return the name of a thing that the story has not had yet, and its side."""
        noun = self._rng.choice([each for each in self._words.things if each not in self._taken])
        self._taken.add(noun)
        look = [self._rng.choice(self._words.looks)] if self._rng.random() < 0.6 else []
        size = [self._rng.choice(tuple(self._words.sizes))] if sized and self._rng.random() < 0.25 else []
        return " ".join([*size, *look, noun]), self._words.sizes[size[0]] if size else SIDE

    def _say(self, way: str) -> str:
        return _third(self._rng.choice(self._words.does[way]))

    def _has_room(self, actor: _Actor, way: str) -> bool:
        """Tell whether a thing can go a way, grow or shrink, from where it is."""
        if way in ("still", "grow", "shrink"):
            return {"grow": actor.last / GROWTH <= 0.5, "shrink": actor.last >= 2 / GRID}.get(way, True)
        step = _STEPS[way]
        x, y = actor.end[0] + TRAVEL * step[0], actor.end[1] + TRAVEL * step[1]
        return _inside((x, y), actor.last) == _snap((x, y))

    def _ends(self, name: str, way: str, side: float, start: Point | None = None) -> _Actor:
        """Return a thing that goes a way, from a place or from anywhere."""
        if way in ("grow", "shrink"):
            small, large = _on_grid(side * GROWTH), side
            if start and way == "grow":
                small, large = side, _on_grid(side / GROWTH)
            first, last = (small, large) if way == "grow" else (large, small)
            place = start or self._anywhere(large)
            return _Actor(name, _inside(place, first), _inside(place, last), first, last)
        if way == "still":
            return self._still(name, side, start)
        step, half = _STEPS[way], side / 2
        room = 1 - side
        far = self._rng.uniform(min(TRAVEL, room), room)
        if start is None:
            begin = self._rng.uniform(0, room - far)
            across = half + self._rng.uniform(0, room)
            along = half + begin if sum(step) > 0 else 1 - half - begin
            start = (along, across) if step[0] else (across, along)
        else:
            limit = {"left": start[0] - half, "right": 1 - half - start[0], "up": start[1] - half}
            far = min(max(far, TRAVEL), limit.get(way, 1 - half - start[1]))
        end = start[0] + step[0] * far, start[1] + step[1] * far
        return _Actor(name, _inside(start, side), _inside(end, side), side, side)

    def _still(self, name: str, side: float, place: Point | None = None) -> _Actor:
        center = _inside(place or self._anywhere(side), side)
        return _Actor(name, center, center, side, side)

    def _anywhere(self, side: float) -> Point:
        return side / 2 + self._rng.uniform(0, 1 - side), side / 2 + self._rng.uniform(0, 1 - side)

    def _beside(
        self, one: tuple[str, float], other: tuple[str, float], step: Point, room: float = 0.0
    ) -> tuple[_Actor, _Actor]:
        """Return two things that stand still, the one a step from the other, with more room on the far side of it."""
        (name, side), (_, wide) = one, other
        apart = (side + wide) / 2 + 0.05
        center = list(self._anywhere(max(side, wide)))
        axis = 0 if step[0] else 1
        nearest = apart + side / 2 + room  # of the other to the edge that the one is on
        free = self._rng.uniform(nearest, 1 - wide / 2)
        center[axis] = free if step[axis] < 0 else 1 - free
        x, y = _inside((center[0], center[1]), wide)
        place = _inside((x + step[0] * apart, y + step[1] * apart), side)
        return _Actor(name, place, place, side, side), self._still(*other, (x, y))

    def _apart(self, draw: Callable[[], list[_Actor]]) -> tuple[_Actor, ...]:
        """Return the first of several draws whose things do not cover each other; else the one that does least."""
        best, least = (), 2.0
        for _ in range(TRIES):
            actors = tuple(draw())
            worst = max(_cover(a, b) for n, a in enumerate(actors) for b in actors[:n])
            if worst < least:
                best, least = actors, worst
            if worst <= OVERLAP:
                break
        return best


def _scene(number: int, shot: _Shot, ids: Ids) -> Scene:
    counts: dict[str, int] = {}
    entities: list[Entity] = []
    for actor in shot.actors:
        counts[actor.name] = counts.get(actor.name, 0) + 1
        first, last = actor.boxes
        ends = {0: first} if first == last else {0: first, FRAMES - 1: last}
        track = tuple(BoxKey(f=f, box=box) for f, box in ends.items())
        text = _article(actor.name)
        entities.append(
            Entity(id=ids.of((actor.name, counts[actor.name]), text), text=text, track=track, hold=True)
        )
    background = _PREPOSITION.sub("", shot.setting, count=1)
    return Scene(id=number, background=background, frames=FRAMES, entities=tuple(entities))


def _cover(one: _Actor, other: _Actor) -> float:
    """Return the largest share of the smaller of two things that lies in the other: at either end, or halfway."""
    shares: list[float] = []
    for part in (0.0, 0.5, 1.0):
        a, b = (_between(actor, part) for actor in (one, other))
        width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
        shares.append(max(width, 0) * max(height, 0) / smaller)
    return max(shares)


def _between(actor: _Actor, part: float) -> Box:
    first, last = actor.boxes
    return cast("Box", tuple(a + part * (b - a) for a, b in zip(first, last, strict=True)))


def _on_grid(value: float) -> float:
    return round(value * GRID) / GRID


def _snap(place: Point) -> Point:
    return _on_grid(place[0]), _on_grid(place[1])


def _inside(place: Point, side: float) -> Point:
    """Return the nearest place of the grid at which a box of a side lies in the picture."""
    half = -(-round(side * GRID) // 2) / GRID
    x, y = (min(max(value, half), 1 - half) for value in _snap(place))
    return _snap((x, y))


def _box(center: Point, side: float) -> Box:
    left, top = (round(max(value - side / 2, 0.0), 4) for value in center)
    return left, top, round(left + side, 4), round(top + side, 4)


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _third(phrase: str) -> str:
    """Return a verb phrase in the third person: its first word takes an s."""
    verb, space, rest = phrase.partition(" ")
    if verb == "do":
        verb = "doe"
    ending = "es" if verb.endswith(("s", "sh", "ch", "x", "o")) else "s"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        verb, ending = verb[:-1], "ies"
    return f"{verb}{ending}{space}{rest}"


def _place(setting: str) -> dict[str, str]:
    return {"setting": f" {setting}" if setting else ""}


def _sentence(text: str) -> str:
    text = " ".join(text.split()).strip(" ,").replace(" ,", ",")
    return f"{text[:1].upper()}{text[1:]}."
