"""A video's script as data: scenes, what is in them, where it is when. What layout nodes exchange as JSON.

Owns the format (version 1), its checks and the interpolation of boxes. Boxes are (left, top, right, bottom), each 0..1
of the picture's width or height; frames are numbered from 0 within their scene.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from torch import Tensor

MAX_CHARACTERS = 2_000_000  # of a storyboard as text
MAX_FRAMES = 100_000  # of a scene

Unit = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
SceneId = Annotated[int, Field(ge=0)]
Box = tuple[Unit, Unit, Unit, Unit]
Point = tuple[Unit, Unit]


class StoryboardError(ValueError):
    """A text is not a storyboard.

    Attributes:
        path: keys and places that lead to what is wrong; empty if the text isn't JSON.
    """

    def __init__(self, message: str, path: tuple[int | str, ...] = ()) -> None:
        super().__init__(message)
        self.path = path


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BoxKey(_Part):
    """An entity's box at one frame of its scene.

    Attributes:
        f: frame, 0-based.
        box: (left, top, right, bottom), 0..1; None: absent from this frame on, until the next key. Up to there the box
            before stands still.
    """

    f: int = Field(ge=0)
    box: Box | None

    @field_validator("box")
    @classmethod
    def _has_area(cls, box: Box | None) -> Box | None:
        if box is not None and (box[0] >= box[2] or box[1] >= box[3]):
            raise ValueError("a box with left < right and top < bottom")
        return box


class PointsKey(_Part):
    """An entity's keypoints at one frame: (x, y) by the point's name, 0..1; what is not named is not to be seen."""

    f: int = Field(ge=0)
    points: dict[Name, Point]


class Entity(_Part):
    """One thing in a scene.

    Attributes:
        id: stable over scenes; the same id means the same thing.
        text: name of it in a prompt.
        image: name of a reference picture, if there is one.
        track: boxes at some frames, in order; between them they move in a straight line.
        hold: stand still before the first and after the last box, instead of being absent.
        keypoints: points at some frames, in order.
    """

    id: Name
    text: Name
    image: str | None = None
    track: tuple[BoxKey, ...] = ()
    hold: bool = False
    keypoints: tuple[PointsKey, ...] | None = None

    @field_validator("track", "keypoints")
    @classmethod
    def _in_order(cls, keys: tuple[BoxKey | PointsKey, ...] | None) -> tuple[BoxKey | PointsKey, ...] | None:
        numbers = [key.f for key in keys or ()]
        if numbers != sorted(set(numbers)):
            raise ValueError("frames f that rise from key to key")
        return keys

    def boxes_at(self, frames: int | Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the entity's box at some frames.

        Args:
            frames: number of frames, from 0; or their numbers.

        Returns:
            [F, 4] float32, zeros where it is absent, and [F] bool, True where it is present.

        Examples:
            >>> keys = (BoxKey(f=0, box=(0, 0, 0.2, 0.2)), BoxKey(f=2, box=(0.4, 0, 0.6, 0.2)))
            >>> Entity(id="a", text="a ball", track=keys).boxes_at(4)[0][:, 0]
            tensor([0.0000, 0.2000, 0.4000, 0.0000])
        """
        numbers = range(frames) if isinstance(frames, int) else frames
        boxes = [self._box_at(number) for number in numbers]
        present = torch.tensor([box is not None for box in boxes], dtype=torch.bool)
        return torch.tensor([box or (0.0,) * 4 for box in boxes]).view(len(boxes), 4), present

    def _box_at(self, frame: int) -> Box | None:
        place = _between(self.track, frame, hold=self.hold)
        if place is None:
            return None
        start, end, part = self.track[place[0]].box, self.track[place[1]].box, place[2]
        if start is None or end is None or part == 0:
            return start
        left, top, right, bottom = (a + part * (b - a) for a, b in zip(start, end, strict=True))
        return left, top, right, bottom

    def points_at(self, frame: int) -> dict[str, Point]:
        """Return the entity's keypoints at one frame, by name; those that both keys around it have, moved in a line."""
        keys = self.keypoints or ()
        place = _between(keys, frame, hold=self.hold)
        if place is None:
            return {}
        start, end, part = keys[place[0]].points, keys[place[1]].points, place[2]
        if part == 0:
            return dict(start)
        return {
            name: (x + part * (end[name][0] - x), y + part * (end[name][1] - y))
            for name, (x, y) in start.items()
            if name in end
        }


def _between(keys: Sequence[BoxKey | PointsKey], frame: int, *, hold: bool) -> tuple[int, int, float] | None:
    """Return the keys before and after a frame, by place, and how far it is from one to the other; None: outside."""
    after = bisect_right([key.f for key in keys], frame)
    if not keys or (not hold and (after == 0 or (after == len(keys) and keys[-1].f != frame))):
        return None
    start, end = max(after - 1, 0), min(after, len(keys) - 1)
    length = keys[end].f - keys[start].f
    return start, end, (frame - keys[start].f) / length if length else 0.0


class Scene(_Part):
    """One shot.

    Attributes:
        id: unique in the storyboard.
        prompt: description of the whole picture.
        background: description of all that lies behind the entities.
        frames: length of the scene.
        entities: things in it; one without a track is somewhere, said nowhere.
    """

    id: SceneId
    prompt: str = ""
    background: str = ""
    frames: int = Field(ge=1, le=MAX_FRAMES)
    entities: tuple[Entity, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Scene:
        ids = [entity.id for entity in self.entities]
        if len(set(ids)) < len(ids):
            raise ValueError("entities with ids of their own")
        for entity in self.entities:
            late = [key.f for key in (*entity.track, *(entity.keypoints or ())) if key.f >= self.frames]
            if late:
                raise ValueError(
                    f"frames of {entity.id!r} below {self.frames}, the scene's length (found {late[0]})"
                )
        return self

    @property
    def placed(self) -> list[Entity]:
        """The entities that have boxes."""
        return [each for each in self.entities if each.track]

    def choose_placed(self, entity: str) -> list[Entity]:
        """Return the entities that have boxes, or one of them by its id; ValueError if there is none."""
        chosen = [each for each in self.placed if entity in ("", each.id)]
        if not chosen:
            ids = ", ".join(repr(each.id) for each in self.placed) or "none"
            raise ValueError(
                f"entity={entity!r} is not in scene {self.id}, or has no boxes there; expected one of: {ids}; choose "
                "one, or leave it empty for all."
            )
        return chosen


@dataclass(frozen=True, slots=True)
class Ids:
    """Entity ids of a storyboard: a slug of the name, with a number where it is taken; the same thing, the same id."""

    given: dict[Hashable, str] = field(default_factory=dict[Hashable, str])
    counts: dict[str, int] = field(default_factory=dict[str, int])

    def of(self, thing: Hashable, text: str) -> str:
        """Return a thing's id.

        Args:
            thing: key that tells it from others.
            text: name that the id is made of.
        """
        if thing not in self.given:
            slug = re.sub(r"[\W_]+", "_", text.casefold()).strip("_") or "entity"
            name = slug
            while name in self.counts:
                self.counts[slug] += 1
                name = f"{slug}_{self.counts[slug]}"
            self.counts[name] = 1
            self.given[thing] = name
        return self.given[thing]


class Provenance(_Part):
    """Where a storyboard comes from.

    Attributes:
        planner: kind of its author; text: it was read from somebody's text.
        model: the language model's or prior's name, as its user calls it; never an address.
        seed: number that everything drawn at random depends on.
        format: name of the format of the text it was read from.
    """

    planner: Literal["rules", "language model", "prior", "text"]
    model: str = ""
    seed: int | None = None
    format: str = ""


class Storyboard(_Part):
    """A whole script.

    Attributes:
        version: number of this format.
        fps: frames a second.
        size: width and height of the picture, in pixels.
        scenes: shots, in order.
        groups: scenes in which something must look alike: their ids, by an entity's id or a background's text.
        provenance: origin of it, if that is known.
    """

    version: Literal[1] = 1
    fps: float = Field(default=8.0, gt=0, le=1000)
    size: tuple[Annotated[int, Field(ge=8)], Annotated[int, Field(ge=8)]] = (512, 512)
    scenes: tuple[Scene, ...] = Field(min_length=1)
    groups: dict[Name, tuple[SceneId, ...]] = {}
    provenance: Provenance | None = None

    @model_validator(mode="after")
    def _refers_to_scenes(self) -> Storyboard:
        ids = {scene.id for scene in self.scenes}
        if len(ids) < len(self.scenes):
            raise ValueError("scenes with ids of their own")
        for name, members in self.groups.items():
            unknown = [member for member in members if member not in ids]
            if unknown:
                raise ValueError(f"group {name!r} of scenes that exist (there is no scene {unknown[0]})")
        return self

    def select_scene(self, scene_id: int) -> Storyboard:
        """Return the storyboard with one of its scenes alone, else ValueError; groups keep what is in it."""
        scenes = tuple(scene for scene in self.scenes if scene.id == scene_id)
        if not scenes:
            ids = [scene.id for scene in self.scenes]
            raise ValueError(f"scene={scene_id} is not in the storyboard; expected one of {ids}; choose one.")
        groups = {name: (scene_id,) for name, members in self.groups.items() if scene_id in members}
        return self.model_copy(update={"scenes": scenes, "groups": groups})

    def only_scene(self) -> Scene:
        """Return the scene of a storyboard that has one; ValueError if it has several."""
        scene, *others = self.scenes
        if others:
            ids = [scene.id for scene in self.scenes]
            raise ValueError(
                f"storyboard: got {len(ids)} scenes, {ids}; expected one; put Select Scene or Scene List between."
            )
        return scene

    def to_json(self) -> str:
        """Return the storyboard as JSON, indented."""
        return self.model_dump_json(indent=2)


def parse_storyboard(text: str) -> Storyboard:
    """Read a storyboard from JSON.

    Args:
        text: JSON of an object as ``Storyboard`` has it.

    Raises:
        StoryboardError: it is not JSON, or not a storyboard, or longer than ``MAX_CHARACTERS``; names the place, what
            is there and what was expected.
    """
    if len(text) > MAX_CHARACTERS:
        raise StoryboardError(
            f"storyboard: got {len(text):,} characters; expected at most {MAX_CHARACTERS:,}; leave out keys that a "
            "straight line between their neighbours gives."
        )
    try:
        return Storyboard.model_validate_json(text)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        if faults[0]["type"] == "json_invalid":
            why = faults[0].get("ctx", {}).get("error")
            raise StoryboardError(
                f"storyboard: not JSON ({why}), it begins {text[:40]!r}; expected an object with version and scenes; "
                "paste the whole JSON and nothing else."
            ) from error
        # A list whose items are wrong is also reported as too short.
        outer = {fault["loc"][:depth] for fault in faults for depth in range(len(fault["loc"]))}
        inner = [fault for fault in faults if fault["loc"] not in outer]
        raise StoryboardError(_explain(inner[0], len(inner)), inner[0]["loc"]) from error


def _explain(error: Any, count: int) -> str:  # pydantic's ErrorDetails, a TypedDict with optional keys
    path = "$" + "".join(_step(part) for part in error["loc"])
    got = _shorten(json.dumps(error["input"], default=str))
    cause = error.get("ctx", {}).get("error")
    expected = str(cause) if cause else re.sub(r"^\w+ should (be|have) ", "", error["msg"])
    if error["type"] == "missing":
        got, expected = "nothing", "a value"
    elif error["type"] == "extra_forbidden":
        expected = "only the fields of the format"
    more = f" ({count - 1} more)" if count > 1 else ""
    return f"storyboard {path}: got {got}; expected {_shorten(expected, 120)}; correct it there{more}."


def _step(part: int | str) -> str:
    """Return a part of a JSON path; a key that isn't a word may hold anything."""
    if isinstance(part, str) and re.fullmatch(r"\w{1,40}", part, re.ASCII):
        return f".{part}"
    return f"[{_shorten(json.dumps(part))}]"


def _shorten(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
