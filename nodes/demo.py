"""The bundled demo model as MODEL, CLIP and VAE."""

from __future__ import annotations

from ..host import api

io = api.io


class DemoModelLoader(io.ComfyNode):
    """Frameloom_DemoModelLoader."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return io.Schema(
            node_id="Frameloom_DemoModelLoader",
            display_name="Load Demo Model",
            category="frameloom/demo",
            description="Load the tiny Stable Diffusion model bundled with Frameloom: coloured shapes, 128 x 128 "
            'pixels. It draws prompts such as "a big red circle on a navy background" on a CPU in seconds.',
            search_aliases=["Frameloom demo", "tiny Stable Diffusion", "checkpoint"],
            inputs=[],
            outputs=[
                io.Model.Output("model", display_name="model", tooltip="The demo UNet, for 16 x 16 latents."),
                io.Clip.Output(
                    "clip", display_name="clip", tooltip="Its text encoder: shapes, colours, places."
                ),
                io.Vae.Output("vae", display_name="vae", tooltip="Its autoencoder, for 128 x 128 pictures."),
            ],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        """Run the node."""
        return io.NodeOutput(*api.port().load_demo())


NODES: list[type] = [DemoModelLoader]
