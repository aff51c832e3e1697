"""Guidance over frames, over steps and over the picture."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...host import api
from ...models.edits.edit import Edit
from ...models.video.factors import read_factors
from ..drawing.plan import Plan, show_factors
from ..drawing.plot import draw_factors
from ..early import check_early
from ..widgets import factors, out, schema, socket

io = api.io


class CFGSchedule(io.ComfyNode):
    """Change guidance (cfg) from frame to frame, from step to step, or by place.

    The sampler's own cfg goes on to count: all factors are multiplied. Set it to 1, and these numbers are the guidance
    itself. In context windows frames keep their guidance; of each of Nuwa's jobs the frames count from 0.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "CFG Schedule", "video",
            aliases=[
                "guidance schedule", "cfg per frame", "dynamic cfg", "VideoLinearCFGGuidance", "ADE_CustomCFG",
                "ADE_CustomCFGSimple", "ADE_CustomCFGKeyframe", "ADE_CustomCFGKeyframeSimple",
                "ADE_CustomCFGKeyframeInterpolation",
            ],
            inputs=[
                socket(io.Model, "model", "The model that samples."),
                *factors("0: 1\n-1: 0.5"),
                socket(io.Mask, "mask", "Factor by place, for all frames or one for each; 1 is white.", optional=True),
            ],
            outputs=[
                out(io.Model, "model", "A copy of the model, with the schedule."),
                out(io.Image, "chart", "The factor by frame and by share of sampling."),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(
        cls, frames: int | None, strength: str | None, by_step: str | None, between: Any
    ) -> bool | str:
        """Refuse what is no schedule."""
        return check_early(read_factors, frames, strength, between, by_step)

    @classmethod
    def plan(cls, frames: int, strength: str, by_step: str, between: Any) -> Plan:
        """Return the factors, for the editor."""
        return show_factors(read_factors(frames, strength, between, by_step))

    @classmethod
    def execute(
        cls, model: Any, frames: int, strength: str, between: Any, by_step: str, mask: Tensor | None = None
    ) -> io.NodeOutput:
        """Run the node."""
        read = read_factors(frames, strength, between, by_step, mask)
        return io.NodeOutput(api.port().install(model, Edit("CFG Schedule", cfg=read)), draw_factors(read))


NODES: list[type] = [CFGSchedule]
