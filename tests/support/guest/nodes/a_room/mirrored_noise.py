"""Start noise that goes there and back."""

from __future__ import annotations

from typing import Any

from ...host import api
from ...models.edits.edit import Edit
from ...models.mirrored_noise import MirroredNoise
from ..widgets import out, schema, socket

io = api.io


class MirroredStart(io.ComfyNode):
    """Start the second half of a clip from the noise of the first half."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Mirrored Start", "guests",
            aliases=["ping-pong"],
            inputs=[socket(io.Model, "model", "The model that samples.")],
            outputs=[out(io.Model, "model", "A copy of the model, for the sampler.")],
        )  # fmt: skip

    @classmethod
    def execute(cls, model: Any) -> io.NodeOutput:
        """Run the node."""
        return io.NodeOutput(api.port().install(model, Edit("Mirrored Start", noise=MirroredNoise())))


NODES: list[type] = [MirroredStart]
