"""A picture for a PIA module."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...host import api
from ...models.motion.pia import AFFINITIES, AS_WRITTEN, PiaPicture, check_pia, read_affinity
from ..early import check_early
from ..given import encode_frames
from ..widgets import choice, line, lines, out, schema, socket
from .modules import Motion

io = api.io


class PIAPicture(io.ComfyNode):
    """Give a PIA module the picture that it is to animate.

    Connect it between Load Motion Module, which loads pia.ckpt, and Apply Motion Module. A PIA adapter, which
    Load Motion LoRA adds, makes such a module of a plain one. Its authors sample 16 frames
    in 25 steps. How much moves is a matter of affinity: how near each frame is to the picture. In context windows
    frames keep their distance from it.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "PIA Picture", "motion",
            aliases=[
                "animate", "i2v",
                "PIA", "image to video", "animate image", "personalized image animator", "ADE_InputPIA_PaperPresets",
                "ADE_ApplyAnimateDiffModelWithPIA", "ADE_InputPIA_Multival",
            ],
            inputs=[
                socket(Motion, "motion", "The PIA module from Load Motion Module; a copy is returned."),
                socket(io.Vae, "vae", "The VAE of the model."),
                socket(io.Latent, "latent",
                    "The clip that is sampled, such as Empty Latent Image's: it says how many frames of what size."),
                socket(io.Image, "images",
                    "The picture. Of another size it is scaled, and cut off where it is too wide or too high. PIA "
                    "learned from one; of several, each frame takes the nearest, which it was not trained for."),
                line("frames", "0", "Number of the frame that each picture is: 0 is the first, -1 the last."),
                choice("affinity", [*AFFINITIES, AS_WRITTEN],
                    "Affinity of frames to the picture, by their distance from it, as PIA's authors recommend. Less "
                    "is more motion. Loops are of 16 frames; style transfer is for a model of another style than the "
                    "picture's."),
                lines("affinities", "1, 0.9, 0.8",
                    f"Affinities by distance, 0 to 1, where affinity is {AS_WRITTEN}: a list, whose last goes on, or "
                    "keys such as 0: 1, 8: 0.5."),
            ],
            outputs=[out(Motion, "motion", "The PIA module, with the picture.")],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, affinity: str | None, affinities: str | None) -> bool | str:
        """Refuse what are no affinities."""
        return check_early(read_affinity, affinity, affinities, 10_000)

    @classmethod
    def execute(
        cls,
        motion: Any,
        vae: Any,
        latent: dict[str, Any],
        images: Tensor,
        frames: str,
        affinity: str,
        affinities: str,
    ) -> io.NodeOutput:
        """Run the node."""
        given, numbers = encode_frames(vae, latent, images, frames)
        check_pia(motion.weights.name, motion.weights.size.picture_encoder)
        by_distance = read_affinity(affinity, affinities, len(latent["samples"]))
        return io.NodeOutput(motion.with_picture(PiaPicture.of(given, numbers, by_distance)))


NODES: list[type] = [PIAPicture]
