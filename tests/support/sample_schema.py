"""A schema that uses everything of ComfyUI's V3 names that our stand-in has. Imports neither."""

from __future__ import annotations

from enum import Enum
from typing import Any


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


def sample_schema(io: Any) -> Any:
    """Build it from a host's ``io``."""
    values = [
        io.Int.Input("count"),
        io.Int.Input(
            "seed", default=0, min=0, max=2**64 - 1, step=2, control_after_generate=True, advanced=True
        ),
        io.Int.Input("slow", "Slow", True, "a tip", True, 3, 0, 9, 1, io.ControlAfterGenerate.fixed),
        io.Int.Input(
            "slider", default=1, display_mode=io.NumberDisplay.slider, force_input=True, socketless=False
        ),
        io.Float.Input(
            "strength", default=1.0, min=-2.0, max=2.0, step=0.01, round=0.001, tooltip="how much"
        ),
        io.Float.Input(
            "dial", display_mode=io.NumberDisplay.number, gradient_stops=[{"offset": 0}], optional=True
        ),
        io.String.Input("text", multiline=True, dynamic_prompts=True, placeholder="write", default=""),
        io.String.Input("plain", display_name="Plain text", raw_link=True),
        io.Boolean.Input("on", default=True, label_on="yes", label_off="no"),
        io.Boolean.Input("off", optional=True, lazy=True, extra_dict={"hidden": True, "none": None}),
        io.Combo.Input("choice", options=["a", "b"], default="a", tooltip="one of two"),
        io.Combo.Input("colour", options=Colour, default=Colour.BLUE),
        io.Combo.Input(
            "file", options=["x.png"], upload=io.UploadType.image, image_folder=io.FolderType.input
        ),
    ]
    names = "Image Mask Latent Model Clip Vae Conditioning Noise Sigmas Sampler Guider Video Audio AnyType LossMap"
    names += " ControlNet Gligen"
    sockets = [getattr(io, name).Input(name.lower(), optional=True, tooltip=name) for name in names.split()]
    own = io.Custom("FRAMELOOM_PATH")
    encoding = io.DynamicCombo.Input(
        "encoding",
        options=[
            io.DynamicCombo.Option("auto", []),
            io.DynamicCombo.Option("crf", [io.Float.Input("crf", default=2.0)]),
        ],
        optional=True,
        tooltip="nested",
    )
    special = [
        own.Input("path", display_name="Path"),
        io.MultiType.Input("either", [io.Image, io.Mask], tooltip="two kinds"),
        io.MultiType.Input(io.Float.Input("number", default=1.0, optional=True), [io.Float, io.Int]),
        io.DynamicCombo.Input(
            "format",
            options=[io.DynamicCombo.Option("mp4", [encoding, io.Image.Input("cover", optional=True)])],
            display_name="Format",
            extra_dict={"hidden": True},
        ),
    ]
    return io.Schema(
        node_id="Sample",
        display_name="Sample",
        category="frameloom/tests",
        description="Everything.",
        search_aliases=["all"],
        inputs=[*values, *sockets, *special],
        outputs=[
            io.Image.Output(),
            io.Latent.Output("latent", tooltip="a latent", is_output_list=True),
            io.Int.Output("n", display_name="number"),
            own.Output(display_name="path"),
        ],
        hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        is_input_list=True,
        is_output_node=True,
        is_experimental=True,
        essentials_category="Basics",
        not_idempotent=True,
    )


def plain_schema(io: Any) -> Any:
    """Build one with every default."""
    return io.Schema(node_id="Plain")
