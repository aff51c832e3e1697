"""FreeNoise: a clip longer than a motion module's, in one piece."""

from __future__ import annotations

from typing import Any

from ...host import api
from ...models.edits.edit import Edit
from ...models.long_video.free_noise import STRIDE, WINDOW, NoiseShuffle, WindowFusion
from ..drawing.plan import Plan, show_noise
from ..widgets import out, schema, seed, socket, switch, whole

io = api.io


class FreeNoise(io.ComfyNode):
    """Sample a clip longer than a motion module's 16 to 32 frames, in one piece.

    Later frames start from the noise of the first ones in another order, and the module attends within
    overlapping windows; all other layers see each frame once. Works with any sampler node, before or after
    Apply Motion Module. It costs little more time than frames by themselves; memory grows with the clip. For
    clips that do not fit, use context windows, behind which it still arranges the noise.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Free Noise", "long video",
            aliases=["FreeNoise", "noise rescheduling", "window fusion", "long video", "longer video"],
            inputs=[
                socket(io.Model, "model",
                    "The model that samples, with a motion module, or one that gets it later."),
                whole("window_length", WINDOW, 1, 1024,
                    "Frames that the motion module attends to at once: as many as it was trained with, 16 "
                    "for AnimateDiff. It is also the number of frames that have noise of their own. A clip "
                    "of no more frames is sampled as without this node."),
                whole("stride", STRIDE, 1, 1024,
                    "Frames from the first of one window to the first of the next; divides window_length. It "
                    "is also the number of frames among which noise is shuffled. A smaller stride is "
                    "smoother and slower."),
                seed("Seed of the order in which noise recurs; the noise itself is the sampler's."),
                switch("reshuffle", True,
                    "Let frames after the first window start from the noise of earlier ones, which keeps a "
                    "long clip about one scene. Noise that samplers add on their way stays each frame's "
                    "own."),
                switch("fuse", True,
                    "Let the motion module attend within windows. Without it, all frames are attended to at "
                    "once, and there may be no more of them than the module has positions."),
            ],
            outputs=[out(io.Model, "model", "A copy of the model, for the sampler.")],
        )  # fmt: skip

    @classmethod
    def plan(
        cls, window_length: int, stride: int, seed: int, reshuffle: bool, fuse: bool, frames: int
    ) -> Plan:
        """Return whose noise a frame has, and the windows, for the editor."""
        return show_noise(*_parts(window_length, stride, seed, reshuffle, fuse), frames)

    @classmethod
    def execute(
        cls, model: Any, window_length: int, stride: int, seed: int, reshuffle: bool, fuse: bool
    ) -> io.NodeOutput:
        """Run the node."""
        noise, fusion = _parts(window_length, stride, seed, reshuffle, fuse)
        if noise is None and fusion is None:
            return io.NodeOutput(model)
        return io.NodeOutput(api.port().install(model, Edit("Free Noise", noise=noise, time=fusion)))


def _parts(
    window_length: int, stride: int, seed: int, reshuffle: bool, fuse: bool
) -> tuple[NoiseShuffle | None, WindowFusion | None]:
    noise = NoiseShuffle(window_length, stride, seed) if reshuffle else None
    return noise, WindowFusion(window_length, stride) if fuse else None


NODES: list[type] = [FreeNoise]
