"""A ControlNet's strength over frames, over steps and over the picture."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...host import api
from ...models.video.control_schedule import ControlSchedule as Schedule
from ...models.video.factors import read_factors
from ..drawing.plan import Plan, show_factors
from ..drawing.plot import draw_factors
from ..early import check_early
from ..widgets import choice, factors, number, out, schema, socket

io = api.io

LAST, EVERY = "last", "all"


class ControlSchedule(io.ComfyNode):
    """Change a ControlNet's strength from frame to frame, from step to step, by place, by depth, or by prompt.

    Connect it behind Apply ControlNet, whose own strength, start and end go on to count: all factors are multiplied.
    Frames keep their strength in context windows and in Nuwa's jobs. For a guide that is followed loosely take soft
    0.825; for one that counts more than the prompt take negative 0.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Control Schedule", "video",
            aliases=[
                "ControlNet strength schedule", "latent keyframe", "timestep keyframe", "LatentKeyframeTiming",
                "LatentKeyframeBatchedGroup", "TimestepKeyframe", "ScaledSoftControlNetWeights", "soft weights",
                "Advanced-ControlNet",
            ],
            inputs=[
                socket(io.Conditioning, "positive", "The prompt, from Apply ControlNet."),
                socket(io.Conditioning, "negative", "The negative prompt, from Apply ControlNet."),
                *factors("0: 1\n-1: 0"),
                number("soft", 1.0, 0.0, 2.0, 0.005,
                    "Factor from one depth of the model to the next coarser one. Less than 1 lets details go free and "
                    "keeps the composition; 0.825 is usual. 1 changes nothing."),
                number("negative_strength", 1.0, 0.0, 10.0, 0.01,
                    "Factor on the negative prompt's side. 0 makes the guide count more than the prompt."),
                choice("which", [LAST, EVERY], "The last ControlNet of the conditions, or all of them."),
                socket(io.Mask, "mask", "Factor by place, for all frames or one for each; 1 is white.", optional=True),
            ],
            outputs=[
                out(io.Conditioning, "positive", "The prompt, with the schedule on its ControlNet."),
                out(io.Conditioning, "negative", "The negative prompt, with the same."),
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
        cls,
        positive: Any,
        negative: Any,
        frames: int,
        strength: str,
        between: Any,
        by_step: str,
        soft: float,
        negative_strength: float,
        which: str,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        """Run the node."""
        read = read_factors(frames, strength, between, by_step, mask)
        schedule = Schedule(read, soft, negative_strength)
        sides = api.port().schedule_controls([positive, negative], schedule, every=which == EVERY)
        return io.NodeOutput(*sides, draw_factors(read))


NODES: list[type] = [ControlSchedule]
