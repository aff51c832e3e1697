"""A motion LoRA whose strength changes over frames, over steps and over the picture."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...host import api
from ...models.files.weight_file import fingerprint
from ...models.motion.lora import read_motion_lora
from ...models.video.factors import read_factors
from ..drawing.plan import Plan, show_factors
from ..drawing.plot import draw_factors
from ..early import check_early, check_kind
from ..widgets import factors, found, out, schema, socket
from .modules import LORA_FILES, Motion

io = api.io


class MotionLoRASchedule(io.ComfyNode):
    """Add a motion LoRA whose strength changes from frame to frame, from step to step, or by place.

    It takes the place of Load Motion LoRA; several can be chained. A frame of strength 0 is made by the module's own
    weights, and still sees what the LoRA makes of its neighbours, so a move fades more than it begins or ends. In
    context windows and in Free Noise frames keep their strength; of each of Nuwa's jobs the frames count from 0.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Motion LoRA Schedule", "motion",
            aliases=["motion LoRA strength schedule", "motion LoRA keyframes", "camera motion"],
            inputs=[
                socket(Motion, "motion", "The motion module to add it to; a copy is returned."),
                found("file", api.port().list_files(LORA_FILES),
                    "A file in ComfyUI's models/animatediff_motion_lora; no mask adapter."),
                *factors("0: 0\n-1: 1"),
                socket(io.Mask, "mask",
                    "Factor by place, for all frames or one for each; 1 is white. Where it is black, the module works "
                    "without the LoRA.", optional=True),
            ],
            outputs=[
                out(Motion, "motion", "The motion module with the LoRA added."),
                out(io.Image, "chart", "The strength by frame and by share of sampling."),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(
        cls, file: str | None, frames: int | None, strength: str | None, by_step: str | None, between: Any
    ) -> bool | str:
        """Refuse a file of another kind, and what is no schedule."""
        schedule = check_early(read_factors, frames, strength, between, by_step)
        if schedule is not True:
            return schedule
        return check_early(check_kind, LORA_FILES, ("motion_lora",), "a motion LoRA of AnimateDiff", file)

    @classmethod
    def plan(cls, frames: int, strength: str, by_step: str, between: Any) -> Plan:
        """Return the strengths, for the editor."""
        return show_factors(read_factors(frames, strength, between, by_step))

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: Any) -> str:
        """Load again when the file changed."""
        return fingerprint(api.port().resolve(LORA_FILES, file))

    @classmethod
    def execute(
        cls,
        motion: Any,
        file: str,
        frames: int,
        strength: str,
        between: Any,
        by_step: str,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        """Run the node."""
        read = read_factors(frames, strength, between, by_step, mask)
        lora = read_motion_lora(api.port().resolve(LORA_FILES, file)).fit(motion.weights)
        lora.check_schedule()
        return io.NodeOutput(motion.with_lora(lora, read), draw_factors(read))


NODES: list[type] = [MotionLoRASchedule]
