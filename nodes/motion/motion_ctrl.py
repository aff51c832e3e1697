"""MotionCtrl's camera for a motion module."""

from __future__ import annotations

from typing import Any

from ...host import api
from ...models.files.weight_file import fingerprint
from ...models.motion.camera import CameraPoses
from ...models.motion.motion_ctrl import WANTED, ModuleCamera, read_motion_ctrl
from ..early import check_early, check_kind
from ..sockets import CameraType
from ..widgets import found, out, schema, socket
from .modules import MODULE_FILES, Motion

io = api.io


class MotionCtrlCamera(io.ComfyNode):
    """Draw each frame as a camera sees it: MotionCtrl, on SD1.5 with AnimateDiff's v3 module.

    Connect it between Load Motion Module, which loads v3_sd15_mm.ckpt, and Apply Motion Module. Layers of the module
    that were trained with the camera are replaced by the file's. The prompt is told the camera, the negative prompt
    none, so a higher cfg makes the camera's move clearer. In every context window the camera starts anew at the first
    frame, so a steady pan goes on, and a way with turns does not.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "MotionCtrl Camera", "motion",
            aliases=[
                "camera pan", "MotionCtrl", "CMCM", "camera control", "camera motion",
                "ADE_LoadMotionCtrl_CMCMMOdel", "ADE_ApplyAnimateDiffModelWithMotionCtrl",
                "ADE_LoadMotionCtrlCameraPosesFromFile",
            ],
            inputs=[
                socket(Motion, "motion", "AnimateDiff's v3 module from Load Motion Module; a copy is returned."),
                found("file", api.port().list_files(MODULE_FILES),
                    "MotionCtrl's motionctrl_animatediff_cmcm.ckpt in ComfyUI's models/animatediff_models."),
                socket(CameraType, "poses", "The camera of each frame; as many as the video has frames, or more. Its "
                    "lens does not count."),
            ],
            outputs=[out(Motion, "motion", "The module, with the camera.")],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool | str:
        """Refuse a file of another kind."""
        return check_early(check_kind, MODULE_FILES, ("motionctrl_cmcm",), WANTED, file)

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: Any) -> str:
        """Load again when the file changed."""
        return fingerprint(api.port().resolve(MODULE_FILES, file))

    @classmethod
    def execute(cls, motion: Any, file: str, poses: CameraPoses) -> io.NodeOutput:
        """Run the node."""
        weights = read_motion_ctrl(api.port().resolve(MODULE_FILES, file)).put_on(motion.weights)
        return io.NodeOutput(motion.with_weights(weights).with_camera(ModuleCamera(poses)))


NODES: list[type] = [MotionCtrlCamera]
