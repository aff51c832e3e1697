"""A motion module's strength over frames, over steps and over the picture."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...host import api
from ...models.motion.edit import Varying, read_scale
from ...models.video.factors import read_factors
from ..drawing.plan import Plan, show_factors
from ..drawing.plot import draw_factors
from ..early import check_early
from ..widgets import factors, lines, number, out, schema, socket
from .modules import Motion

io = api.io


class MotionStrength(io.ComfyNode):
    """Change a motion module's strength from frame to frame, from step to step, or by place.

    Connect it between Load Motion Module and Apply Motion Module, whose own strength, start and end go on to count: all
    factors are multiplied. A frame of strength 0 is drawn as the model alone draws it, while its neighbours still see
    it. In context windows frames keep their strength; of each of Nuwa's jobs the frames count from 0.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Motion Strength", "motion",
            aliases=[
                "Multival", "AnimateDiff Keyframe",
                "effect multival", "scale multival", "motion scale", "ADE_MultivalDynamic", "ADE_MultivalScaledMask",
                "ADE_MultivalDynamicFloatInput", "ADE_AnimateDiffKeyframe", "motion strength schedule",
            ],
            inputs=[
                socket(Motion, "motion", "The motion module, with or without motion LoRAs; a copy is returned."),
                *factors("0: 1\n-1: 0.5"),
                number("scale", 1.0, 0.0, 10.0, 0.01,
                    "Factor on the logits of the module's attention over time. Less than 1 lets a frame look at more "
                    "of the others, more than 1 at fewer. 1 changes nothing."),
                socket(io.Mask, "mask",
                    "Factor by place, for all frames or one for each; 1 is white. Where it is black, every frame is as "
                    "the model alone draws it.", optional=True),
                lines("scale_by_frame", "1",
                    "Factor on scale by frame that is looked at, written as strength is, with its frames and the way "
                    "between keys.", optional=True),
            ],
            outputs=[
                out(Motion, "motion", "The motion module, with the strengths."),
                out(io.Image, "chart", "The factor by frame and by share of sampling."),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(
        cls,
        frames: int | None,
        strength: str | None,
        by_step: str | None,
        between: Any,
        scale_by_frame: str | None = "1",
    ) -> bool | str:
        """Refuse what is no schedule."""
        refused = check_early(read_factors, frames, strength, between, by_step)
        return check_early(read_scale, 1.0, frames, scale_by_frame, between) if refused is True else refused

    @classmethod
    def plan(cls, frames: int, strength: str, by_step: str, between: Any) -> Plan:
        """Return the factors, for the editor."""
        return show_factors(read_factors(frames, strength, between, by_step))

    @classmethod
    def execute(
        cls,
        motion: Any,
        frames: int,
        strength: str,
        between: Any,
        by_step: str,
        scale: float,
        mask: Tensor | None = None,
        scale_by_frame: str = "1",
    ) -> io.NodeOutput:
        """Run the node."""
        read = read_factors(frames, strength, between, by_step, mask)
        varying = Varying(read, read_scale(scale, frames, scale_by_frame, between))
        return io.NodeOutput(motion.with_varying(varying), draw_factors(read))


NODES: list[type] = [MotionStrength]
