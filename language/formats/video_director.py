"""The plans that VideoDirectorGPT asks of a language model (Lin et al. 2023): scenes, then boxes in each.

As labelled lines::

    Scene 1: a chef washes an apple
    Entities: chef, apple
    Background: kitchen
    Frame_1: [["chef", [0.1, 0.3, 0.4, 0.9]], ["apple", [0.4, 0.5, 0.5, 0.6]]], caption: the chef takes it
    Frame_2: ...
    Reasoning: ...

where a scene may also be the first step's list, ``Scene 1: ["a chef washes an apple", ["chef", "apple"],
"kitchen"]``; or as one list of dicts with prompt, entities, background and frames. Boxes are (left, top, right,
bottom), 0..1. The paper speaks of nine frames and shows eight; any number from two on is read. Things of exactly the
same name are one thing in all scenes and make a consistency group, as a background does. If a name is several times in
one frame, the first there is the first in other frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ...models.storyboard.scenes import Ids, Scene, Storyboard
from .literal import Value, parse_literal
from .sections import Section, read_sections
from .source import Source
from .tracks import Seen, Settings, build_scene, build_storyboard, cut_box, groups_of, numbered

_FRAME = '[["name", [left, top, right, bottom]], ...]'


@dataclass(slots=True)
class _Plan:
    """A scene while it is read: the names in it, and a list for each frame."""

    at: int
    number: int
    prompt: str = ""
    background: str = ""
    names: list[str] = field(default_factory=list[str])
    frames: list[Value] = field(default_factory=list[Value])


def read_video_director(source: Source, settings: Settings) -> Storyboard:
    """Read a plan of one or more scenes."""
    is_literal = source.text.lstrip()[:1] in ("[", "{")
    plans = list(_plans_of_literal(source) if is_literal else _plans_of_lines(source))
    if not plans:
        raise source.error(0, "lines Scene 1: ... and Frame_1: ...", "give the whole plan")
    ids = Ids()
    scenes: dict[int, Scene] = {}
    for plan in plans:
        if plan.number in scenes:
            raise source.error(plan.at, f"scene {plan.number} once", "number the scenes")
        scenes[plan.number] = _build(source, plan, settings, ids)
    return build_storyboard(source, list(scenes.values()), settings, groups_of(scenes.values()))


def _build(source: Source, plan: _Plan, settings: Settings, ids: Ids) -> Scene:
    keyframes = [_read_frame(frame) for frame in plan.frames]
    if len(keyframes) < 2:
        raise source.error(
            plan.at, f"two frames at least (it has {len(keyframes)})", "give the scene's boxes"
        )
    return build_scene(
        source,
        plan.at,
        keyframes,
        settings,
        ids,
        scene_id=plan.number,
        prompt=plan.prompt,
        background=plan.background,
        others={(name, 0): Seen(name) for name in plan.names},
    )


def _plans_of_lines(source: Source) -> Iterator[_Plan]:
    plan: _Plan | None = None
    for section in read_sections(source):
        if section.label == "scene" or plan is None:
            if plan is not None:
                yield plan
            plan = _Plan(section.at, section.number if section.label == "scene" else 1)
        if section.label == "scene" and section.line().startswith("["):
            _read_step_one(plan, section.literal(_is_remark))
        elif section.label in ("scene", "prompt"):
            plan.prompt = section.line()
        elif section.label == "background":
            plan.background = section.line()
        elif section.label == "entities":
            plan.names = _read_names(section)
        elif section.label == "frame":
            plan.frames.append(section.literal(_is_remark))
            if section.number != len(plan.frames):
                raise source.error(section.at, f"Frame_{len(plan.frames)}", "give the frames in order")
    if plan is not None:
        yield plan


def _is_remark(rest: str) -> bool:
    return rest[0] in "-#" or rest.lstrip(", ").lower().startswith("caption")


def _read_names(section: Section) -> list[str]:
    if section.line().startswith("["):
        return _texts(section.literal(_is_remark))
    return [name.strip() for name in section.line().split(",") if name.strip()]


def _texts(value: Value) -> list[str]:
    return [item.as_text("a name") for item in value.as_list("a list of names")]


def _read_step_one(plan: _Plan, value: Value) -> None:
    prompt, names, background = value.as_list("[prompt, entities, background]", 3)
    plan.prompt, plan.background = prompt.as_text("the prompt"), background.as_text("the background")
    plan.names = _texts(names)


def _plans_of_literal(source: Source) -> Iterator[_Plan]:
    root = parse_literal(source)
    if isinstance(root.data, dict):
        root = root.data.get("scenes", Value(source, root.at, [root]))
    for number, item in enumerate(root.as_list("a list of scenes"), 1):
        fields = item.as_dict(
            "a scene, {'prompt': ..., 'entities': [...], 'background': ..., 'frames': [...]}"
        )
        if not {"prompt", "frames"} <= set(fields):
            raise item.error("a scene with prompt and frames")
        plan = _Plan(item.at, number, prompt=fields["prompt"].as_text("the prompt"))
        plan.frames = fields["frames"].as_list(f"a list of frames, each {_FRAME}")
        if "entities" in fields:
            plan.names = _texts(fields["entities"])
        if "background" in fields:
            plan.background = fields["background"].as_text("the background")
        yield plan


def _read_frame(frame: Value) -> dict[object, Seen]:
    found: list[Seen] = []
    for item in frame.as_list(f"a list {_FRAME}"):
        text, corners = item.as_list('["name", [left, top, right, bottom]]', 2)
        name = text.as_text("a name")
        expected = "[left, top, right, bottom], 0..1, left < right and top < bottom"
        edges = corners.as_numbers(4, expected)
        box = cut_box(*edges)
        if box is None or max(edges) > 1 or min(edges) < 0:
            raise corners.error(expected)
        found.append(Seen(name, box))
    return dict(zip(numbered(each.text for each in found), found, strict=True))
