"""FreeU with a strength for each frame."""

from __future__ import annotations

from typing import Any

from ...host import api
from ...models.edits.edit import Edit
from ...models.motion.free_u import FreeU
from ..widgets import number, out, schema, socket, whole

io = api.io


class FreeUPerFrame(io.ComfyNode):
    """FreeU for video: better details without training, with a strength that changes over the frames.

    The way up of the UNet counts its own features more, and the skips from the way down less. Core's FreeU does so in
    every frame alike. Works with motion modules, context windows, LoRAs and ControlNets, before or behind them.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "FreeU Per Frame", "motion",
            aliases=["FreeU", "FreeU_V2", "skip connections", "backbone", "details"],
            inputs=[
                socket(io.Model, "model", "The model that samples: SD1.5, SDXL, or the demo model."),
                number("b1", 1.1, 0.0, 10.0, 0.01,
                    "Scale of the backbone's features where they are four times as wide as the finest level. The "
                    "demo model has none."),
                number("b2", 1.2, 0.0, 10.0, 0.01,
                    "Scale of the backbone's features where they are twice as wide as the finest level."),
                number("s1", 0.9, 0.0, 10.0, 0.01, "Scale of the coarsest part of the skips beside b1's features."),
                number("s2", 0.2, 0.0, 10.0, 0.01, "Scale of the coarsest part of the skips beside b2's features."),
                number("first", 1.0, 0.0, 10.0, 0.01,
                    "Strength in the first frame: 0 is the plain model, 1 takes the scales as they are."),
                number("last", 1.0, 0.0, 10.0, 0.01,
                    "Strength in the last frame; between the two it changes evenly."),
                whole("frames", 16, 1, 100_000,
                    "Number of frames over which the strength changes: as many as the video has."),
            ],
            outputs=[out(io.Model, "model", "A copy of the model, with FreeU.")],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, model: Any, b1: float, b2: float, s1: float, s2: float, first: float, last: float, frames: int
    ) -> io.NodeOutput:
        """Run the node."""
        skips = FreeU(b1, b2, s1, s2, first, last, frames)
        return io.NodeOutput(api.port().install(model, Edit("FreeU", skips=skips)))


NODES: list[type] = [FreeUPerFrame]
