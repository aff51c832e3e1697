"""AnimateDiff-Evolved's CameraCtrl as Apply CameraCtrl, and its moves as Camera Presets.

There, moves that are joined repeat a frame: the first pose of a later one is the last one before it. So the camera
stands still for that frame here.
"""

from __future__ import annotations

from .graph import Link, Node
from .rules import part
from .targets import APPLY_CAMERA, CAMERA
from .values import find_multival
from .work import Work

APPLY_WITH, LOAD_WITH = "ADE_ApplyAnimateDiffModelWithCameraCtrl", "ADE_LoadAnimateDiffModelWithCameraCtrl"
_BASIC, _APPEND = "ADE_CameraPoseBasic", "ADE_CameraManualPoseAppend"
_COMBINED = ("ADE_CameraPoseCombo", "ADE_CameraPoseAdvanced")
_MOST_SPEED = 100.0
_INSTEAD = "Instead: by hand, Camera Presets or Camera Poses From Text, and Apply CameraCtrl."

part(APPLY_WITH, LOAD_WITH, here="Load Motion Module, Apply Motion Module, Apply CameraCtrl",
     but="near: the same poses and sums, not held against its latents; not possible for a strength by mask or by a "
         "link")  # fmt: skip
part(
    _BASIC,
    *_COMBINED,
    _APPEND,
    here="Camera Presets",
    but="not possible: numbers by a link, speeds above 100",
)


def put_camera(work: Work, node: Node, at: Node, loader: Node, model: Link) -> Link:
    """Let a model draw what a camera sees, where the node that applies the motion model has one.

    Args:
        work: graph that is changed.
        node: node that gives the model.
        at: node that applies the motion model.
        loader: node that loads it, with the camera's encoder.
        model: link to the model.

    Returns:
        A link to the model with it.
    """
    if at.kind != APPLY_WITH:
        return model
    ways: list[Node] = []
    moves = _moves(work, work.part(at, "cameractrl_poses"), ways)
    strength = _strength(work, work.part(at, "cameractrl_multival"))
    lines = None if moves is None else _lines(moves)
    if moves is None or lines is None or strength is None or loader.kind != LOAD_WITH:
        why = "its poses, its strength or its file can't be read; the motion module is applied without the camera."
        work.say(at, "not possible", f"{why} {_INSTEAD}")
        return model
    count, frames = sum(length for _, length in moves), work.frames(node)
    if frames is not None and frames > count:
        lines += f"\n{max(count - 1, 0)}: static" if moves[-1][1] > 1 else ""
    poses = work.new(CAMERA, ways[0], frames=max(count, frames or 0), moves=lines)
    for each in ways:
        work.say(work.take(each), "exact", work.title(poses))
    made = work.new(
        APPLY_CAMERA, at, model=model, poses=Link(poses.id, 0), file=work.pass_on(loader, "camera_ctrl", ""),
        strength=strength, start_percent=work.pass_on(at, "start_percent", 0.0),
        end_percent=work.pass_on(at, "end_percent", 1.0),
    )  # fmt: skip
    made.mode = node.mode
    lost = "" if frames is not None else f"; raise its poses' frames if the clip has more than {count}"
    work.say(at, "near", f"{work.title(made)}, by the same poses and sums{lost}")
    return Link(made.id, 0)


def _moves(work: Work, poses: Node | None, ways: list[Node]) -> list[tuple[str, int]] | None:
    """Return moves as Camera Presets names them, each with its number of frames; None where they can't be read.

    Args:
        work: graph.
        poses: node that gives the last of them.
        ways: list to which the nodes that were read are added.
    """
    if poses is None or poses in ways:
        return None
    ways.append(poses)
    if poses.kind == _APPEND:
        parts = [_moves(work, work.part(poses, name), ways) for name in ("poses_first", "poses_last")]
        return None if parts[0] is None or parts[1] is None else parts[0] + parts[1]
    if poses.kind == _BASIC:
        names = [(work.read(poses, "motion_type", "Static"), 1.0)]
    elif poses.kind in _COMBINED:
        names = [(work.read(poses, f"motion_type{number}", "Static"), work.read(poses, f"strength{number}", 1.0))
                 for number in range(1, 7)]  # fmt: skip
    else:
        return None
    speed, length = work.read(poses, "speed", 1.0), work.read(poses, "frame_length", 16)
    before = [] if "prev_poses" not in poses.inputs else _moves(work, work.part(poses, "prev_poses"), ways)
    values = [value for _, value in names]
    if before is None or any(
        isinstance(each, Link) for each in (speed, length, *values, *(name for name, _ in names))
    ):
        return None
    speeds = [(str(name).lower(), speed * value) for name, value in names if name != "Static"]
    if length < 1 or any(abs(each) > _MOST_SPEED for _, each in speeds):
        return None
    text = ", ".join(f"{name} {f'{each:.6f}'.rstrip('0').rstrip('.')}" for name, each in speeds)
    return [*before, (text or "static", int(length))]


def _lines(moves: list[tuple[str, int]]) -> str:
    """Return moves one after another as lines of Camera Presets."""
    lines: list[str] = []
    start = 0
    for number, (text, length) in enumerate(moves):
        lines.append(f"{start}: {text if length > 1 else 'static'}")
        if length > 1 and number < len(moves) - 1:
            lines.append(f"{start + length - 1}: static")
        start += length
    return "\n".join(lines)


def _strength(work: Work, multival: Node | None) -> str | None:
    """Return the camera's strength by frame; None where it can't be read."""
    value = None if multival is None else find_multival(work, work.take(multival))
    if multival is None:
        return "1"
    if value is None or value.mask is not None or isinstance(value.number, Link):
        return None
    work.say(multival, "exact", "Apply CameraCtrl's strength")
    return value.by_frame or f"{value.number:g}"
