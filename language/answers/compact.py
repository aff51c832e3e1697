"""The compact form: a whole storyboard in few tokens, for models that were tuned to write it in one answer.

A scene is a line with # and what is behind everything; below it, a line for each thing: where it begins and which way
it goes, in words, then its box at equal times:

    # a park
    a red ball (middle left, right): d m g g > p m g g
    a brown dog (bottom center, still): k o f i

The words are for the model, which finds letters more easily behind them; the boxes alone count. A box is four
letters: where its middle is, across and down, its width and its height, each from a, nothing, to u, the whole
picture, in steps of 5 %. Most tokenizers have a token for each. One box: the thing stands still. A box that would
stick out lies as near to there as the picture allows, so every text of the grammar is a storyboard.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import cast

from ...models.storyboard.scenes import Box, BoxKey, Entity, Ids, Scene
from .wire import MAX_ENTITIES, MAX_SCENES, AnswerError

VERSION = "compact/1"  # of the form; an adapter says for which it was made
STEPS = 20
KEYS = 4  # most boxes of a thing
NAME = 80  # longest name of a thing, or of what is behind
STRAIGHT = 0.03  # distance from a straight way, as a share of the picture, below which its two ends say all

ROWS, COLUMNS = ("top", "middle", "bottom"), ("left", "center", "right")
WAYS = ("left", "right", "up", "down", "larger", "smaller", "still")
GROWN, MOVED = 1.15, 0.05  # of a side, and of a middle, that a word is said of

_A = ord("a")
_LETTERS = "a-u"
GRAMMAR = f"""\
start: scene{{1,{MAX_SCENES}}}
scene: "#" NAME? "\\n" thing{{0,{MAX_ENTITIES}}}
thing: THING "(" ROW " " COLUMN ", " WAY "):" box (" >" box){{0,{KEYS - 1}}} "\\n"
box: PLACE PLACE SIDE SIDE
NAME: / [^\\n#:>()]{{1,{NAME}}}/
THING: /[^\\s#:>()][^\\n#:>()]{{0,{NAME - 1}}}/
ROW: "{'" | "'.join(ROWS)}"
COLUMN: "{'" | "'.join(COLUMNS)}"
WAY: "{'" | "'.join(WAYS)}"
PLACE: / [{_LETTERS}]/
SIDE: / [b-u]/
"""
_SCENE = re.compile(r"#\s*(?P<behind>[^\n#:>]*)")
_THING = re.compile(r"(?P<name>[^\n#:>()]+)(?:\([a-z ,]*\)\s*)?:(?P<boxes>[^:]*)")
_BOX = re.compile(rf"\s*([{_LETTERS}])\s+([{_LETTERS}])\s+([b-u])\s+([b-u])\s*")


def write_compact(scenes: Sequence[Scene]) -> str:
    r"""Return scenes in the compact form.

    A thing that is absent for a while goes on meanwhile from box to box; one that is never there is left out.

    Examples:
        >>> track = BoxKey(f=0, box=(0.0, 0.5, 0.3, 0.8)), BoxKey(f=8, box=(0.6, 0.5, 0.9, 0.8))
        >>> ball = Entity(id="ball", text="a ball", track=track)
        >>> write_compact([Scene(id=1, background="a park", frames=9, entities=(ball,))])
        '# a park\na ball (middle left, right): d n g g > p n g g\n'
    """
    lines: list[str] = []
    for scene in scenes:
        lines.append(f"# {_name(scene.background)}".rstrip())
        for entity in scene.entities:
            if boxes := _keys(entity, scene.frames):
                lines.append(f"{_name(entity.text)} ({_say(boxes)}): {' > '.join(map(_letters, boxes))}")
    return "\n".join(lines) + "\n"


def read_compact(text: str, frames: int) -> list[Scene]:
    """Return the scenes of a text in the compact form.

    Things of one text are the same thing in every scene. Of several of them in one scene, each has an id of its own.

    Args:
        text: text that the grammar allows; spaces and blank lines may differ.
        frames: length of each scene.

    Raises:
        AnswerError: a line is none of the form, or there are too few or too many of a kind.
    """
    scenes: list[tuple[str, list[tuple[str, list[Box]]]]] = []
    for number, line in enumerate(text.strip().split("\n"), 1):
        place = f"line {number}"
        if found := _SCENE.fullmatch(line.strip()):
            scenes.append((found["behind"].strip(), []))
        elif (found := _THING.fullmatch(line.strip())) and scenes and (boxes := _read_boxes(found["boxes"])):
            scenes[-1][1].append((found["name"].strip(), boxes))
            if len(scenes[-1][1]) > MAX_ENTITIES:
                raise AnswerError(place, line, f"at most {MAX_ENTITIES} things a scene")
        elif line.strip():
            raise AnswerError(
                place, line, "# and what is behind, or a thing, a colon and its boxes, such as d m g g"
            )
    if not 1 <= len(scenes) <= MAX_SCENES:
        raise AnswerError("the answer", f"{len(scenes)} scenes", f"1 to {MAX_SCENES}")
    ids = Ids()
    return [_scene(number, behind, things, frames, ids) for number, (behind, things) in enumerate(scenes, 1)]


def _scene(number: int, behind: str, things: Sequence[tuple[str, list[Box]]], frames: int, ids: Ids) -> Scene:
    names = [name for name, _ in things]
    entities = tuple(
        Entity(
            id=ids.of((name, names[:at].count(name)), name), text=name, track=_track(boxes, frames), hold=True
        )
        for at, (name, boxes) in enumerate(things)
    )
    prompt = ", ".join(filter(None, (" and ".join(dict.fromkeys(names)), behind)))
    return Scene(id=number, prompt=prompt, background=behind, frames=frames, entities=entities)


def _keys(entity: Entity, frames: int) -> list[Box]:
    """Return one box of a thing that stands still, two of one on a straight way, and else ``KEYS`` at equal times."""
    times = [round(part * (frames - 1) / (KEYS - 1)) for part in range(KEYS)]
    there = tuple(key for key in entity.track if key.box)
    if not there:
        return []
    boxes, _ = entity.model_copy(update={"hold": True, "track": there}).boxes_at(times)
    straight = boxes[0] + (boxes[-1] - boxes[0]) * (boxes.new_tensor(times) / max(times[-1], 1))[:, None]
    if float((boxes - straight).abs().max()) > STRAIGHT:
        kept = list(range(KEYS))
    else:
        kept = [0] if float((boxes[0] - boxes[-1]).abs().max()) < 0.5 / STEPS else [0, -1]
    return [cast("Box", tuple(map(float, boxes[at]))) for at in kept]


def _say(boxes: Sequence[Box]) -> str:
    """Return where a thing begins, by thirds of the picture, and which way it goes."""
    (x, y, side), (end_x, end_y, last) = (
        ((left + right) / 2, (top + bottom) / 2, right - left)
        for left, top, right, bottom in (boxes[0], boxes[-1])
    )
    across, down = end_x - x, end_y - y
    way = ("right" if across > 0 else "left") if abs(across) >= abs(down) else ("down" if down > 0 else "up")
    if max(abs(across), abs(down)) < MOVED:
        way = "larger" if last >= GROWN * side else "smaller" if side >= GROWN * last else "still"
    return f"{ROWS[min(int(3 * y), 2)]} {COLUMNS[min(int(3 * x), 2)]}, {way}"


def _letters(box: Box) -> str:
    left, top, right, bottom = box
    values = (
        (left + right) / 2,
        (top + bottom) / 2,
        max(right - left, 1 / STEPS),
        max(bottom - top, 1 / STEPS),
    )
    return " ".join(chr(_A + round(min(max(value, 0.0), 1.0) * STEPS)) for value in values)


def _read_boxes(text: str) -> list[Box]:
    """Return the boxes of a line; none if one of them is not of the form, or there are more than ``KEYS``."""
    found = [_BOX.fullmatch(part) for part in text.split(">")]
    if len(found) > KEYS or not all(found):
        return []
    return [_box(*((ord(letter) - _A) / STEPS for letter in each.groups())) for each in found if each]


def _box(x: float, y: float, width: float, height: float) -> Box:
    left = min(max(x - width / 2, 0.0), 1 - width)
    top = min(max(y - height / 2, 0.0), 1 - height)
    corners = left, top, left + width, top + height
    return cast("Box", tuple(round(min(value, 1.0), 4) for value in corners))


def _track(boxes: Sequence[Box], frames: int) -> tuple[BoxKey, ...]:
    last = max(len(boxes) - 1, 1)
    keys = {round(at / last * (frames - 1)): box for at, box in enumerate(boxes)}
    return tuple(BoxKey(f=frame, box=box) for frame, box in keys.items())


def _name(text: str) -> str:
    """Return a name without the form's own marks."""
    return " ".join(re.sub(r"[#:>()]", " ", text).split())[:NAME].strip()
