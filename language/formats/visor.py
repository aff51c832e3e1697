"""The sequences that VisorGPT samples (Xie et al. 2023): boxes, keypoints or masks as words and integers.

``type; kind; size; number; keypoints;`` and then, as style Ta, ``names ; [ ... ] [ ... ]``, or as style Tb, ``[ name
... ] [ name ... ]``. In the brackets of a box stands ``xmin 1 ymin 2 xmax 3 ymax 4``, of a body ``a x y b x y ...``
with 18 points (OpenPose's) or 14 (CrowdPose's), of a mask ``m0 x y m1 x y ...``. A mask is read as the box around it; a
body is read as its points and the box around them. The canvas is 512 x 512. Each line is a sequence, and becomes a
scene in which everything stands still, since these are layouts of pictures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest
from typing import NamedTuple

from ...models.storyboard.keypoints import BODY_POINTS
from ...models.storyboard.scenes import Box, Ids, Scene, Storyboard
from .source import Source, TextError, excerpt
from .tracks import Points, Seen, Settings, box_around, build_scene, build_storyboard, cut_box

CANVAS = 512
# The 14 points of CrowdPose that VisorGPT writes. The 13th, the top of the head, is not one of OpenPose's.
CROWD_POINTS = (
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip",
    "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "", "neck",
)  # fmt: skip
_POINTS = {18: BODY_POINTS, 14: CROWD_POINTS}
_EDGES = ("xmin", "ymin", "xmax", "ymax")
_TAGS = {"box": "xmin", "key point": "a", "mask": "m0"}  # first word behind a name
_NUMBER = re.compile(r"[0-9]{1,3}")


class _Line(NamedTuple):
    """A sequence and its place in the text."""

    source: Source
    at: int
    text: str

    def error(self, expected: str, advice: str, got: str = "") -> TextError:
        return self.source.error(self.at, expected, advice, excerpt(got) if got else "")


def read_visor(source: Source, settings: Settings) -> Storyboard:
    """Read sequences, one in each line; the canvas is the whole picture."""
    ids = Ids()
    scenes: list[Scene] = []
    for number, (at, text) in enumerate(source.lines(), 1):
        seen = {(number, place): each for place, each in enumerate(_read_sequence(_Line(source, at, text)))}
        scenes.append(build_scene(source, at, [seen], settings, ids, scene_id=number))
    if not scenes:
        raise source.error(0, "box; multiple instances; large; 1; 0; ...", "give a sequence")
    return build_storyboard(source, scenes, settings)


def _read_sequence(line: _Line) -> Iterator[Seen]:
    text, closed, _ = line.text.replace(" ##", "").replace("[CLS]", "").partition("[SEP]")
    fields = [part.strip() for part in text.split(";", 5)]
    if len(fields) < 6 or fields[0] not in _TAGS:
        raise line.error(
            "box, key point or mask; kind; size; number; keypoints; names", "give the whole sequence"
        )
    number, points = _integer(line, fields[3]), _integer(line, fields[4])
    if fields[0] == "key point" and points not in _POINTS:
        raise line.error("18 or 14 keypoints", "give a sequence of those", fields[4])
    names, groups = _read_groups(line, fields[5], _TAGS[fields[0]])
    if not closed and len(groups) < number:
        raise line.error(f"{number} brackets or [SEP] (there are {len(groups)})", "give the whole sequence")
    if fields[0] == "mask":
        groups = [part for group in groups for part in _split_masks(group)]
    for name, group in zip_longest(names, groups):
        if name is None or group is None:
            counts = f"(there are {len(names)} and {len(groups)})"
            raise line.error(f"as many names as layouts {counts}", "sample another sequence")
        if fields[0] == "box":
            yield Seen(name, _read_box(line, group))
        elif fields[0] == "mask":
            yield Seen(name, _read_mask(line, group))
        else:
            yield _read_body(line, name, group, _POINTS[points])


def _read_groups(line: _Line, text: str, tag: str) -> tuple[list[str], list[list[str]]]:
    """Return names, and the words in brackets, of both styles."""
    listed, bracket, rest = text.partition("[")
    parts = (bracket + rest).split("]")
    if parts.pop().strip() or not parts or not all(part.lstrip().startswith("[") for part in parts):
        raise line.error("[ ... ] around each layout", "give the whole sequence", text)
    groups = [part.lstrip()[1:].split() for part in parts]
    if listed.strip():
        return [name for part in listed.rstrip("; ").split(",") if (name := part.strip())], groups
    names: list[str] = []
    for group in groups:
        length = group.index(tag) if tag in group else 0
        if not length:
            raise line.error(f"[ name {tag} ...", "give the whole sequence", " ".join(group))
        names.append(" ".join(group[:length]))
        del group[:length]
    return names, groups


def _split_masks(group: list[str]) -> Iterator[list[str]]:
    starts = [place for place, word in enumerate(group) if word == "m0"] or [0]
    for start, stop in zip([0, *starts[1:]], [*starts[1:], len(group)], strict=True):
        yield group[start:stop]


def _integer(line: _Line, word: str) -> int:
    if not _NUMBER.fullmatch(word) or int(word) > CANVAS:
        raise line.error(f"an integer 0..{CANVAS}", "sample another sequence", word)
    return int(word)


def _read_box(line: _Line, group: list[str]) -> Box:
    if tuple(group[::2]) != _EDGES or len(group) != 8:
        raise line.error("xmin 1 ymin 2 xmax 3 ymax 4", "sample another sequence", " ".join(group))
    left, top, right, bottom = (_integer(line, word) / CANVAS for word in group[1::2])
    box = cut_box(left, top, right, bottom)
    if box is None:
        raise line.error("a box with xmin < xmax and ymin < ymax", "sample another sequence", " ".join(group))
    return box


def _read_pairs(line: _Line, group: list[str], tags: list[str]) -> list[tuple[float, float]]:
    if group[::3] != tags or len(group) != 3 * len(tags) or not tags:
        expected = f"{' x y '.join(tags[:3] or ['m0'])} x y ..., {len(tags) or 'some'} points"
        raise line.error(expected, "sample another sequence", " ".join(group))
    xs, ys = ([_integer(line, word) / CANVAS for word in group[place::3]] for place in (1, 2))
    return list(zip(xs, ys, strict=True))


def _read_mask(line: _Line, group: list[str]) -> Box:
    box = box_around(_read_pairs(line, group, [f"m{place}" for place in range(len(group) // 3)]))
    if box is None:
        raise line.error("a mask with an area", "sample another sequence", " ".join(group))
    return box


def _read_body(line: _Line, name: str, group: list[str], names: tuple[str, ...]) -> Seen:
    pairs = _read_pairs(line, group, [chr(ord("a") + place) for place in range(len(names))])
    points: Points = {
        point: pair for point, pair in zip(names, pairs, strict=True) if point and 0 not in pair
    }
    if len(names) == 18 and not {"left_shoulder", "right_shoulder"} <= set(points):
        points.pop("neck", None)
    return Seen(name, box_around(points.values()), points)
