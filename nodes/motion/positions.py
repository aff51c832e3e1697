"""A motion module's positions stretched over a longer clip."""

from __future__ import annotations

from typing import Any

from ...host import api
from ...models.motion.positions import stretch_positions
from ..widgets import out, schema, socket, whole
from .modules import Motion

io = api.io


class StretchPositions(io.ComfyNode):
    """Stretch a motion module's positions over more frames, so that it draws a longer clip at once, without windows.

    Connect it between Load Motion Module and Apply Motion Module. The clip then takes as long for its move as the
    module was taught to, so everything goes slower, and far from the length that it knows it hardly moves.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Stretch Positions", "motion",
            aliases=[
                "long video",
                "sweetspot", "ADE_AdjustPESweetspotStretch", "ADE_AdjustPEFullStretch", "ADE_AdjustPEManual",
                "positional encoding", "pe stretch", "longer clip",
            ],
            inputs=[
                socket(Motion, "motion",
                    "The motion module, with or without motion LoRAs; a copy is returned, which needs memory of its "
                    "own."),
                whole("known_frames", 16, 1, 1000,
                    "Number of frames of the clips that the module was trained on: 16 for AnimateDiff and the demo's, "
                    "as many as it has encodings for at most."),
                whole("frames", 32, 1, 1000,
                    "Number of frames to stretch them over: as many as the clip has, or a context window. Fewer than "
                    "known_frames make a clip go faster; as many change nothing but that no clip may be longer."),
            ],
            outputs=[out(Motion, "motion", "The motion module, which takes so many frames at once.")],
        )  # fmt: skip

    @classmethod
    def execute(cls, motion: Any, known_frames: int, frames: int) -> io.NodeOutput:
        """Run the node."""
        return io.NodeOutput(motion.with_weights(stretch_positions(motion.weights, known_frames, frames)))


NODES: list[type] = [StretchPositions]
