"""What a picture that is given to a motion module may do, beside the module's own work."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..edits.call import Call
from ..network.sizes import SD15
from ..video.shapes import Clip, Hidden
from .mask_adapter import LATENT_CHANNELS


class Picture:
    """A picture for a motion module; these answers are for one that does nothing.

    ``network`` is the ``MotionModel`` that runs. What is returned is added, in proportion to the module's strength.
    """

    latents: Clip

    def begin(self, hidden: Hidden, call: Call, network: Any) -> Tensor | None:
        """Return what is added to the output of the first convolution, [N, C, H, W]; None: nothing."""
        del hidden, call, network

    def enter(self, slot: str, hidden: Hidden, call: Call, network: Any) -> Tensor | None:
        """Return what is added to [N, C, H, W] before the module's work in a slot; None: nothing."""
        del slot, hidden, call, network


def scale_latents(latents: Clip) -> Clip:
    """Return latents as a VAE gives them, [K, 4, H, W], in the scale of Stable Diffusion 1.x.

    Raises:
        ValueError: they have other channels.
    """
    if latents.shape[1] != LATENT_CHANNELS:
        raise ValueError(
            f"vae: got one whose latents have {latents.shape[1]} channels; expected {LATENT_CHANNELS}; use the VAE of "
            "an SD1.5 checkpoint."
        )
    return SD15.latent_scale * latents


def check_size(node: str, latents: Clip, call: Call) -> None:
    """Raise ValueError unless a node's pictures have the size of the clip that a model call is about."""
    if latents.shape[-2:] != call.size:
        (height, width), got = call.size, latents.shape[-2:]
        raise ValueError(
            f"{node}: got pictures for latents of {got[0]} x {got[1]} cells and a clip of {height} x {width}; expected "
            f"one size; connect the latent that is sampled to {node}'s latent, and take areas of conditions out of the "
            "graph."
        )
