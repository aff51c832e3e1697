"""A motion module's weights made larger or smaller."""

from __future__ import annotations

from typing import Any

from ...host import api
from ...models.motion.adjust import KINDS, adjust_weights
from ..widgets import choice, number, out, schema, socket
from .modules import Motion

io = api.io


class AdjustMotionWeights(io.ComfyNode):
    """Add to a motion module's weights, or multiply them: all of them, or those of a kind.

    Connect it behind Load Motion Module; several go one after the other, and motion LoRAs keep their strength.
    Graphs that people share multiply all weights by 1.01.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Adjust Motion Weights", "motion",
            aliases=[
                "ADE_AdjustWeightAllMult", "ADE_AdjustWeightAllAdd", "ADE_AdjustWeightIndivMult",
                "ADE_AdjustWeightIndivAdd", "ADE_AdjustWeightIndivAttnMult", "ADE_AdjustWeightIndivAttnAdd",
                "weight adjust",
            ],
            inputs=[
                socket(Motion, "motion",
                    "The motion module, with or without motion LoRAs; a copy is returned, which needs memory of its "
                    "own."),
                choice("kind", KINDS,
                    "Weights that change. attention: all layers of attention. other: neither these nor positions."),
                number("add", 0.0, -2.0, 2.0, 0.000001, "Summand of each weight. 0 adds nothing."),
                number("multiply", 1.0, 0.0, 10.0, 0.000001, "Factor on the sum. 1 changes nothing."),
            ],
            outputs=[out(Motion, "motion", "The motion module with its weights changed.")],
        )  # fmt: skip

    @classmethod
    def execute(cls, motion: Any, kind: Any, add: float, multiply: float) -> io.NodeOutput:
        """Run the node."""
        changed = (add, multiply) != (0, 1)
        return io.NodeOutput(
            motion.with_weights(adjust_weights(motion.weights, kind, add, multiply)) if changed else motion
        )


NODES: list[type] = [AdjustMotionWeights]
