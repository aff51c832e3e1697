"""A picture for AnimateLCM's image-to-video module."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...host import api
from ...models.motion.lcm_picture import LcmPicture, check_lcm
from ...models.motion.pictures import scale_latents
from ..given import encode_pictures
from ..widgets import number, out, schema, socket
from .modules import Motion

io = api.io


class AnimateLCMPicture(io.ComfyNode):
    """Give AnimateLCM's image-to-video module the picture that it is to animate.

    Connect it between Load Motion Module, which loads AnimateLCM_sd15_i2v.ckpt, and Apply Motion Module. Its authors
    sample 16 frames in 4 steps with cfg 1, which Few Step Settings gives, and with their LoRA on the model.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "AnimateLCM Picture", "motion",
            aliases=[
                "animate", "i2v",
                "AnimateLCM-I2V", "image to video", "animate image", "ADE_ApplyAnimateLCMI2VModel", "ref_drift",
                "motion scale",
            ],
            inputs=[
                socket(Motion, "motion",
                    "AnimateLCM's image-to-video module from Load Motion Module; a copy is returned."),
                socket(io.Vae, "vae", "The VAE of the model."),
                socket(io.Latent, "latent",
                    "The clip that is sampled, such as Empty Latent Image's: it says how many frames of what size."),
                socket(io.Image, "images",
                    "One picture, or one for each frame, as in video to video. Of another size they are scaled, and "
                    "cut off where they are too wide or too high."),
                number("drift", 0.8, 0.0, 10.0, 0.01,
                    "Motion scale: how far frames part from the picture. 0.8 is its authors', 0 stands still, and "
                    "suits a picture for each frame."),
            ],
            outputs=[out(Motion, "motion", "The module, with the picture.")],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, motion: Any, vae: Any, latent: dict[str, Any], images: Tensor, drift: float
    ) -> io.NodeOutput:
        """Run the node."""
        given = scale_latents(encode_pictures(vae, latent, images))
        weights = motion.weights
        check_lcm(weights.name, weights.size.image_encoder, len(images), len(latent["samples"]))
        return io.NodeOutput(motion.with_picture(LcmPicture(given, drift)))


NODES: list[type] = [AnimateLCMPicture]
