"""Draw storyboards: a frame with its labelled boxes, and a contact sheet of all scenes with captions."""

from __future__ import annotations

import colorsys
import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont

from ...models.storyboard.keypoints import LIMBS
from ...models.storyboard.scenes import Box, Entity, Scene, Storyboard
from .plot import COLOURS, INK

Rgb = tuple[int, int, int]

PAPER, CANVAS, EDGE, QUIET = (255, 255, 255), (243, 244, 246), (206, 210, 216), (105, 112, 122)
# Plot's three and others, as unlike each other as may be.
PALETTE: tuple[Rgb, ...] = (
    COLOURS[0], (213, 94, 0), COLOURS[2], (152, 78, 163), COLOURS[1], (86, 180, 233), (204, 51, 99), (121, 85, 61),
)  # fmt: skip
DETAIL = 2  # frames are drawn at this many times their size, for smooth edges
SHEET, CAPTION, GAP = 1440, 420, 20  # widths on the sheet, in pixels
THUMBNAIL = 300  # its frames' height at most
PROMPT_LINES, TEXT_LINES = 4, 2
SHEET_SCENES = 50  # on a sheet; a taller picture is of no use


def entity_colours(storyboard: Storyboard) -> dict[str, Rgb]:
    """Return a colour for each entity's id, in order of first appearance; the same in all scenes."""
    ids = dict.fromkeys(entity.id for scene in storyboard.scenes for entity in scene.entities)
    # Hues by the golden ratio never repeat.
    hues = (colorsys.hsv_to_rgb(place * 0.618034 % 1, 0.75, 0.8) for place in range(len(PALETTE), len(ids)))
    more: list[Any] = [tuple(round(255 * part) for part in hue) for hue in hues]
    return dict(zip(ids, [*PALETTE, *more], strict=False))


class FrameArtist:
    """Draws the frames of a storyboard.

    Args:
        storyboard: storyboard to draw.
        longer_side: longer side of a picture, in pixels; its shape is the storyboard's.
    """

    def __init__(self, storyboard: Storyboard, longer_side: int) -> None:
        width, height = (max(8, round(side * longer_side / max(storyboard.size))) for side in storyboard.size)
        self.size = width, height
        self.canvas = width * DETAIL, height * DETAIL
        self.colours = entity_colours(storyboard)
        self.font = _font(max(11 * DETAIL, round(min(self.canvas) / 30)))
        self.line = max(DETAIL + 1, round(min(self.canvas) / 170))

    def draw(self, scene: Scene, frames: Sequence[int]) -> Iterator[Image.Image]:
        """Draw frames of a scene: boxes, the way ahead of them, keypoints, labels and what the frame is called."""
        tracks = {entity.id: self._track(entity, scene.frames) for entity in scene.entities}
        for frame in frames:
            picture = Image.new("RGB", self.canvas, CANVAS)
            pen = ImageDraw.Draw(picture, "RGBA")
            self._draw_thirds(pen)
            boxes = {name: box for name, track in tracks.items() if (box := track[frame])}
            for name, box in boxes.items():
                colour = self.colours[name]
                pen.rectangle(box, fill=(*colour, 46), outline=colour, width=self.line)
            for name in boxes:
                self._draw_way(pen, [each for each in takewhile(bool, tracks[name][frame:]) if each], name)
            for entity in scene.entities:
                self._draw_points(pen, entity, frame)
            title = f"scene {scene.id}   {frame + 1}/{scene.frames}"
            taken = [self._chip(pen, title, self.canvas, INK)]
            for name, box in sorted(boxes.items(), key=lambda each: each[1][1]):
                taken.append(self._label(pen, name, box, taken))
            yield picture.resize(self.size, Image.Resampling.LANCZOS)

    def _track(self, entity: Entity, frames: int) -> list[Box | None]:
        """Return an entity's box in each frame, in pixels of the canvas; None: absent."""
        boxes, present = entity.boxes_at(frames)
        places = (boxes * torch.tensor(self.canvas * 2)).tolist()
        return [
            (left, top, max(left, right - 1), max(top, bottom - 1)) if there else None
            for (left, top, right, bottom), there in zip(places, present.tolist(), strict=True)
        ]

    def _draw_thirds(self, pen: ImageDraw.ImageDraw) -> None:
        width, height = self.canvas
        for part in (1 / 3, 2 / 3):
            pen.line((width * part, 0, width * part, height), fill=EDGE, width=DETAIL)
            pen.line((0, height * part, width, height * part), fill=EDGE, width=DETAIL)

    def _draw_way(self, pen: ImageDraw.ImageDraw, boxes: Sequence[Box], name: str) -> None:
        """Draw where a box's middle goes, with a dot where it ends."""
        middles = [((left + right) / 2, (top + bottom) / 2) for left, top, right, bottom in boxes]
        dot, colour = 2 * self.line, self.colours[name]
        if max(math.dist(middles[0], middle) for middle in middles) > dot:
            pen.line(middles, fill=(*colour, 170), width=self.line)
            x, y = middles[-1]
            pen.ellipse((x - dot, y - dot, x + dot, y + dot), fill=colour, outline=PAPER, width=DETAIL)

    def _draw_points(self, pen: ImageDraw.ImageDraw, entity: Entity, frame: int) -> None:
        width, height = self.canvas
        places = {name: (x * width, y * height) for name, (x, y) in entity.points_at(frame).items()}
        dot, colour = 1.5 * self.line, self.colours[entity.id]
        for start, stop in LIMBS:
            if start in places and stop in places:
                pen.line((places[start], places[stop]), fill=colour, width=self.line)
        for x, y in places.values():
            pen.ellipse((x - dot, y - dot, x + dot, y + dot), fill=PAPER, outline=colour, width=DETAIL)

    def _label(self, pen: ImageDraw.ImageDraw, name: str, box: Box, taken: Sequence[Box]) -> Box:
        """Write an entity's id at its box, where no label is yet if there is such a place."""
        (text,) = _wrap(name, self.font, self.canvas[0] * 0.6, 1)
        width, height = self._chip_size(text)
        left, top, right, bottom = box
        corners = [(left, top), (left, top - height), (left, bottom - height), (left, bottom)]
        if right - left < width or bottom - top < 2 * height:  # it would hide the box
            corners[:2] = corners[1::-1]
        corners += [(right - width, top), (right - width, bottom - height)]
        corners += [(left, top + place * height) for place in range(1, 4)]
        places: list[Box] = []
        for x, y in corners:
            x = max(0.0, min(x, self.canvas[0] - width))
            y = max(0.0, min(y, self.canvas[1] - height))
            places.append((x, y, x + width, y + height))
        free = (each for each in places if not any(_overlap(each, other) for other in taken))
        return self._chip(pen, text, next(free, places[0])[2:], self.colours[name])

    def _chip_size(self, text: str) -> tuple[float, float]:
        return self.font.getlength(text) + 0.8 * self.font.size, 1.5 * self.font.size

    def _chip(self, pen: ImageDraw.ImageDraw, text: str, corner: tuple[float, float], colour: Rgb) -> Box:
        """Write on a coloured ground whose right and bottom ends are at a corner; return where that is."""
        width, height = self._chip_size(text)
        left, top, right, bottom = place = corner[0] - width, corner[1] - height, *corner
        pen.rectangle(place, fill=colour)
        red, green, blue = colour
        ink = INK if 0.299 * red + 0.587 * green + 0.114 * blue > 150 else PAPER
        pen.text(((left + right) / 2, (top + bottom) / 2), text, fill=ink, font=self.font, anchor="mm")
        return place


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@cache
def _font(size: int) -> Any:  # ImageFont.FreeTypeFont; Pillow's own, there in every installation
    return ImageFont.load_default(size)


def _wrap(text: str, font: Any, width: float, most: int) -> list[str]:
    """Return a text in lines of a width, cut after ``most`` lines, in the middle of a word where one is too long."""
    # No letter is narrower than a pixel, so there is no need to look further.
    lines, rest = [], " ".join(text.split())[: most * round(width)]
    while rest and len(lines) < most:
        fits = bisect_right(range(1, len(rest) + 1), width, key=lambda count: font.getlength(rest[:count]))
        if fits < len(rest):
            space = rest.rfind(" ", 1, fits + 1)
            if len(lines) == most - 1:
                lines.append(rest[: max(1, fits - 2)].rstrip() + "...")
                break
            fits = space if space > 0 else max(1, fits)
        lines.append(rest[:fits].rstrip())
        rest = rest[fits:].lstrip()
    return lines or [""]


def draw_sheet(storyboard: Storyboard, columns: int) -> Image.Image:
    """Draw all scenes on one picture: a row each, captions on the left, ``columns`` of its frames on the right."""
    room = (SHEET - CAPTION - GAP * (columns + 2)) / columns
    wide, high = storyboard.size
    artist = FrameArtist(storyboard, round(min(room / wide, THUMBNAIL / high) * max(wide, high)))
    width, height = artist.size
    head = _head(storyboard)
    captions = [
        (scene, _caption(storyboard, scene, artist.colours)) for scene in storyboard.scenes[:SHEET_SCENES]
    ]
    rows = sum(max(caption.height, height) + 2 * GAP for _, caption in captions)
    sheet = Image.new("RGB", (SHEET, head.height + 2 * GAP + rows), PAPER)
    sheet.paste(head, (GAP, GAP))
    pen, y = ImageDraw.Draw(sheet), head.height + 2 * GAP
    for scene, caption in captions:
        pen.line((GAP, y, SHEET - GAP, y), fill=EDGE)
        y += GAP
        sheet.paste(caption, (GAP, y))
        shown = [round(place * (scene.frames - 1) / max(1, columns - 1)) for place in range(columns)]
        for place, picture in enumerate(artist.draw(scene, list(dict.fromkeys(shown)))):
            x = CAPTION + 2 * GAP + place * (width + GAP)
            sheet.paste(picture, (x, y))
            pen.rectangle((x, y, x + width - 1, y + height - 1), outline=EDGE)
        y += max(caption.height, height) + GAP
    return sheet


@dataclass(frozen=True)
class _Line:
    """Some text of a caption. ``mark``: a square of that colour before it, hollow if there are no boxes."""

    text: str
    size: int = 15
    colour: Rgb = INK
    most: int = TEXT_LINES
    mark: Rgb | None = None
    hollow: bool = False

    @property
    def indent(self) -> int:
        return 24 if self.mark else 0

    @property
    def height(self) -> int:
        return round(1.35 * self.size)


def _write(lines: Sequence[_Line], width: int) -> Image.Image:
    """Write lines of text below each other; the picture is as high as they are."""
    wrapped = [_wrap(line.text, _font(line.size), width - line.indent, line.most) for line in lines]
    total = sum(len(part) * line.height + 6 for line, part in zip(lines, wrapped, strict=True))
    picture = Image.new("RGB", (width, total), PAPER)
    pen, y = ImageDraw.Draw(picture), 0
    for line, part in zip(lines, wrapped, strict=True):
        if line.mark:
            square = (0, y + 2, 14, y + 16)
            pen.rectangle(square, outline=line.mark, width=2, fill=None if line.hollow else line.mark)
        for text in part:
            pen.text((line.indent, y), text, fill=line.colour, font=_font(line.size))
            y += line.height
        y += 6
    return picture


def _head(storyboard: Storyboard) -> Image.Image:
    frames, (width, height) = sum(scene.frames for scene in storyboard.scenes), storyboard.size
    scenes = len(storyboard.scenes)
    facts = [
        f"{scenes} scene{'s' * (scenes != 1)}",
        f"{frames} frames, {frames / storyboard.fps:.3g} s at {storyboard.fps:g} fps",
        f"{width} x {height}",
        *([f"the first {SHEET_SCENES} are shown"] if scenes > SHEET_SCENES else []),
        _origin(storyboard),
    ]
    return _write([_Line("Storyboard", 26), _Line("   |   ".join(facts), 15, QUIET)], SHEET - 2 * GAP)


def _origin(storyboard: Storyboard) -> str:
    origin = storyboard.provenance
    if origin is None:
        return "planner unknown"
    seed = "" if origin.seed is None else f"seed {origin.seed}"
    details = ", ".join(filter(None, [origin.model, origin.format, seed]))
    return f"planner: {origin.planner}" + f" ({details})" * bool(details)


def _caption(storyboard: Storyboard, scene: Scene, colours: Mapping[str, Rgb]) -> Image.Image:
    length = f"{scene.frames} frames, {scene.frames / storyboard.fps:.3g} s"
    lines = [_Line(f"Scene {scene.id}", 20), _Line(length, 14, QUIET)]
    if scene.prompt:
        lines.append(_Line(scene.prompt, most=PROMPT_LINES))
    if scene.background:
        also = _also_in(storyboard, scene, scene.background)
        lines.append(_Line(f"background: {scene.background}{also}", 14, QUIET))
    for entity in scene.entities:
        text = f"{entity.id}: {entity.text}{_also_in(storyboard, scene, entity.id)}"
        lines.append(_Line(text, 14, mark=colours[entity.id], hollow=not entity.track))
    return _write(lines, CAPTION)


def _also_in(storyboard: Storyboard, scene: Scene, name: str) -> str:
    """Say in which other scenes something looks the same."""
    members = storyboard.groups.get(name, ())
    others = [str(member) for member in members if member != scene.id] if scene.id in members else []
    return f" (same in {', '.join(others)})" if others else ""
