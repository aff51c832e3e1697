"""What a language model is asked to write: small JSON of whole numbers. Reading it; its faults; our storyboard of it.

Places and sizes are percent of the picture, on a grid of 5 in the schema, so that any grammar can hold a model to them;
x, y, w, h rather than corners, whose order no schema can say. What comes a little outside is moved inside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from ..models.storyboard import Box, BoxKey, Entity, Scene

VERSION = 1  # of the wire; part of every cache key
MAX_BYTES = 1_000_000  # of an answer
MAX_DEPTH = 16
MAX_SCENES = 16
MAX_ENTITIES = 8
KEYS = (2, 4)  # key frames of an entity
MAX_PROMPTS = 64  # between two
MAX_TEXT = 400
GRID = list(range(0, 101, 5))
TOLERANCE = 10  # percent by which a box may leave the picture and is moved back
EXCERPT = 160

_CORNERS = (("x0", "y0", "x1", "y1"), ("x1", "y1", "x2", "y2"), ("left", "top", "right", "bottom"))


class AnswerError(ValueError):
    """An answer is not what was asked for.

    Attributes:
        path: where, such as ``$.scenes[0].prompt``.
        got: what is there, shortened.
        expected: what should be.
    """

    def __init__(self, path: str, got: object, expected: str) -> None:
        text = got if isinstance(got, str) else json.dumps(got, default=repr)
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
    return {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


def _list(item: dict[str, Any], shortest: int, longest: int) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": shortest, "maxItems": longest}


def extract_object(answer: str) -> dict[str, Any]:
    """Return the first JSON object in an answer, whatever stands around it.

    Raises:
        AnswerError: there is none that is whole and JSON; or the answer is too long, too deep, or has what JSON has not
            (NaN, infinity) or what has no one meaning (a name twice).
    """
    if len(answer) > MAX_BYTES or len(answer.encode("utf-8", "replace")) > MAX_BYTES:
        raise AnswerError("$", f"{len(answer):,} characters: {answer[:80]}", f"at most {MAX_BYTES:,} bytes")
    start = answer.rfind("</think>") + 1 if "</think>" in answer else 0
    start = answer.find("{", start)
    if start < 0:
        raise AnswerError("$", answer, "a JSON object")
    fault: AnswerError | None = None
    while start >= 0:
        end = _balanced(answer, start)
        if end is None:
            raise fault or AnswerError(
                "$", answer[-EXCERPT:], "an object that is closed; the answer was cut off"
            )
        try:
            return _load(answer[start:end])
        except AnswerError as found:
            fault = fault or found
        start = answer.find("{", end)
    raise fault or AnswerError("$", answer, "a JSON object")


def _balanced(text: str, start: int) -> int | None:
    """Return where the object that begins at ``start`` ends; None: nowhere."""
    depth, quoted, at = 0, False, start
    for match in re.compile(r'\\.|["{}\[\]]', re.DOTALL).finditer(text, start):
        sign, at = match.group(), match.end()
        if sign == '"':
            quoted = not quoted
        elif not quoted and sign in "{[":
            depth += 1
            if depth > MAX_DEPTH:
                raise AnswerError(
                    "$", text[start : start + 80], f"at most {MAX_DEPTH} objects and lists in each other"
                )
        elif not quoted and sign in "}]":
            depth -= 1
            if depth == 0:
                return at
    return None


def _load(text: str) -> dict[str, Any]:
    def refuse(constant: str) -> NoReturn:
        raise AnswerError("$", constant, "numbers that JSON has")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            names = [name for name, _ in pairs]
            raise AnswerError("$", f"{max(names, key=names.count)} twice in an object", "each name once")
        return fields

    try:
        return json.loads(text, parse_constant=refuse, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        near = text[max(error.pos - 40, 0) : error.pos + 40]
        raise AnswerError("$", near, f"JSON ({error.msg} at character {error.pos})") from error
    except AnswerError:
        raise
    except ValueError as error:  # a whole number of thousands of digits
        raise AnswerError("$", text, f"JSON that can be read ({str(error)[:60]})") from error


def read_scenes(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Check the first answer, and return its scenes: prompt, background, and entities of id and text.

    Raises:
        AnswerError: it is not what ``scenes_schema`` says, or an id stands twice in a scene.
    """
    scenes = []
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


def read_boxes(value: Mapping[str, Any], ids: Sequence[str]) -> dict[str, list[dict[str, int]]]:
    """Check the second answer, and return each entity's keys: t, x, y, w, h in percent, inside the picture.

    Corners are taken for what they are where they are named so, or where every box of the answer can be corners and
    some box cannot be anything else.

    Raises:
        AnswerError: it is not what ``boxes_schema`` says, or an entity is missing, unknown, or there twice.
    """
    found: dict[str, list[dict[str, int]]] = {}
    places: list[tuple[str, dict[str, int]]] = []
    entities = _fields(value, "$", ("entities",))["entities"]
    for place, item in _items(entities, "$.entities", 0, MAX_ENTITIES):
        fields = _fields(item, place, ("id", "keys"))
        name = _text(fields["id"], f"{place}.id")
        if name not in ids or name in found:
            raise AnswerError(f"{place}.id", name, f"one of {', '.join(ids)}, each once")
        found[name] = [_read_key(key, inner) for inner, key in _items(fields["keys"], f"{place}.keys", *KEYS)]
        places += [(f"{place}.keys[{number}]", key) for number, key in enumerate(found[name])]
        times = [key["t"] for key in found[name]]
        if times != sorted(set(times)):
            raise AnswerError(f"{place}.keys", times, "values of t that rise from key to key")
    missing = [name for name in ids if name not in found]
    if missing:
        raise AnswerError("$.entities", list(found), f"an entry for {missing[0]} too")
    _turn_corners([key for _, key in places])
    for place, key in places:
        _move_inside(key, place)
    return found


def read_prompts(value: Mapping[str, Any], count: int, longest: int = MAX_TEXT) -> list[str]:
    """Check prompts for the pictures between two, and return them; line breaks in them become spaces.

    Raises:
        AnswerError: it is not what ``prompts_schema`` says, or a prompt is empty or longer than ``longest``.
    """
    prompts = _fields(value, "$", ("prompts",))["prompts"]
    return [_text(item, place, longest=longest) for place, item in _items(prompts, "$.prompts", count, count)]


def _read_key(value: Any, place: str) -> dict[str, int]:
    """Return a key's whole numbers; named corners become x, y, w, h."""
    for names in _CORNERS:
        if isinstance(value, dict) and set(value) == {"t", *names}:
            left, top, right, bottom = (_whole(value[name], f"{place}.{name}") for name in names)
            box = {"x": left, "y": top, "w": right - left, "h": bottom - top}
            return {"t": _time(value["t"], f"{place}.t")} | box
    fields = _fields(value, place, ("t", "x", "y", "w", "h"))
    return {"t": _time(fields["t"], f"{place}.t")} | {
        name: _whole(fields[name], f"{place}.{name}") for name in "xywh"
    }


def _turn_corners(keys: list[dict[str, int]]) -> None:
    """Read w and h as right and bottom where they can be nothing else."""
    outside = any(
        key["x"] + key["w"] > 100 + TOLERANCE or key["y"] + key["h"] > 100 + TOLERANCE for key in keys
    )
    corners = all(key["w"] > key["x"] and key["h"] > key["y"] for key in keys)
    within = all(key[name] <= 100 + TOLERANCE for key in keys for name in "wh")
    if outside and corners and within:
        for key in keys:
            key["w"], key["h"] = key["w"] - key["x"], key["h"] - key["y"]


def _move_inside(key: dict[str, int], place: str) -> None:
    for start, length in ("xw", "yh"):
        if key[length] <= 0:
            raise AnswerError(f"{place}.{length}", key[length], "a length above 0, in percent")
        if key[start] < -TOLERANCE or key[start] + key[length] > 100 + TOLERANCE:
            raise AnswerError(
                place,
                {name: key[name] for name in (start, length)},
                f"{start} of 0 or more, and {start} + {length} of 100 or less",
            )
        key[length] = min(key[length], 100)
        key[start] = min(max(key[start], 0), 100 - key[length])


def _fields(value: Any, place: str, names: Sequence[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise AnswerError(place, value, f"an object with {', '.join(names)}")
    missing = [name for name in names if name not in value]
    if missing:
        raise AnswerError(f"{place}.{missing[0]}", "nothing", "a value")
    extra = [name for name in value if name not in names]
    if extra:
        raise AnswerError(place, extra[0], f"no names but {', '.join(names)}")
    return value


def _items(value: Any, place: str, shortest: int, longest: int) -> list[tuple[str, Any]]:
    if not isinstance(value, list) or not shortest <= len(value) <= longest:
        got = f"{len(value)} items" if isinstance(value, list) else value
        count = longest if shortest == longest else f"{shortest} to {longest}"
        raise AnswerError(place, got, f"a list of {count} items")
    return [(f"{place}[{number}]", item) for number, item in enumerate(value)]


def _text(value: Any, place: str, *, empty: bool = False, longest: int = MAX_TEXT) -> str:
    if not isinstance(value, str) or len(value) > longest or (not empty and not value.strip()):
        raise AnswerError(place, value, f"a text of {0 if empty else 1} to {longest} characters")
    if re.search(r"[\ud800-\udfff\x00-\x08\x0b-\x1f\x7f]", value):
        raise AnswerError(place, ascii(value), "a text without control characters")
    return " ".join(value.split())


def _whole(value: Any, place: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise AnswerError(place, value, "a whole number, in percent of the picture")
    if abs(value) > 1000:
        raise AnswerError(place, value, "a whole number from 0 to 100")
    return int(value)


def _time(value: Any, place: str) -> int:
    time = _whole(value, place)
    if not 0 <= time <= 100:
        raise AnswerError(place, value, "a whole number from 0 to 100, in percent of the scene")
    return time


def to_scene(
    number: int, scene: Mapping[str, Any], boxes: Mapping[str, list[dict[str, int]]], frames: int
) -> Scene:
    """Return a scene of our storyboard: an entity's box stands still before its first key and after its last."""
    entities = tuple(
        Entity(id=each["id"], text=each["text"], track=_track(boxes[each["id"]], frames), hold=True)
        for each in scene["entities"]
    )
    return Scene(
        id=number,
        prompt=scene["prompt"],
        background=scene["background"],
        frames=frames,
        entities=entities,
    )


def _track(keys: Sequence[Mapping[str, int]], frames: int) -> tuple[BoxKey, ...]:
    """Return keys at frames; of several that fall on one frame the last counts."""
    boxes: dict[int, Box] = {}
    for key in keys:
        box = key["x"], key["y"], key["x"] + key["w"], key["y"] + key["h"]
        left, top, right, bottom = (value / 100 for value in box)
        boxes[round(key["t"] / 100 * (frames - 1))] = (left, top, right, bottom)
    return tuple(BoxKey(f=frame, box=box) for frame, box in boxes.items())
