"""VidToMe: a video edited by a model of pictures, whose frames share tokens."""

from __future__ import annotations

from typing import Any

from ...host import api
from ...models.zero_shot.vidtome import vidtome_edit
from ..widgets import out, schema, seed, share, socket, whole

io = api.io


class VidToMe(io.ComfyNode):
    """Edit a video with a model of pictures: frames share tokens of self-attention, so that they get one look.

    In every step the clip is cut into chunks of frames. Tokens of a chunk that are alike are merged before
    self-attention and get the same answer behind it; some are carried over to the next chunks. Start from the video's
    own latents, as with RAVE; ControlNets, masks and prompts follow their frames. One chunk is in memory at a time,
    however long the clip is, and merged tokens make a step cheaper. Not beside motion modules, context windows or Cross
    Frame Attention.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "VidToMe", "zero-shot",
            aliases=[
                "edit a video", "restyle", "VidToMe", "video token merging", "ToMe", "video editing",
                "video to video", "vid2vid",
            ],
            inputs=[
                socket(io.Model, "model", "The model that samples: SD1.5, SDXL, or the demo model."),
                whole("chunk_size", 4, 1, 64,
                    "Most frames of a chunk, which are in memory together. The first chunk of a step is shorter, at "
                    "random, so that chunks end elsewhere in each step."),
                share("local_ratio", 0.9,
                    "Share of a chunk's tokens, beside those of one frame, that is merged into that frame's. More is "
                    "steadier and faster, and costs detail. 0 returns the model unchanged."),
                share("global_ratio", 0.8,
                    "Share of tokens that is merged with those of the step's earlier chunks. 0: chunks know nothing of "
                    "each other."),
                seed("Seed of chunks and of the frames that tokens are merged into, and of nothing else."),
            ],
            outputs=[out(io.Model, "model", "A copy of the model, for any sampler.")],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, model: Any, chunk_size: int, local_ratio: float, global_ratio: float, seed: int
    ) -> io.NodeOutput:
        """Run the node."""
        if local_ratio == 0:
            return io.NodeOutput(model)
        edit = vidtome_edit(chunk_size, local_ratio, global_ratio, seed)
        return io.NodeOutput(api.port().install(model, edit))


NODES: list[type] = [VidToMe]
