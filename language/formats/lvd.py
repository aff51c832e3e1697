"""The frames that LLM-grounded Video Diffusion asks of a language model (Lian et al. 2023).

``Frame 1: [{'id': 0, 'name': 'red ball', 'box': [x, y, width, height]}]`` and so on, then ``Background keyword:
garden``. The canvas is 512 x 512, from its top left corner. As in the published tools, an id stands for an object, a
box is cut at the canvas' edges, an object is absent if its box is outside or has no area, and a remark may follow a
frame.
"""

from __future__ import annotations

from ...models.storyboard.scenes import Ids, Storyboard
from .literal import Value
from .sections import Section, read_sections
from .source import Source, excerpt
from .tracks import Seen, Settings, build_scene, build_storyboard, cut_box

CANVAS = 512
_FRAME = "[{'id': 0, 'name': 'ball', 'box': [x, y, width, height]}]"


def read_lvd(source: Source, settings: Settings) -> Storyboard:
    """Read a layout of one scene; the canvas is the whole picture."""
    sections = read_sections(source)
    frames = [section for section in sections if section.label == "frame"]
    keyframes = [_read_frame(section, number) for number, section in enumerate(frames, 1)]
    said = {section.label: section.line() for section in sections}
    if not frames:
        raise source.error(0, "a line Frame 1: ...", "give the whole answer")
    if "background keyword" not in said:
        raise source.error(len(source.text), "a line Background keyword: ...", "give the whole answer")
    scene = build_scene(
        source,
        frames[0].at,
        keyframes,
        settings,
        Ids(),
        prompt=said.get("caption", ""),
        background=said["background keyword"],
    )
    return build_storyboard(source, [scene], settings)


def _read_frame(section: Section, number: int) -> dict[object, Seen]:
    if section.number != number:
        raise section.source.error(section.at, f"Frame {number}", "give one layout, its frames in order")
    seen: dict[object, Seen] = {}
    for item in section.literal(lambda rest: rest[0] in "-#").as_list(f"a list {_FRAME}"):
        fields = item.as_dict("an object {'id': 0, 'name': 'ball', 'box': [x, y, width, height]}")
        name, box = fields.get("name", fields.get("keyword")), fields.get("box")
        if name is None or box is None or "id" not in fields:
            raise item.error("an object with id, name and box")
        thing = _read_id(fields["id"])
        if thing in seen:
            raise item.error(
                f"the id {excerpt(str(thing))} once in a frame", "give each object an id of its own"
            )
        seen[thing] = _read_seen(name.as_text("a name"), box)
    return seen


def _read_id(value: Value) -> object:
    if isinstance(value.data, str):
        return value.as_text("an id")
    return value.as_number("an id, a number")


def _read_seen(name: str, box: Value) -> Seen:
    expected = f"[x, y, width, height] on a canvas of {CANVAS} x {CANVAS}"
    x, y, width, height = box.as_numbers(4, expected)
    if width < 0 or height < 0 or max(map(abs, (x, y, width, height))) > 10 * CANVAS:
        raise box.error(expected)
    edges = (edge / CANVAS for edge in (x, y, x + width, y + height))
    return Seen(name, cut_box(*edges))
