"""Paths along which zero-shot video moves."""

from __future__ import annotations

from typing import Any

from ...host import api
from ...models.storyboard.scenes import Entity, Storyboard
from ...models.zero_shot.motion_path import follow_track, interpolate, parse_keyframes, translation
from ..drawing.plot import draw_path
from ..early import UNLINKED, check_early
from ..sockets import PathType, StoryboardType
from ..widgets import choice, line, lines, number, out, schema, size, socket, whole

io = api.io

KINDS = ("translation", "camera", "keyframes", "storyboard track")
PAPER_CANVAS, OWN_CANVAS = "512 x 512 (paper)", "the picture"


class MotionPath(io.ComfyNode):
    """Say how the picture moves from frame to frame.

    translation is Text2Video-Zero's global motion field; camera pans, zooms and turns evenly from the first
    frame to the last; keyframes does so between the lines you write; storyboard track follows an entity's
    boxes. The picture output draws where the first frame lies in each frame. In the editor keyframes are
    drawn, too: drag the picture, its corners or its handle, and the lines are written.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Motion Path", "zero-shot",
            aliases=[
                "camera pan", "camera zoom",
                "Text2Video-Zero", "motion_field_strength", "camera motion", "pan", "zoom", "optical flow",
            ],
            inputs=[
                choice("kind", KINDS, "Kind of path. It says which of the settings below are used."),
                whole("frames", 8, 1, 100_000, "Length of the path, in frames; as many as the video."),
                number("motion_field_strength_x", 12.0, -10_000.0, 10_000.0, 0.5,
                    "Pixels a frame, for translation. Positive moves the picture left, as in the reference "
                    "code: it is the way of the camera."),
                number("motion_field_strength_y", 12.0, -10_000.0, 10_000.0, 0.5,
                    "Pixels a frame, for translation. Positive moves the picture up."),
                choice("canvas", [PAPER_CANVAS, OWN_CANVAS],
                    "Canvas that translation's pixels are measured on. The reference takes 512 x 512 "
                    "whatever the picture's size, so 12 is 12/512 of the width; the picture takes width and "
                    "height below."),
                *size("for its canvas and the drawing"),
                number("move_right", 0.0, -100.0, 100.0, 0.01,
                    "Distance that the picture has moved to the right by the last frame, as a share of its "
                    "width, for camera."),
                number("move_down", 0.0, -100.0, 100.0, 0.01,
                    "Distance that the picture has moved down by the last frame, as a share of its height, "
                    "for camera."),
                number("zoom", 1.0, 0.01, 100.0, 0.01,
                    "Magnification in the last frame, for camera; 2 is twice as large."),
                number("angle", 0.0, -3600.0, 3600.0, 1.0,
                    "Degrees by which the picture is turned clockwise in the last frame, for camera."),
                lines("keyframes", "0: 0 0\n7: 0.25 0 1.2",
                    "Lines of keyframes, for keyframes: `frame: right down zoom angle`, in camera's units; "
                    "zoom and angle may be left out. # begins a remark."),
                socket(StoryboardType, "storyboard",
                    "A storyboard with the entity's boxes, for storyboard track.", optional=True),
                whole("scene", 0, 0, 100_000, "Id of the scene, for storyboard track.", optional=True),
                line("entity", "",
                    "Id of the entity, for storyboard track; empty takes the first that has "
                    "boxes.", optional=True),
            ],
            outputs=[
                out(PathType, "path", "The path, for Noise Warp and Zero Shot Sampler."),
                out(io.Image, "picture",
                    "A picture of where the first frame lies in each frame, from blue to red."),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(
        cls, kind: str | None, frames: int | None, keyframes: str | None, storyboard: Any = UNLINKED
    ) -> bool | str:
        """Refuse what the chosen kind can't be made of."""
        return check_early(_check_kind, kind, frames, keyframes, storyboard is not UNLINKED)

    @classmethod
    def execute(
        cls,
        kind: str,
        frames: int,
        motion_field_strength_x: float,
        motion_field_strength_y: float,
        canvas: str,
        width: int,
        height: int,
        move_right: float,
        move_down: float,
        zoom: float,
        angle: float,
        keyframes: str,
        storyboard: Storyboard | None = None,
        scene: int = 0,
        entity: str = "",
    ) -> io.NodeOutput:
        """Run the node."""
        if kind == "translation":
            own = (width, height) if canvas == OWN_CANVAS else None
            path = translation(frames, motion_field_strength_x, motion_field_strength_y, own)
        elif kind == "camera":
            start, end = (0.0, 0.0, 1.0, 0.0), (move_right, move_down, zoom, angle)
            path = interpolate(frames, {0: start, max(frames - 1, 1): end})
        elif kind == "keyframes":
            path = interpolate(frames, parse_keyframes(keyframes))
        else:
            path = follow_track(frames, _find_entity(storyboard, scene, entity))
        return io.NodeOutput(path, draw_path(path.corners(width, height), width, height))


def _check_kind(kind: str, frames: int, keyframes: str, has_storyboard: bool) -> None:
    if kind == "keyframes":
        interpolate(frames, parse_keyframes(keyframes))
    elif kind == "storyboard track" and not has_storyboard:
        _find_entity(None, 0, "")


def _find_entity(storyboard: Storyboard | None, scene_id: int, name: str) -> Entity:
    """Return a storyboard's entity."""
    if storyboard is None:
        raise ValueError(
            "storyboard: nothing is connected; expected a storyboard for kind='storyboard track'; connect one."
        )
    scenes = {scene.id: scene for scene in storyboard.scenes}
    if scene_id not in scenes:
        raise ValueError(f"scene={scene_id} is not in the storyboard; expected one of {sorted(scenes)}.")
    entities = scenes[scene_id].entities
    found = [entity for entity in entities if (entity.id == name if name else entity.track)]
    if not found:
        ids = ", ".join(repr(entity.id) for entity in entities) or "none"
        raise ValueError(
            f"entity={name!r} is not in scene {scene_id}, or none there has boxes; expected one of: {ids}; choose one."
        )
    return found[0]


NODES: list[type] = [MotionPath]
