"""Storyboard20K's text lines, on which its language model is trained. A line is a storyboard.

``prefix; instruction; description; {"main characters": [[{'name': 'integers'}, ...], ...], "objects": [...]}``, a list
for each key shot, on a canvas whose longer side is 512. 4 integers are a box. 38 are the 17 points of a body and its
box. 190 are 93 points and the box, of which the 12 points from shoulders to ankles are read. A point that is not seen
is 0 0. As in the published tools, a box is cut at the picture's edges, and a box without area is dropped. The dict may
also hold the resolution.
"""

from __future__ import annotations

import re
from dataclasses import replace

from ...models.storyboard.scenes import Ids, Scene, Storyboard
from .literal import Value, read_literal
from .source import Source
from .storyboard20k import (
    BODY_12,
    BODY_17,
    CANVAS,
    PART_BODY,
    Shot,
    body_points,
    read_named,
    read_resolution,
    scale_box,
    shots_of,
)
from .tracks import Seen, Settings, build_scene, build_storyboard

_PLAIN = str.maketrans(";{}", ".()")  # a description may not contain the marks of the line's form
_DICT = re.compile(r";[ \t]*(?=\{)")
_INTEGER = re.compile(r"[0-9]{1,3}")
_NAMES = {2 * len(BODY_17): BODY_17, 2 * PART_BODY: BODY_12}  # names of the points by the count of integers
_LENGTHS = tuple(4 + length for length in (0, *_NAMES))
_FEWEST_POINTS = 3  # points; a body with fewer is written as its box
_KEYS = ("main characters", "objects")


def read_storyboard20k_lines(source: Source, settings: Settings) -> Storyboard:
    """Read their storyboards; each line becomes a scene."""
    ids = Ids()
    found = [
        _read_line(source, at, line, settings, ids, number)
        for number, (at, line) in enumerate(source.lines(), 1)
    ]
    if not found:
        raise source.error(0, "keypoint; instruction; description; {...}", "give a line")
    if len({size for _, size in found}) > 1:
        raise source.error(0, "one resolution in all lines", "give those of one resolution at a time")
    return build_storyboard(source, [scene for scene, _ in found], replace(settings, size=found[0][1]))


def write_storyboard20k_lines(storyboard: Storyboard) -> str:
    """Return a storyboard as text lines, one for each scene. Equal storyboards give equal lines.

    A body is written as its 17 points and its box, or as the box alone if fewer than three points are seen. Semicolons
    and braces of a prompt become full stops and parentheses. A line has no place for backgrounds.

    Raises:
        ValueError: a scene has too many key shots.
    """
    lines = [
        _write_line(scene, shots, storyboard.size)
        for scene, shots in shots_of(storyboard, "Storyboard20K lines")
    ]
    return "\n".join(lines)


def _read_line(
    source: Source, at: int, line: str, settings: Settings, ids: Ids, number: int
) -> tuple[Scene, tuple[int, int]]:
    start = _DICT.search(line)
    head = [part.strip() for part in line[: start.start() if start else 0].split(";")]
    if not start or head[0] not in ("keypoint", "box"):
        raise source.error(at, "keypoint or box; instruction; description; {...}", "give the whole line")
    value, end = read_literal(source, at + start.end())
    if source.text[end : at + len(line)].strip():
        raise source.error(end, "nothing behind the closing bracket", "delete what follows it")
    fields = value.as_dict("{'main characters': [...], 'objects': [...]}")
    if not set(_KEYS) <= set(fields):
        raise value.error("main characters and objects")
    characters, objects = (fields[key].as_list("a list for each key shot") for key in _KEYS)
    if len(characters) != len(objects):
        counts = f"{len(characters)} and {len(objects)}"
        raise value.error(f"as many key shots of main characters as of objects (there are {counts})")
    size = read_resolution(fields, settings.size)
    shots = [
        Shot(
            [each._replace(points=each.points or {}) for each in _read_shot(people, size)],
            _read_shot(things, size),
        )
        for people, things in zip(characters, objects, strict=True)
    ]
    keyframes = [shot.keyframe(number) for shot in shots]
    prompt = head[-1] if len(head) > 1 else ""
    return build_scene(source, at, keyframes, settings, ids, scene_id=number, prompt=prompt), size


def _read_shot(shot: Value, size: tuple[int, int]) -> list[Seen]:
    return [_read_seen(name, value, size) for name, value in read_named(shot)]


def _read_seen(name: str, value: Value, size: tuple[int, int]) -> Seen:
    lengths = ", ".join(map(str, _LENGTHS))
    words = value.as_text(f"{lengths} integers in quotes").split()
    in_range = all(_INTEGER.fullmatch(word) and int(word) <= CANVAS for word in words)
    if len(words) not in _LENGTHS or not in_range:
        raise value.error(f"one of {lengths} integers, each 0..{CANVAS} (there are {len(words)})")
    numbers = [int(word) / CANVAS for word in words]
    left, top, right, bottom = numbers[-4:]
    if left > right or top > bottom:
        raise value.error(f"a box with x1 <= x2 and y1 <= y2 (it is {' '.join(words[-4:])})")
    names = _NAMES.get(len(words) - 4, ())
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))[: len(names)]
    points = body_points(names, pairs, size) if names else None
    return Seen(name, scale_box((left, top, right, bottom), size), points)


def _write_line(scene: Scene, shots: list[Shot], size: tuple[int, int]) -> str:
    characters, objects = (
        [[{each.text: _write_seen(each, size)} for each in found if each.box] for found in kind]
        for kind in zip(*shots, strict=True)
    )
    has_points = any(each.count(" ") > 3 for shot in characters for body in shot for each in body.values())
    prompt = " ".join(scene.prompt.translate(_PLAIN).split())
    shown = dict(zip(_KEYS, (characters, objects), strict=True))
    return f"{'keypoint' if has_points else 'box'}; Create a storyboard.; {prompt}; {shown}"


def _write_seen(seen: Seen, size: tuple[int, int]) -> str:
    across, down = (CANVAS * side / max(size) for side in size)
    left, top, right, bottom = seen.box or (0, 0, 0, 0)
    (x1, x2), (y1, y2) = _span(left, right, across), _span(top, bottom, down)
    points = [(seen.points or {}).get(name) for name in BODY_17]
    numbers = [x1, y1, x2, y2]
    if len(points) - points.count(None) >= _FEWEST_POINTS:
        pairs = [(max(round(p[0] * across), 1), max(round(p[1] * down), 1)) if p else (0, 0) for p in points]
        numbers = [number for pair in pairs for number in pair] + numbers
    return " ".join(map(str, numbers))


def _span(start: float, stop: float, length: float) -> tuple[int, int]:
    """Return first and last whole pixel of a range, at least one apart, inside a side of the canvas."""
    first = min(round(start * length), max(int(length), 1) - 1)
    return first, max(round(stop * length), first + 1)
