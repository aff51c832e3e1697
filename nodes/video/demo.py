"""The bundled demo model as MODEL, CLIP and VAE."""

from __future__ import annotations

from ...host import api
from ..widgets import out, schema

io = api.io


class DemoModelLoader(io.ComfyNode):
    """Load the tiny Stable Diffusion model bundled with Frameloom: coloured shapes, 128 x 128 pixels.

    It draws prompts such as "a big red circle on a navy background" on a CPU in seconds.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Load Demo Model", "demo",
            aliases=["Frameloom demo", "tiny Stable Diffusion", "checkpoint"],
            inputs=[],
            outputs=[
                out(io.Model, "model", "The demo UNet, for 16 x 16 latents."),
                out(io.Clip, "clip", "The demo's text encoder: shapes, colours, places."),
                out(io.Vae, "vae", "The demo's autoencoder, for 128 x 128 pictures."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls) -> io.NodeOutput:
        """Run the node."""
        return io.NodeOutput(*api.port().load_demo())


NODES: list[type] = [DemoModelLoader]
