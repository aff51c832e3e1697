"""Storyboard20K's annotations as JSON: one storyboard or a list of them.

The reader takes ``bboxes_person``, ``bboxes_object`` and ``keypoints``, which are lists of ``{name: numbers}`` for each
key shot, and resolution, scene, summary and synopses. As in the published tools, a box is cut at the picture's edges, a
box without area is dropped, and a point with a score under 0.6 is not seen.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from ...models.storyboard.scenes import Box, Ids, Scene, Storyboard
from .literal import Value, parse_literal
from .source import Source
from .storyboard20k import (
    BODY_17,
    WHOLE_BODY,
    Shot,
    body_points,
    read_named,
    read_resolution,
    scale_box,
    shots_of,
)
from .tracks import Points, Seen, Settings, build_scene, build_storyboard, numbered

SEEN_SCORE = 0.6
_LISTS = ("bboxes_person", "bboxes_object")
_BOX = "[x1, y1, x2, y2] or with a score, divided by the longer side, x1 <= x2 and y1 <= y2"
_POINTS = f"{WHOLE_BODY} points, each [x, y, score]"


def read_storyboard20k_json(source: Source, settings: Settings) -> Storyboard:
    """Read one or more of their storyboards; each becomes a scene. All must have one resolution."""
    root = parse_literal(source)
    items = root.as_list("a list of storyboards") if isinstance(root.data, list) else [root]
    ids = Ids()
    scenes: list[Scene] = []
    sizes: set[tuple[int, int]] = set()
    for number, item in enumerate(items, 1):
        fields = item.as_dict("a storyboard with bboxes_person and bboxes_object")
        size = read_resolution(fields, settings.size)
        sizes.add(size)
        if len(sizes) > 1:
            raise item.error("one resolution for all storyboards", "give those of one resolution at a time")
        scenes.append(_read_scene(item, fields, size, settings, ids, number))
    if not scenes:
        raise root.error("one storyboard at least", "give some")
    return build_storyboard(source, scenes, replace(settings, size=sizes.pop()))


def write_storyboard20k_json(storyboard: Storyboard) -> str:
    """Return a storyboard as a list of their storyboards, one for each scene.

    Boxes and points have score 1. Prompt and background become summary and scene. The 17 points of a body are written,
    and the others are marked as not seen.

    Raises:
        ValueError: a scene has too many key shots.
    """
    items = [
        _write(scene, shots, storyboard.size) for scene, shots in shots_of(storyboard, "Storyboard20K JSON")
    ]
    return json.dumps(items, ensure_ascii=False)


def _read_scene(
    item: Value, fields: dict[str, Value], size: tuple[int, int], settings: Settings, ids: Ids, number: int
) -> Scene:
    lists = [_read_list(item, fields, name) for name in _LISTS]
    bodies = _read_list(item, fields, "keypoints") if "keypoints" in fields else []
    if len(lists[0]) != len(lists[1]) or len(bodies) not in (0, len(lists[0])):
        counts = [len(each) for each in (*lists, bodies)]
        raise item.error(f"as many key shots in each list (there are {counts})", "give the whole storyboard")
    shots = [
        Shot(
            _join(_read_boxes(people, size), _read_bodies(body, size)),
            [Seen(name, box) for name, box in _read_boxes(objects, size)],
        )
        for people, objects, body in zip(*lists, bodies or [None] * len(lists[0]), strict=True)
    ]
    summary = _words(fields.get("summary")) or _synopsis(fields.get("synopses"))
    keyframes = [shot.keyframe(number) for shot in shots]
    return build_scene(
        item.source,
        item.at,
        keyframes,
        settings,
        ids,
        scene_id=number,
        prompt=summary,
        background=_words(fields.get("scene")),
    )


def _read_list(item: Value, fields: dict[str, Value], name: str) -> list[Value]:
    if name not in fields:
        raise item.error(f"a storyboard with {name}")
    return fields[name].as_list("a list for each key shot")


def _read_boxes(shot: Value, size: tuple[int, int]) -> list[tuple[str, Box | None]]:
    found: list[tuple[str, Box | None]] = []
    for name, value in read_named(shot):
        items = value.as_list(_BOX)
        edges = value.as_numbers(5 if len(items) == 5 else 4, _BOX)[:4]
        if not (min(edges) >= -1 and max(edges) <= 2 and edges[0] <= edges[2] and edges[1] <= edges[3]):
            raise value.error(_BOX)
        found.append((name, scale_box(edges, size)))
    return found


def _read_bodies(shot: Value | None, size: tuple[int, int]) -> list[tuple[str, Points]]:
    found: list[tuple[str, Points]] = []
    for name, value in read_named(shot) if shot else ():
        points = [point.as_numbers(3, _POINTS) for point in value.as_list(_POINTS, WHOLE_BODY)]
        pairs = [(x, y) if score >= SEEN_SCORE else (0.0, 0.0) for x, y, score in points]
        found.append((name, body_points(BODY_17, pairs[: len(BODY_17)], size)))
    return found


def _join(boxes: list[tuple[str, Box | None]], bodies: list[tuple[str, Points]]) -> list[Seen]:
    """Return characters with boxes and points. The first of a name among boxes is the first among points."""
    points = dict(zip(numbered(name for name, _ in bodies), (found for _, found in bodies), strict=True))
    names = numbered(name for name, _ in boxes)
    characters = [Seen(key[0], box, points.pop(key, {})) for key, (_, box) in zip(names, boxes, strict=True)]
    return characters + [Seen(name, None, found) for (name, _), found in points.items()]


def _words(value: Value | None) -> str:
    if value is None or value.data is None:
        return ""
    if isinstance(value.data, list):
        return ", ".join(filter(None, map(_words, value.data)))
    if isinstance(value.data, dict):
        raise value.error("a text or a list of texts")
    return str(value.data).strip()


def _synopsis(value: Value | None) -> str:
    """Return the first candidates of all parts of the synopses, joined."""
    if value is None or not isinstance(value.data, list):
        return _words(value)
    firsts = [part.data[0] if isinstance(part.data, list) and part.data else part for part in value.data]
    return " ".join(filter(None, map(_words, firsts)))


def _write(scene: Scene, shots: list[Shot], size: tuple[int, int]) -> dict[str, Any]:
    names = [[each.text for each in shot.characters] for shot in shots]
    return {
        "flag": "test",
        "global_id": scene.id,
        "movie_id": "",
        "key_frames": [],
        "resolution": [size[1], size[0]],
        "title": "",
        "genre": "",
        "emotion": "",
        "scene": scene.background,
        "summary": scene.prompt,
        "cast": [],
        "main characters": names,
        "#characters": len({name for shot in names for name in shot}),
        "synopses": [[scene.prompt]],
        "bboxes_person": [_write_boxes(shot.characters, size) for shot in shots],
        "bboxes_object": [_write_boxes(shot.objects, size) for shot in shots],
        "keypoints": [
            [{each.text: _write_body(each.points or {}, size)} for each in shot.characters] for shot in shots
        ],
    }


def _write_boxes(found: list[Seen], size: tuple[int, int]) -> list[dict[str, list[float]]]:
    parts = [side / max(size) for side in (*size, *size)]
    return [
        {each.text: [*(round(edge * part, 6) for edge, part in zip(each.box, parts, strict=True)), 1.0]}
        for each in found
        if each.box
    ]


def _write_body(points: Points, size: tuple[int, int]) -> list[list[float]]:
    across, down = (side / max(size) for side in size)
    body = [[0.0, 0.0, 0.0] for _ in range(WHOLE_BODY)]
    for place, name in enumerate(BODY_17):
        if name in points:
            x, y = points[name]
            body[place] = [round(x * across, 6), round(y * down, 6), 1.0]
    return body
