"""Cameras: ways to say how one moves, and CameraCtrl, which draws what it sees."""

from __future__ import annotations

from typing import Any, get_args

from ...host import api
from ...models.edits.edit import Edit
from ...models.files.weight_file import fingerprint
from ...models.motion.camera import CANVAS, CameraPoses, read_poses
from ...models.motion.camera_checkpoint import WANTED, read_camera_weights
from ...models.motion.camera_ctrl import CameraEdit
from ...models.motion.camera_moves import Zoom, follow_picture, move_camera, outlines, parse_moves
from ...models.network.family import check_offered
from ...models.video.curve import frame_curve
from ...models.zero_shot.motion_path import MotionPath
from ..drawing.plot import draw_path
from ..early import check_early, check_kind, check_range
from ..sockets import CameraType, PathType
from ..widgets import choice, found, lines, number, out, percent, schema, size, socket, whole
from .modules import MODULE_FILES

io = api.io

NAME = "CameraCtrl"
DEPTH = 4.0
"""Distance of the plane that pictures of poses show; at speed 1 the presets come as near as 1.2."""


def _outputs(depth: str) -> list[Any]:
    """Return the outputs of a node that makes poses."""
    return [
        out(CameraType, "poses", "The camera of each frame, for Apply CameraCtrl."),
        out(io.Image, "picture", f"A picture of where what fills the first frame, at {depth}, lies in each frame, from "
            "blue to red."),
    ]  # fmt: skip


def _answer(poses: CameraPoses, width: int, height: int, depth: float = DEPTH) -> io.NodeOutput:
    return io.NodeOutput(poses, draw_path(outlines(poses, (height, width), depth), width, height))


class CameraPresets(io.ComfyNode):
    """Move a camera by names: pan, tilt, zoom and roll, together or one after another.

    A line is the frame at which moves begin, and the moves with their speeds. At speed 1 a pan goes 1.5 units in 16
    frames, a zoom 3, and a tilt or roll turns by 60 degrees, as in MotionCtrl and AnimateDiff-Evolved. Moves that come
    later begin where the camera is then, in the direction in which it looks.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Camera Presets", "motion",
            aliases=[
                "camera pan", "camera zoom", "camera move",
                "CameraCtrl", "MotionCtrl", "camera motion", "pan", "tilt", "zoom", "roll", "ADE_CameraPoseBasic",
                "ADE_CameraPoseCombo", "ADE_CameraPoseAdvanced", "ADE_CameraManualPoseAppend",
            ],
            inputs=[
                whole("frames", 16, 1, 100_000, "Number of frames of the clip."),
                lines("moves", "0: pan left 1",
                    "Lines of `frame: move speed, move speed`. Moves of one line go on together until the next line's "
                    "begin. Moves: static; pan up, down, left, right; tilt up, down, left, right; zoom in, out; roll "
                    "clockwise, anticlockwise. # begins a remark."),
            ],
            outputs=_outputs("depth 4"),
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, moves: str | None) -> bool | str:
        """Refuse what is no move."""
        return check_early(parse_moves, moves)

    @classmethod
    def execute(cls, frames: int, moves: str) -> io.NodeOutput:
        """Run the node."""
        return _answer(move_camera(frames, parse_moves(moves)), *CANVAS)


class CameraPosesFromText(io.ComfyNode):
    """Read the camera of each frame from a text in RealEstate10K's or MotionCtrl's form.

    RealEstate10K: after a first line with an address, each line has 19 numbers: time; focal lengths and centre as
    shares of the picture's sides (fx, fy, cx, cy); two that are 0, or the video's width and height; and the 3 x 4 view
    from world to camera, row by row. MotionCtrl: a list in JSON with the twelve numbers of a view for each frame; its
    camera gets the lens of Camera Presets. CameraCtrl and MotionCtrl are told views from the first frame's camera on.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Camera Poses From Text", "motion",
            aliases=[
                "camera pan",
                "RealEstate10K", "CameraCtrl", "MotionCtrl", "trajectory", "ADE_LoadCameraPoses",
                "ADE_LoadCameraPosesFromPath", "ADE_LoadMotionCtrlCameraPosesFromFile",
                "ADE_ReplaceCameraParameters", "ADE_ReplaceOriginalPoseAspectRatio",
            ],
            inputs=[
                lines("text", None, "The text of a file of poses; paste it, or link a node that loads text."),
                whole("pose_width", CANVAS[0], 1, 100_000,
                    "Width of the video that RealEstate10K's poses were measured in; only the shape counts. A line's "
                    "own fields 6 and 7 come first, where they are above 0."),
                whole("pose_height", CANVAS[1], 1, 100_000, "Height of the video that the poses were measured in."),
            ],
            outputs=_outputs("depth 4"),
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, text: str | None, pose_width: int | None, pose_height: int | None) -> bool | str:
        """Refuse a line that is no pose."""
        return check_early(read_poses, text, pose_width, pose_height)

    @classmethod
    def execute(cls, text: str, pose_width: int, pose_height: int) -> io.NodeOutput:
        """Run the node."""
        return _answer(read_poses(text, pose_width, pose_height), pose_width, pose_height)


class CameraFromMotionPath(io.ComfyNode):
    """Make a camera of a Motion Path: what lies at a depth then goes the way that the path gives the picture.

    Nearer things go further, as before a real camera. So one path can drive Zero Shot Sampler and CameraCtrl alike.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Camera From Motion Path", "motion",
            aliases=["camera pan", "CameraCtrl", "camera motion", "keyframes", "Text2Video-Zero"],
            inputs=[
                socket(PathType, "path", "A path from Motion Path, with as many frames as the video."),
                *size("of the video; its shape counts"),
                number("depth", 1.0, 0.01, 1000.0, 0.01,
                    "Distance of what goes the path's way. Greater depths need a camera that goes further. The presets "
                    "at speed 1 are like a pan over one and a half widths at depth 1."),
                choice("zoom_by", get_args(Zoom),
                    "Way to enlarge. dolly: the camera comes closer, so near things grow faster. focal length: the "
                    "lens gets longer, and all grow alike."),
            ],
            outputs=_outputs("that depth"),
        )  # fmt: skip

    @classmethod
    def execute(cls, path: MotionPath, width: int, height: int, depth: float, zoom_by: Any) -> io.NodeOutput:
        """Run the node."""
        poses = follow_picture(path.move, path.zoom, path.angle, (height, width), depth, zoom_by)
        return _answer(poses, width, height, depth)


class ApplyCameraCtrl(io.ComfyNode):
    """Draw each frame as a camera sees it: CameraCtrl, on SD1.5 with AnimateDiff's v3 module.

    Put it behind Apply Motion Module. It was trained with v3's domain adapter in the model, at strength 1: load
    v3_sd15_adapter as a LoRA, too. Both prompts are told the camera. In every context window the camera starts anew at
    the first frame, so a steady pan goes on, and a way with turns does not. A size whose sides are no multiples of 64
    is fine: the cameras look beyond the picture's edge.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Apply CameraCtrl", "motion",
            aliases=[
                "camera pan",
                "CameraCtrl", "camera control", "ADE_ApplyAnimateDiffModelWithCameraCtrl",
                "ADE_LoadAnimateDiffModelWithCameraCtrl", "ADE_CameraCtrlAnimateDiffKeyframe",
            ],
            inputs=[
                socket(io.Model, "model", "The model that comes out of Apply Motion Module."),
                found("file", api.port().list_files(MODULE_FILES),
                    "A file of CameraCtrl in ComfyUI's models/animatediff_models: its authors' CameraCtrl.ckpt, or "
                    "CameraCtrl_pruned.safetensors."),
                socket(CameraType, "poses", "The camera of each frame; as many as the video has frames, or more."),
                lines("strength", "1",
                    "Factor on what the cameras change, by frame. 1 is for all frames; 1, 0.8, 0.5 is a list; 0: 1, "
                    "-1: 0 has keys. 0 returns the model unchanged."),
                percent("start_percent", 0.0,
                    "Point of sampling where the cameras start to count; 0 is the first step's noise."),
                percent("end_percent", 1.0, "Point of sampling where they stop; 1 is the end."),
            ],
            outputs=[out(io.Model, "model", "A copy of the model that draws what the camera sees.")],
        )  # fmt: skip

    @classmethod
    def validate_inputs(
        cls, file: str | None, strength: str | None, start_percent: float | None, end_percent: float | None
    ) -> bool | str:
        """Refuse a file of another kind, and what is no strength."""
        checks = [
            check_early(frame_curve, "strength", strength, 1, "linear"),
            check_early(check_range, start_percent, end_percent),
            check_early(check_kind, MODULE_FILES, ("cameractrl",), WANTED, file),
        ]
        return next((said for said in checks if said is not True), True)

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: Any) -> str:
        """Load again when the file changed."""
        return fingerprint(api.port().resolve(MODULE_FILES, file))

    @classmethod
    def execute(
        cls,
        model: Any,
        file: str,
        poses: CameraPoses,
        strength: str,
        start_percent: float,
        end_percent: float,
    ) -> io.NodeOutput:
        """Run the node."""
        port = api.port()
        check_offered(port.family(model), ["temporal_attention"], NAME)
        check_range(start_percent, end_percent)
        factors = frame_curve("strength", strength, len(poses))
        if not factors.any():
            return io.NodeOutput(model)
        weights = read_camera_weights(port.resolve(MODULE_FILES, file))
        edit = CameraEdit(weights, poses, factors, start_percent, end_percent, port.load_camera(weights))
        return io.NodeOutput(port.install(model, Edit(NAME, temporal_attention=edit)))


NODES: list[type] = [CameraPresets, CameraPosesFromText, CameraFromMotionPath, ApplyCameraCtrl]
