"""All formats of keyframes: from the things at each keyframe to the tracks of a scene."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from ...models.storyboard.scenes import (
    Box,
    BoxKey,
    Entity,
    Ids,
    Point,
    PointsKey,
    Provenance,
    Scene,
    Storyboard,
)
from .source import Source

MAX_KEYFRAMES = 1000  # keyframes of a scene
MAX_ENTITIES = 1000  # entities of a scene

Points = dict[str, Point]
Place = TypeVar("Place", Box, Points)


class Seen(NamedTuple):
    """A thing at one keyframe.

    Attributes:
        text: name of the thing.
        box: box of the thing; None: it lies outside of the picture.
        points: keypoints in the picture; None: the thing is not a body.
    """

    text: str
    box: Box | None = None
    points: Points | None = None


Keyframe = Mapping[Any, Seen]  # things, by keys that tell them apart


@dataclass(frozen=True, slots=True)
class Settings:
    """Facts of a scene that the format does not say.

    Attributes:
        frames: length of a scene; 0: as many frames as the scene has keyframes.
        fps: frames a second.
        size: width and height of the picture, in pixels.
    """

    frames: int = 0
    fps: float = 8.0
    size: tuple[int, int] = (512, 512)


def build_scene(
    source: Source,
    at: int,
    keyframes: Sequence[Keyframe],
    settings: Settings,
    ids: Ids,
    *,
    scene_id: int = 1,
    prompt: str = "",
    background: str = "",
    others: Keyframe | None = None,
) -> Scene:
    """Make a scene of its keyframes.

    Keyframe i of n stands at frame ``round(i * (frames - 1) / (n - 1))``. A thing that a keyframe does not show is
    absent from there until it is shown again. With a single keyframe everything stands still. ``at`` is the place in
    the text where the scene begins, and ``others`` are things that the scene names and never shows.
    """
    count = len(keyframes)
    frames = settings.frames or count
    if not 1 <= count <= MAX_KEYFRAMES:
        raise source.error(
            at, f"1 to {MAX_KEYFRAMES} keyframes in a scene (it has {count})", "give some of them"
        )
    if frames < count:
        raise source.error(
            at, f"at most frames={frames} keyframes (it has {count})", f"set frames to 0, or {count} at least"
        )
    times = [round(i * (frames - 1) / max(count - 1, 1)) for i in range(count)]
    seen: dict[Hashable, list[tuple[int, Seen]]] = {
        thing: [(0, each)] for thing, each in (others or {}).items()
    }
    for number, keyframe in enumerate(keyframes):
        for thing, each in keyframe.items():
            seen.setdefault(thing, []).append((number, each))
    if len(seen) > MAX_ENTITIES:
        raise source.error(at, f"at most {MAX_ENTITIES} entities in a scene", "give some of them")
    entities = tuple(
        _entity(ids.of(thing, views[0][1].text), views, times, still=count == 1)
        for thing, views in seen.items()
    )
    return Scene(id=scene_id, prompt=prompt, background=background, frames=frames, entities=entities)


def build_storyboard(
    source: Source,
    scenes: Sequence[Scene],
    settings: Settings,
    groups: dict[str, tuple[int, ...]] | None = None,
) -> Storyboard:
    """Return scenes as a storyboard, which names the format that it was read from."""
    provenance = Provenance(planner="text", format=source.name)
    return Storyboard(
        fps=settings.fps, size=settings.size, scenes=tuple(scenes), groups=groups or {}, provenance=provenance
    )


def groups_of(scenes: Iterable[Scene]) -> dict[str, tuple[int, ...]]:
    """Return the scenes in which each entity and each background is, by its id or its text."""
    members: dict[str, list[int]] = {}
    for scene in scenes:
        for name in dict.fromkeys([*(entity.id for entity in scene.entities), scene.background]):
            members.setdefault(name, []).append(scene.id)
    return {name: tuple(ids) for name, ids in members.items() if name}


def numbered(names: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Yield names, each with how often it came before: the first of a name is the first of it at other keyframes."""
    counts: Counter[str] = Counter()
    for name in names:
        yield name, counts[name]
        counts[name] += 1


def cut_box(left: float, top: float, right: float, bottom: float) -> Box | None:
    """Return the part of a box inside the picture, 0..1; None: there is none."""
    left, top, right, bottom = (min(max(edge, 0.0), 1.0) for edge in (left, top, right, bottom))
    return (left, top, right, bottom) if left < right and top < bottom else None


def box_around(points: Iterable[Point]) -> Box | None:
    """Return the box around points; None: they have no extent."""
    pairs = [*points] or [(0.0, 0.0)]
    xs, ys = zip(*pairs, strict=True)
    return cut_box(min(xs), min(ys), max(xs), max(ys))


def _entity(name: str, views: list[tuple[int, Seen]], times: list[int], *, still: bool) -> Entity:
    boxes = _keys([(number, seen.box) for number, seen in views], times, None)
    points = _keys([(number, seen.points) for number, seen in views], times, {})
    is_body = any(seen.points is not None for _, seen in views)
    return Entity(
        id=name,
        text=views[0][1].text,
        track=tuple(BoxKey(f=frame, box=box) for frame, box in boxes.items()),
        hold=still,
        keypoints=tuple(PointsKey(f=frame, points=each or {}) for frame, each in points.items())
        if is_body
        else None,
    )


def _keys(
    views: list[tuple[int, Place | None]], times: list[int], nothing: Place | None
) -> dict[int, Place | None]:
    """Return places by frame: one at each keyframe that has it, and ``nothing`` at the next one that has not."""
    keys: dict[int, Place | None] = {}
    for number, place in views:
        if place:
            keys[times[number]] = place
            if number + 1 < len(times):
                keys[times[number + 1]] = nothing
    return keys
