"""Frames of a clip that are given as pictures."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...host import api
from ...models.video.held_frames import hold_frames, read_frames
from ..early import check_early
from ..given import encode_frames
from ..widgets import line, out, schema, share, socket

io = api.io


class HoldFrames(io.ComfyNode):
    """Give some frames of a clip as pictures: they stay, and the model makes the others.

    Connect it between Empty Latent Image and the sampler. A motion module alone holds given frames, but need not go on
    from them; a mask adapter (Load Motion LoRA) tells it of them. Video to video: give a latent of a video, and
    some of its frames again.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Hold Frames", "video",
            aliases=[
                "animate", "i2v", "img2vid",
                "image to video", "first frame", "last frame", "animate image", "keyframe", "inpaint frames",
                "ADE_NoisedImageInjectOptions", "LatentCompositeMasked",
            ],
            inputs=[
                socket(io.Latent, "latent", "The clip: Empty Latent Image, with as many frames as batch_size says."),
                socket(io.Vae, "vae", "The VAE of the model."),
                socket(io.Image, "images",
                    "The pictures, in the order of frames. Of another size they are scaled, and cut off where they are "
                    "too wide or too high."),
                line("frames", "0",
                    "Number of the frame that each picture is: 0 is the first, -1 the last. For a first and a last "
                    "picture: 0, -1."),
                share("strength", 1.0,
                    "Share in which given frames are held. 1 keeps them as they are, less lets the model change them."),
            ],
            outputs=[out(io.Latent, "latent", "The clip with the given frames, and a noise mask that holds them.")],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, frames: str | None) -> bool | str:
        """Refuse what are no numbers."""
        return check_early(read_frames, frames, 1)

    @classmethod
    def execute(
        cls, latent: dict[str, Any], vae: Any, images: Tensor, frames: str, strength: float
    ) -> io.NodeOutput:
        """Run the node."""
        given, numbers = encode_frames(vae, latent, images, frames)
        return io.NodeOutput(hold_frames(latent, given, numbers, strength))


NODES: list[type] = [HoldFrames]
