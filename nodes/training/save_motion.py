"""Save a motion module, or a motion LoRA on it, as a file."""

from __future__ import annotations

from typing import Any, get_args

from ...host import api
from ...models.motion.lora import MotionLoRA, merge_loras
from ...models.motion.save import FileDtype, save_motion
from ..early import check_early, check_new_model, check_output
from ..motion.modules import LORA_FILES, MODULE_FILES, Motion
from ..widgets import choice, line, out, schema, socket

io = api.io

MODULE, LORA, ADAPTER, PIA_ADAPTER = "module", "motion LoRA", "mask adapter", "PIA adapter"
MODELS, OUTPUT = "models", "output"


class SaveMotionModule(io.ComfyNode):
    """Write a motion module, or the last motion LoRA on it, in AnimateDiff's layout.

    Our loaders, AnimateDiff-Evolved and diffusers read it, with its positional encodings; mask and PIA
    adapters work with ours alone. diffusers' motion module normalises over a whole clip instead of frame
    by frame, so its pictures differ a little; on SDXL both do. No file is overwritten.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Save Motion Module", "training",
            aliases=["export motion module", "save motion LoRA", "AnimateDiff", "merge motion LoRA"],
            inputs=[
                socket(Motion, "motion", "A motion module from Train Motion Module, or any other."),
                line("filename_prefix", "frameloom/motion",
                    "Start of the file's name; subfolders may be in it."),
                choice("what", [MODULE, LORA],
                    "Part that is written. module: all of it, with the motion LoRAs on it merged in. motion "
                    "LoRA: the last one on it, by itself, or the last mask or PIA adapter."),
                choice("folder", [MODELS, OUTPUT],
                    "Folder that it is written to. models: where the loaders look, animatediff_models or "
                    "animatediff_motion_lora. output: the output folder."),
                choice("dtype", get_args(FileDtype),
                    "Number format of the file. fp32 is twice as large, and loses nothing for more "
                    "training."),
            ],
            outputs=[out(io.String, "path", "Path of the file.")],
            is_output_node=True,
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, filename_prefix: str | None, what: str | None, folder: str | None) -> bool | str:
        """Refuse a place where no file can be written."""
        return check_early(_check_place, filename_prefix, what, folder)

    @classmethod
    def execute(
        cls, motion: Any, filename_prefix: str, what: str, folder: str, dtype: FileDtype
    ) -> io.NodeOutput:
        """Run the node."""
        port, ending = api.port(), "safetensors"
        saved = _last_lora(motion) if what == LORA else merge_loras(motion.weights, motion.loras)
        if folder == MODELS:
            _, path = port.new_model(LORA_FILES if what == LORA else MODULE_FILES, filename_prefix, ending)
        else:
            path = port.output_path(filename_prefix, ending)
        save_motion(path, saved, dtype)
        return io.NodeOutput(str(path), ui=api.ui.PreviewText(str(path)))


def _check_place(filename_prefix: str, what: str, folder: str) -> None:
    if folder == MODELS:
        check_new_model(LORA_FILES if what == LORA else MODULE_FILES, filename_prefix)
    else:
        check_output(filename_prefix)


def _last_lora(motion: Any) -> MotionLoRA:
    if not motion.loras:
        raise ValueError(
            f"motion: {motion.weights.name} has no motion LoRA on it; expected one to save; set what to {MODULE}, or "
            "connect what Train Motion Module made of one."
        )
    return motion.loras[-1][0]


NODES: list[type] = [SaveMotionModule]
