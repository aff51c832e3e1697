"""Both formats of Storyboard20K (Xie et al. 2024): the points of bodies, and key shots to tracks and back.

A storyboard of theirs is one scene of ours, and each key shot is a keyframe. Characters have keypoints and objects have
none. So an entity with keypoints, even if none is seen, is written as a character, and any other as an object. A name
in two key shots is one entity. If a name is several times in one shot, the first there is the first in other shots.
Lengths are parts of the picture's longer side, which is 512 in the lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ...models.storyboard.scenes import Box, Point, Scene, Storyboard
from .literal import Value
from .tracks import MAX_KEYFRAMES, Points, Seen, box_around, cut_box, numbered

CANVAS = 512

# The first 17 of COCO-WholeBody's 133 points.
BODY_17 = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
WHOLE_BODY = 133
# The longest lines have 93 points. The first 12 are the body from shoulders to ankles; feet, face and hands follow.
BODY_12, PART_BODY = BODY_17[5:], 93


class Shot(NamedTuple):
    """The bodies and things of a key shot.

    Attributes:
        characters: bodies, with the box or points that are known.
        objects: things that are not bodies.
    """

    characters: list[Seen]
    objects: list[Seen]

    def keyframe(self, scene_id: int) -> dict[object, Seen]:
        """Return the things by keys that tell them apart. Objects of two scenes are never the same."""
        return {
            (kind, *key): each
            for kind, found in ((None, self.characters), (scene_id, self.objects))
            for key, each in zip(numbered(each.text for each in found), found, strict=True)
        }


def read_resolution(fields: dict[str, Value], default: tuple[int, int]) -> tuple[int, int]:
    """Return the width and height of a storyboard's picture. ``default``: those where its fields have none."""
    if "resolution" not in fields:
        return default
    value = fields["resolution"]
    expected = "[height, width], 8 pixels or more"
    height, width = value.as_numbers(2, expected)
    if not all(isinstance(side, int) and 8 <= side <= 100_000 for side in (height, width)):
        raise value.error(expected)
    return int(width), int(height)


def read_named(shot: Value) -> list[tuple[str, Value]]:
    """Return the names and values in a key shot, ``[{name: value}, ...]``."""
    return [
        (name.strip() or "person", value)
        for item in shot.as_list("a list of {name: numbers}")
        for name, value in item.as_dict("{name: numbers}").items()
    ]


def scale_box(edges: Sequence[float], size: tuple[int, int]) -> Box | None:
    """Return a box in parts of the picture's sides, cut at its edges; None: it is outside.

    ``edges`` are left, top, right and bottom in parts of the longer side.
    """
    across, down = (max(size) / side for side in size)
    return cut_box(edges[0] * across, edges[1] * down, edges[2] * across, edges[3] * down)


def body_points(names: Sequence[str], pairs: Sequence[Point], size: tuple[int, int]) -> Points:
    """Return the points of a body by OpenPose's names. The neck is halfway between the shoulders.

    ``pairs`` are (x, y) in parts of the longer side; one that isn't seen has a zero.
    """
    across, down = (max(size) / side for side in size)
    found = {
        name: (x * across, y * down)
        for name, (x, y) in zip(names, pairs, strict=True)
        if 0 < x * across <= 1 and 0 < y * down <= 1
    }
    if "left_shoulder" in found and "right_shoulder" in found:
        (left, top), (right, bottom) = found["left_shoulder"], found["right_shoulder"]
        found["neck"] = (left + right) / 2, (top + bottom) / 2
    return found


def shots_of(storyboard: Storyboard, name: str) -> Iterator[tuple[Scene, list[Shot]]]:
    """Yield each scene with its key shots, the frames at which an entity has a key. Boxes are in parts of the picture.

    Raises:
        ValueError: a scene has more than ``MAX_KEYFRAMES`` of them; begins with ``name``, the format's.
    """
    for scene in storyboard.scenes:
        keys = (key.f for entity in scene.entities for key in (*entity.track, *(entity.keypoints or ())))
        frames = sorted(set(keys)) or [0]
        if len(frames) > MAX_KEYFRAMES:
            raise ValueError(
                f"{name} scene {scene.id}: got {len(frames)} key shots; expected at most {MAX_KEYFRAMES}; use fewer "
                "keys."
            )
        shots = [Shot([], []) for _ in frames]
        for entity in scene.entities:
            boxes, present = entity.boxes_at(frames)
            for shot, frame, place, here in zip(shots, frames, boxes, present, strict=True):
                points = None if entity.keypoints is None else entity.points_at(frame)
                if here or points:
                    left, top, right, bottom = map(float, place)
                    box = (left, top, right, bottom) if here else box_around((points or {}).values())
                    seen = Seen(entity.text, box, points)
                    (shot.objects if points is None else shot.characters).append(seen)
        for shot in shots:  # Storyboard20K's tools pair boxes and points by their order
            shot.characters.sort(key=lambda each: each.box is None)
        yield scene, shots
