"""SparseCtrl: load its network, and give some frames of a clip as pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

from torch import Tensor

from ...host import api
from ...models.edits.edit import Edit
from ...models.files.weight_file import fingerprint
from ...models.motion.flash import EvenFrames, Flash
from ...models.motion.sparse_checkpoint import WANTED, read_sparse_control
from ...models.motion.sparse_control import SparseControlEdit, SparseNetwork, check_places, place_pictures
from ...models.network.family import check_channels, check_offered
from ...models.video.latents import frames_of
from ..early import check_early, check_kind, check_range
from ..given import encode_pictures, fit_to_clip
from ..widgets import choice, found, line, number, out, percent, schema, share, socket

io = api.io
SparseControlType = io.Custom("FRAMELOOM_SPARSE_CONTROL")

FILES = "controlnet"


class SparseControlLoader(io.ComfyNode):
    """Load a SparseCtrl network, which draws a clip around frames that are given as pictures.

    Reads v3_sd15_sparsectrl_rgb and v3_sd15_sparsectrl_scribble, and diffusers' SparseControlNetModel.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Load SparseCtrl", "motion",
            aliases=["SparseCtrl", "sparse control", "ACN_SparseCtrlLoaderAdvanced", "Load SparseCtrl Model"],
            inputs=[
                found("file", api.port().list_files(FILES),
                    "A file in ComfyUI's models/controlnet: an rgb network goes with pictures, a scribble one with "
                    "white lines on black."),
            ],
            outputs=[out(SparseControlType, "sparse_control", "The network, for Apply SparseCtrl.")],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool | str:
        """Refuse a file of another kind."""
        return check_early(check_kind, FILES, ("sparsectrl_rgb", "sparsectrl_scribble"), WANTED, file)

    @classmethod
    def fingerprint_inputs(cls, file: str) -> str:
        """Load again when the file changed."""
        return fingerprint(api.port().resolve(FILES, file))

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        """Run the node."""
        port = api.port()
        return io.NodeOutput(port.load_sparse_control(read_sparse_control(port.resolve(FILES, file))))


class ApplySparseControl(io.ComfyNode):
    """Give some frames of a clip as pictures or as sketches, and draw the others to go with them (SparseCtrl).

    Connect it behind Apply Motion Module with v3_sd15_mm, of a model with v3_sd15_adapter as a LoRA of strength 1; its
    authors sample 16 frames in 25 steps with cfg 8.5. One picture at frame 0 animates it, two at 0, -1 are connected,
    and more make a storyboard. Given frames are followed, not copied: Hold Frames copies. Several of these may follow
    each other, and ControlNets stay beside them.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Apply SparseCtrl", "motion",
            aliases=[
                "animate", "i2v",
                "SparseCtrl", "image to video", "first frame", "last frame", "sketch to video", "keyframe",
                "ACN_SparseCtrlIndexMethodNode", "ACN_SparseCtrlSpreadMethodNode", "ACN_SparseCtrlRGBPreprocessor",
            ],
            inputs=[
                socket(io.Model, "model", "The model that samples: SD1.5 with its motion module."),
                socket(SparseControlType, "sparse_control", "The network from Load SparseCtrl."),
                socket(io.Latent, "latent",
                    "The clip that is sampled: Empty Latent Image. Its frames and its size count."),
                socket(io.Image, "images",
                    "The pictures, in the order of frames. Of another size they are scaled, and cut off where they are "
                    "too wide or too high. For a scribble network: white lines on black."),
                line("frames", "0",
                    "Frame that each picture is: 0 is the first, -1 the last. For a first and a last picture: 0, -1. "
                    "Or a word, which spreads them evenly: uniform, from the first frame to the last; starting, ending "
                    "or center."),
                number("strength", 1.0, 0.0, 10.0, 0.01,
                    "Factor on what the network adds. 0 returns the model unchanged."),
                percent("start_percent", 0.0, "Point of sampling where it starts to act; 0 is the first step's noise."),
                percent("end_percent", 1.0, "Point of sampling where it stops; 1 is the end."),
                number("other_frames", 1.0, 0.0, 10.0, 0.01,
                    "Further factor on what it adds to frames without a picture."),
                share("mask_value", 1.0,
                    "Number that marks given frames for the network, which was trained with 1. Others are for trying."),
                socket(io.Vae, "vae", "The VAE of the model, which an rgb network needs.", optional=True),
                choice("flash", get_args(Flash),
                    "Given frames may flash: be brighter, or have more contrast, than the others. given like others "
                    "takes that out of the given ones, whose colors then are no longer the pictures'; others like "
                    "given brings it to the others. It is done when the clip is drawn, and by light and contrast of "
                    "whole frames.",
                    optional=True),
            ],
            outputs=[out(io.Model, "model", "A copy of the model that follows the pictures.")],
        )  # fmt: skip

    @classmethod
    def validate_inputs(
        cls, frames: str | None, start_percent: float | None, end_percent: float | None
    ) -> bool | str:
        """Refuse frames that are none, and an end before the start."""
        in_range = check_early(check_range, start_percent, end_percent)
        return check_early(check_places, frames) if in_range is True else in_range

    @classmethod
    def execute(
        cls,
        model: Any,
        sparse_control: SparseNetwork,
        latent: dict[str, Any],
        images: Tensor,
        frames: str,
        strength: float,
        start_percent: float,
        end_percent: float,
        other_frames: float,
        mask_value: float,
        vae: Any = None,
        flash: Flash = "as drawn",
    ) -> io.NodeOutput:
        """Run the node."""
        check_range(start_percent, end_percent)
        check_offered(api.port().family(model), ["residuals"], "SparseCtrl")
        samples = frames_of(latent)
        places = place_pictures(frames, len(images), len(samples))
        pictures = read_pictures(model, sparse_control, vae, images, latent)
        part = SparseControlEdit(sparse_control, pictures, places, len(samples), strength)
        timed = {"start_percent": start_percent, "end_percent": end_percent}
        part = replace(part, others=other_frames, mask_value=mask_value, **timed)
        even = None if flash == "as drawn" else EvenFrames(places, flash)
        edited = api.port().install(model, Edit("SparseCtrl", residuals=part, result=even))
        return io.NodeOutput(edited if strength else model)


def read_pictures(
    model: Any, control: SparseNetwork, vae: Any, images: Tensor, latent: dict[str, Any]
) -> Tensor:
    """Return pictures as a network reads them, at the size of a clip's latents.

    Args:
        model: model that samples.
        control: network.
        vae: VAE of the model; None is enough for a network that reads pictures.
        images: pictures, [K, H, W, 3 or 4] in 0..1.
        latent: the clip.

    Raises:
        ValueError: they are another model's, or there is no VAE where one is needed.
    """
    port = api.port()
    check_channels(port.family(model), frames_of(latent))
    if not control.size.reads_latents:
        return fit_to_clip(latent, images).movedim(-1, 1)
    if vae is None:
        raise ValueError(
            f"vae: got none; expected the model's, since {control.name} (rgb) reads pictures as the VAE encodes them; "
            "connect it."
        )
    return encode_pictures(vae, latent, images) / port.noise_unit(model)


NODES: list[type] = [SparseControlLoader, ApplySparseControl]
