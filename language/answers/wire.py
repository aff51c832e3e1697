"""The JSON that language models are asked to write: its schemas, its reading, its faults, and the scenes made of it.

Places and sizes are percent of the picture. The schema has a grid of 5, so that any grammar can enforce it, and x, y,
w, h instead of corners, whose order no schema can express. A box that sticks out a little is moved inside.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...models.files.json_text import as_array, as_object
from ...models.storyboard.scenes import Box, BoxKey, Entity, Scene
from .places import TOLERANCE, WHOLE, Key, Unit, find_time_unit, find_unit, turn_corners

VERSION = 1  # version of this format, part of every key of the store
MAX_SCENES = 16
MAX_ENTITIES = 8
KEYS = (2, 4)  # key frames of an entity
MAX_PROMPTS = 64  # prompts between two keyframes
MAX_TEXT = 400
GRID = list(range(0, 101, 5))
EXCERPT = 160

_CORNERS = (("x0", "y0", "x1", "y1"), ("x1", "y1", "x2", "y2"), ("left", "top", "right", "bottom"))


class AnswerError(ValueError):
    """An answer has not the form that was asked for.

    Attributes:
        path: path of the fault, such as ``$.scenes[0].prompt``.
        got: value at that path, shortened.
        expected: description of a right value.
    """

    def __init__(self, path: str, got: object, expected: str) -> None:
        text = got if isinstance(got, str) else json.dumps(got, default=repr, ensure_ascii=False)
        self.path, self.expected = path, expected
        self.got = text if len(text) <= EXCERPT else text[: EXCERPT - 3] + "..."
        super().__init__(f"{path}: got {self.got!r}; expected {expected}")


def scenes_schema() -> dict[str, Any]:
    """Return the JSON schema of the first answer: the scenes."""
    entity = _object(id={"type": "string"}, text={"type": "string"})
    scene = _object(
        prompt={"type": "string"}, background={"type": "string"}, entities=_list(entity, 0, MAX_ENTITIES)
    )
    return _object(scenes=_list(scene, 1, MAX_SCENES))


def boxes_schema(ids: Sequence[str]) -> dict[str, Any]:
    """Return the JSON schema of the second answer: the boxes of one scene's entities."""
    number = {"type": "integer", "enum": GRID}
    side = {"type": "integer", "enum": GRID[1:]}
    key = _object(t=number, x=number, y=number, w=side, h=side)
    entity = _object(id={"type": "string", "enum": list(ids)}, keys=_list(key, *KEYS))
    return _object(entities=_list(entity, len(ids), len(ids)))


def prompts_schema(count: int) -> dict[str, Any]:
    """Return the JSON schema of prompts for the pictures between two."""
    return _object(prompts=_list({"type": "string"}, count, count))


def _object(**fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def _list(item: dict[str, Any], shortest: int, longest: int) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": shortest, "maxItems": longest}


def read_scenes(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Check the first answer, and return its scenes: prompt, background, and entities of id and text.

    Raises:
        AnswerError: it is not what ``scenes_schema`` says, or an id stands twice in a scene.
    """
    scenes: list[dict[str, Any]] = []
    for place, item in _items(_fields(value, "$", ("scenes",))["scenes"], "$.scenes", 1, MAX_SCENES):
        fields = _fields(item, place, ("prompt", "background", "entities"))
        entities: list[dict[str, str]] = []
        for inner, each in _items(fields["entities"], f"{place}.entities", 0, MAX_ENTITIES):
            found = _fields(each, inner, ("id", "text"))
            name = _text(found["id"], f"{inner}.id")
            if name in [entity["id"] for entity in entities]:
                raise AnswerError(f"{inner}.id", name, "an id that no other entity of the scene has")
            entities.append({"id": name, "text": _text(found["text"], f"{inner}.text")})
        scenes.append(
            {
                "prompt": _text(fields["prompt"], f"{place}.prompt"),
                "background": _text(fields["background"], f"{place}.background", empty=True),
                "entities": entities,
            }
        )
    return scenes


@dataclass(frozen=True)
class Boxes:
    """The boxes of one scene.

    Attributes:
        keys: numbers t, x, y, w, h by entity, in percent, inside the picture.
        unit: unit of the answer's places.
        times: unit of the answer's times.
    """

    keys: dict[str, list[Key]]
    unit: Unit
    times: Unit


def read_boxes(value: Mapping[str, Any], ids: Sequence[str], before: Unit | None = None) -> Boxes:
    """Check the second answer, and return each entity's keys.

    Numbers are read as corners if they have the names of corners, or if all boxes of the answer can be corners and some
    box cannot be anything else. All boxes of the answer together decide between percent, shares and thousandths.

    Args:
        value: the answer.
        ids: ids of the entities to be placed.
        before: unit of the boxes of earlier scenes; None: there are none.

    Raises:
        AnswerError: it is not what ``boxes_schema`` says, an entity is missing, unknown, or there twice, or its places
            can be read in two ways.
    """
    found: dict[str, list[Key]] = {}
    places: list[tuple[str, Key]] = []
    entities = _fields(value, "$", ("entities",))["entities"]
    for place, item in _items(entities, "$.entities", 0, MAX_ENTITIES):
        fields = _fields(item, place, ("id", "keys"))
        name = _text(fields["id"], f"{place}.id")
        if name not in ids or name in found:
            raise AnswerError(f"{place}.id", name, f"one of {', '.join(ids)}, each once")
        found[name] = [_read_key(key, inner) for inner, key in _items(fields["keys"], f"{place}.keys", *KEYS)]
        places += [(f"{place}.keys[{number}]", key) for number, key in enumerate(found[name])]
    missing = [name for name in ids if name not in found]
    if missing:
        raise AnswerError("$.entities", list(found), f"an entry for {missing[0]} too")
    unit, times = _scale(places, before)
    for number, keys in enumerate(found.values()):
        when = [key["t"] for key in keys]
        if when != sorted(set(when)):
            raise AnswerError(f"$.entities[{number}].keys", when, "values of t that rise from key to key")
    for place, key in places:
        _move_inside(key, place)
    return Boxes(found, unit, times)


def _scale(places: Sequence[tuple[str, Key]], before: Unit | None) -> tuple[Unit, Unit]:
    """Convert places and times to percent. All keys together decide their unit."""
    keys = [key for _, key in places]
    unit, doubt = find_unit(keys, before)
    if unit is None:
        raise AnswerError(
            "$.entities", [key[name] for key in keys for name in "xywh"], _percent(doubt, "x, y, w, h")
        )
    times, doubt = find_time_unit([key["t"] for key in keys], unit)
    if times is None:
        raise AnswerError("$.entities", [key["t"] for key in keys], _percent(doubt, "t"))
    turn_corners(keys, unit)
    for place, key in places:
        for name, value in key.items():
            counted = times if name == "t" else unit
            if counted == "percent" and 0 < abs(value) < 1:
                raise AnswerError(f"{place}.{name}", value, "a number in percent, as the others are")
            key[name] = value if counted == "percent" else round(value * 100 / WHOLE[counted], 6)
        if not 0 <= key["t"] <= 100:
            raise AnswerError(f"{place}.t", key["t"], "a number from 0 to 100, in percent of the scene")
    return unit, times


def _percent(doubt: str, names: str) -> str:
    return f"{names} in percent, 0 to 100: these can be read as {doubt}"


def read_prompts(value: Mapping[str, Any], count: int, longest: int = MAX_TEXT) -> list[str]:
    """Check prompts for the pictures between two, and return them; line breaks in them become spaces.

    Raises:
        AnswerError: it is not what ``prompts_schema`` says, or a prompt is empty or longer than ``longest``.
    """
    prompts = _fields(value, "$", ("prompts",))["prompts"]
    return [_text(item, place, longest=longest) for place, item in _items(prompts, "$.prompts", count, count)]


def _read_key(value: Any, place: str) -> Key:
    """Return a key's numbers; named corners become x, y, w, h."""
    for names in _CORNERS:
        key = as_object(value) or {}
        if set(key) == {"t", *names}:
            left, top, right, bottom = (_number(key[name], f"{place}.{name}") for name in names)
            box = {"x": left, "y": top, "w": right - left, "h": bottom - top}
            return {"t": _number(key["t"], f"{place}.t")} | box
    fields = _fields(value, place, ("t", "x", "y", "w", "h"))
    return {name: _number(fields[name], f"{place}.{name}") for name in ("t", "x", "y", "w", "h")}


def _move_inside(key: Key, place: str) -> None:
    for start, length in ("xw", "yh"):
        if key[length] <= 0:
            raise AnswerError(f"{place}.{length}", key[length], "a length above 0, in percent")
        if key[start] < -100 * TOLERANCE or key[start] + key[length] > 100 * (1 + TOLERANCE):
            raise AnswerError(
                place,
                {name: key[name] for name in (start, length)},
                f"{start} of 0 or more, and {start} + {length} of 100 or less",
            )
        key[length] = min(key[length], 100.0)
        key[start] = min(max(key[start], 0.0), 100 - key[length])


def _fields(value: Any, place: str, names: Sequence[str]) -> dict[str, Any]:
    fields = as_object(value)
    if fields is None:
        raise AnswerError(place, value, f"an object with {', '.join(names)}")
    missing = [name for name in names if name not in fields]
    if missing:
        raise AnswerError(f"{place}.{missing[0]}", "nothing", "a value")
    extra = [name for name in fields if name not in names]
    if extra:
        raise AnswerError(place, extra[0], f"no names but {', '.join(names)}")
    return fields


def _items(value: Any, place: str, shortest: int, longest: int) -> list[tuple[str, Any]]:
    items = as_array(value)
    if items is None or not shortest <= len(items) <= longest:
        got = value if items is None else f"{len(items)} items"
        count = longest if shortest == longest else f"{shortest} to {longest}"
        raise AnswerError(place, got, f"a list of {count} items")
    return [(f"{place}[{number}]", item) for number, item in enumerate(items)]


def _text(value: Any, place: str, *, empty: bool = False, longest: int = MAX_TEXT) -> str:
    if not isinstance(value, str) or len(value) > longest or (not empty and not value.strip()):
        raise AnswerError(place, value, f"a text of {0 if empty else 1} to {longest} characters")
    if re.search(r"[\ud800-\udfff\x00-\x08\x0b-\x1f\x7f]", value):
        raise AnswerError(place, ascii(value), "a text without control characters")
    return " ".join(value.split())


def _number(value: Any, place: str) -> float:
    """Return a number, which may stand in quotes and have a percent sign."""
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,6}(\.\d{1,9})?\s*%?\s*", value):
        value = float(value.strip(" \t\r\n%"))
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise AnswerError(place, value, "a whole number, in percent of the picture")
    if abs(value) > 10_000:
        raise AnswerError(place, value, "a whole number from 0 to 100")
    return int(value) if value == int(value) else value


def to_scene(number: int, scene: Mapping[str, Any], boxes: Mapping[str, Sequence[Key]], frames: int) -> Scene:
    """Return a scene of our storyboard. A box stands still before its first key and after its last one."""
    entities = tuple(
        Entity(id=each["id"], text=each["text"], track=_track(boxes[each["id"]], frames), hold=True)
        for each in scene["entities"]
    )
    return Scene(
        id=number, prompt=scene["prompt"], background=scene["background"], frames=frames, entities=entities
    )


def _track(keys: Sequence[Key], frames: int) -> tuple[BoxKey, ...]:
    """Return keys at frames. If several fall on one frame, the last one counts."""
    boxes: dict[int, Box] = {}
    for key in keys:
        box = key["x"], key["y"], key["x"] + key["w"], key["y"] + key["h"]
        left, top, right, bottom = (value / 100 for value in box)
        boxes[round(key["t"] / 100 * (frames - 1))] = (left, top, right, bottom)
    return tuple(BoxKey(f=frame, box=box) for frame, box in boxes.items())
