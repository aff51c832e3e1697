"""Clips longer than a motion module knows, by context windows."""

from __future__ import annotations

from typing import Any, get_args

from ..host import api
from ..models.edits.edit import Edit
from ..models.windows import WindowPlan, WindowSchedule, WindowWeights
from .early import check_early
from .plot import draw_windows
from .widgets import choice, out, schema, socket, whole

io = api.io


class ContextWindows(io.ComfyNode):
    """Frameloom_ContextWindows."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Context Windows", "long video",
            "Sample a clip that is longer than the motion module knows: in every step the model is asked "
            "about overlapping windows of frames, and their answers are averaged. Prompts, masks, ControlNet "
            "hints and layouts made for each frame follow their frames, with any ControlNet. Memory is that "
            "of one window; time is as many times a plain clip's as the picture says. A clip no longer than "
            "a window is sampled as without this node, unless it is looped. Windows know of each other only "
            "where they overlap, so a long clip's look may drift.",
            aliases=[
                "ADE_StandardStaticContextOptions", "ADE_StandardUniformContextOptions",
                "ADE_LoopedUniformContextOptions", "sliding window", "context options", "Gen-L-Video",
                "co-denoising",
            ],
            inputs=[
                socket(io.Model, "model", "With or without a motion module; the order doesn't matter."),
                whole("length", 16, 1, 1024,
                    "Frames of a window: what the motion module was trained on, 16 for most."),
                whole("overlap", 4, 0, 1023,
                    "Frames that neighbouring windows have in common. More hides seams better and costs "
                    "more."),
                choice("schedule", get_args(WindowSchedule),
                    "static: the same windows in every step. uniform: they begin elsewhere in each, so that "
                    "no seam stays. looped: so too, and the clip's end runs on into its beginning, also "
                    "where one window holds it. batched: side by side, without overlap; a last one of a "
                    "single frame is moved back."),
                whole("stride", 1, 1, 8,
                    "For uniform and looped: 2 adds windows of every second frame, 3 of every fourth, too. "
                    "They tie the clip together and cost more."),
                choice("weights", get_args(WindowWeights),
                    "What a frame counts in a window: pyramid, most in its middle; flat, the same "
                    "everywhere; overlap-linear, less towards the end of an overlap."),
                whole("frames", 32, 1, 2048,
                    "Of the clip that the picture is drawn for. The model takes a clip of any length."),
            ],
            outputs=[
                out(io.Model, "model", "A copy of the model, with context windows."),
                out(io.Image, "plan", "The windows of the first steps, and what they cost."),
            ],
        )  # fmt: skip

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
