"""Clips longer than a motion module knows, by context windows."""

from __future__ import annotations

from typing import Any, get_args

from ..host import api
from ..models.edits.edit import Edit
from ..models.windows import WindowPlan, WindowSchedule, WindowWeights
from .early import check_early
from .plot import draw_windows

io = api.io


class ContextWindows(io.ComfyNode):
    """Frameloom_ContextWindows."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return io.Schema(
            node_id="Frameloom_ContextWindows",
            display_name="Context Windows",
            category="frameloom/long video",
            description="Sample a clip that is longer than the motion module knows: in every step the model is asked "
            "about overlapping windows of frames, and their answers are averaged. Prompts, masks, ControlNet hints and "
            "layouts made for each frame follow their frames, with any ControlNet. Memory is that of one window; time "
            "is as many times a plain clip's as the picture says. A clip no longer than a window is sampled as without "
            "this node, unless it is looped. Windows know of each other only where they overlap, so a long clip's look "
            "may drift.",
            search_aliases=[
                "ADE_StandardStaticContextOptions",
                "ADE_StandardUniformContextOptions",
                "ADE_LoopedUniformContextOptions",
                "sliding window",
                "context options",
                "Gen-L-Video",
                "co-denoising",
            ],
            inputs=[
                io.Model.Input("model", tooltip="With or without a motion module; the order doesn't matter."),
                io.Int.Input(
                    "length",
                    default=16,
                    min=1,
                    max=1024,
                    tooltip="Frames of a window: what the motion module was trained on, 16 for most.",
                ),
                io.Int.Input(
                    "overlap",
                    default=4,
                    min=0,
                    max=1023,
                    tooltip="Frames that neighbouring windows have in common. More hides seams better and costs more.",
                ),
                io.Combo.Input(
                    "schedule",
                    options=list(get_args(WindowSchedule)),
                    default="static",
                    tooltip="static: the same windows in every step. uniform: they begin elsewhere in each, so that no "
                    "seam stays. looped: so too, and the clip's end runs on into its beginning, also where one window "
                    "holds it. batched: side by side, without overlap; a last one of a single frame is moved back.",
                ),
                io.Int.Input(
                    "stride",
                    default=1,
                    min=1,
                    max=8,
                    tooltip="For uniform and looped: 2 adds windows of every second frame, 3 of every fourth, too. "
                    "They tie the clip together and cost more.",
                ),
                io.Combo.Input(
                    "weights",
                    options=list(get_args(WindowWeights)),
                    default="pyramid",
                    tooltip="What a frame counts in a window: pyramid, most in its middle; flat, the same "
                    "everywhere; overlap-linear, less towards the end of an overlap.",
                ),
                io.Int.Input(
                    "frames",
                    default=32,
                    min=1,
                    max=2048,
                    tooltip="Of the clip that the picture is drawn for. The model takes a clip of any length.",
                ),
            ],
            outputs=[
                io.Model.Output(
                    "model", display_name="model", tooltip="A copy of the model, with context windows."
                ),
                io.Image.Output(
                    "plan", display_name="plan", tooltip="The windows of the first steps, and what they cost."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, length: int | None, overlap: int | None) -> bool | str:
        """Refuse an overlap that leaves nothing of a window."""
        return check_early(WindowPlan, length, overlap)

    @classmethod
    def execute(
        cls, model: Any, length: int, overlap: int, schedule: Any, stride: int, weights: Any, frames: int
    ) -> io.NodeOutput:
        """Run the node."""
        plan = WindowPlan(length, overlap, schedule, stride, weights)
        picture = draw_windows(plan, frames)
        return io.NodeOutput(api.port().install(model, Edit("context windows", windows=plan)), picture)


NODES: list[type] = [ContextWindows]
