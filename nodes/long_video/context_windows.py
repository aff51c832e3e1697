"""Clips longer than a motion module knows, by context windows."""

from __future__ import annotations

from typing import Any, Literal, get_args

from ...host import api
from ...models.edits.edit import Edit
from ...models.network.time_law import TimeLaw
from ...models.video.windows import WindowPlan, WindowSchedule, WindowWeights, latent_windows
from ..drawing.plan import Plan, show_windows
from ..drawing.plot import draw_windows
from ..early import check_early
from ..widgets import choice, out, schema, socket, whole

io = api.io

Anchor = Literal["on models of video", "off"]


class ContextWindows(io.ComfyNode):
    """Sample a clip that is longer than the motion module knows, in overlapping windows of frames.

    In every step the model is asked about each window, and the answers are averaged. Prompts, masks,
    ControlNet hints and layouts made for each frame follow their frames, with any ControlNet. A run needs the
    memory of one window; the picture says how many times longer it takes than a plain clip. A clip no longer
    than a window is sampled as without this node, unless it is looped. Windows know of each other only where
    they overlap, so the look of a long clip may drift.

    On models of video (Wan, LTX-Video, HunyuanVideo, CogVideoX), in ComfyUI, windows are of latent frames:
    length and overlap are turned into these, and the picture shows them. Images for the first frame, VACE's
    controls, noise masks, and masks of conditions with one for each latent frame follow their frames.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Context Windows", "long video",
            aliases=[
                "long video", "Context Options",
                "ADE_StandardStaticContextOptions", "ADE_StandardUniformContextOptions",
                "ADE_LoopedUniformContextOptions", "sliding window", "context options", "Gen-L-Video",
                "co-denoising",
            ],
            inputs=[
                socket(io.Model, "model",
                    "The model that samples, with or without a motion module, which may also be applied "
                    "later."),
                whole("length", 16, 1, 1024,
                    "Frames of a window: as many as the motion module was trained on, 16 for most."),
                whole("overlap", 4, 0, 1023,
                    "Frames that neighbouring windows have in common. More frames hide seams better and cost "
                    "more."),
                choice("schedule", get_args(WindowSchedule),
                    "Order of the windows in which the clip is sampled. static: the same windows in every "
                    "step. uniform: windows begin at another place in each step, so that no seam stays. "
                    "looped: as uniform, and the clip's end runs on into its beginning, also where one "
                    "window holds the clip. batched: windows side by side, without overlap; a last window of "
                    "a single frame is moved back."),
                whole("stride", 1, 1, 8,
                    "Number of spacings between a window's frames, for uniform and looped: 2 adds windows of "
                    "every second frame, 3 also those of every fourth. They tie the clip together and cost "
                    "more."),
                choice("weights", get_args(WindowWeights),
                    "Weight of a frame in a window. pyramid: most in the middle. flat: the same everywhere. "
                    "overlap-linear: less towards the end of an overlap."),
                whole("frames", 32, 1, 2048,
                    "Length of the clip that the picture is drawn for. The model takes a clip of any "
                    "length."),
                choice("anchor", get_args(Anchor),
                    "Anchor of a window: the latent frame before it is asked with it, and not taken. A model of "
                    "video takes the first latent frame for a single picture, which it is only at the clip's "
                    "beginning. Models of pictures need none. ComfyUI before 0.25 has none: set it to off.",
                    optional=True),
            ],
            outputs=[
                out(io.Model, "model", "A copy of the model, with context windows."),
                out(io.Image, "plan", "A picture of the first steps' windows, and of what they cost."),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, length: int | None, overlap: int | None) -> bool | str:
        """Refuse an overlap that leaves nothing of a window."""
        return check_early(WindowPlan, length, overlap)

    @classmethod
    def plan(cls, length: int, overlap: int, schedule: Any, stride: int, weights: Any, frames: int) -> Plan:
        """Return the windows, for the editor, as they are of frames."""
        return show_windows(WindowPlan(length, overlap, schedule, stride, weights), frames)

    @classmethod
    def execute(
        cls,
        model: Any,
        length: int,
        overlap: int,
        schedule: Any,
        stride: int,
        weights: Any,
        frames: int,
        anchor: Anchor = "on models of video",
    ) -> io.NodeOutput:
        """Run the node."""
        plan, law = WindowPlan(length, overlap, schedule, stride, weights), api.port().family(model).law
        if law is not None:
            plan = latent_windows(plan, law, anchor=anchor != "off")
        picture = draw_windows(plan, (law or TimeLaw()).latents(frames))
        return io.NodeOutput(api.port().install(model, Edit("context windows", windows=plan)), picture)


NODES: list[type] = [ContextWindows]
