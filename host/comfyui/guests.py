"""Layers that other packs put among those of ComfyUI's UNet, and the edits that can't work beside them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import Downsample, TimestepBlock, Upsample
from torch import nn

from ...models.edits.edit import Edit
from ...models.errors import HostError
from .seams.network import layers_of

_OWN = (TimestepBlock, SpatialTransformer, Downsample, Upsample)


def check(unet: Any, edits: Sequence[Edit]) -> None:
    """Check that a loaded UNet has ComfyUI's layers alone, where edits need that.

    A motion model of another pack takes every call for its whole clip, which a window is not; two motion models in one
    UNet were trained for it alone, each.

    Args:
        unet: network of any kind; one without blocks of layers is not looked at.
        edits: edits of the model, a MODEL as it is sampled.

    Raises:
        HostError: another pack's layers are among them.
    """
    names = [edit.name for edit in edits if edit.slots or edit.windows or edit.time]
    if not names or not hasattr(unet, "input_blocks"):
        return
    stem = list(unet.input_blocks[0].children())
    guests = {
        _describe(layer)
        for layer in layers_of(unet)
        if not isinstance(layer, _OWN) and all(layer is not other for other in stem)
    }
    if guests:
        raise HostError(
            f"model: got layers of another pack in its UNet ({', '.join(sorted(guests))}); expected none beside "
            f"Frameloom's {' and '.join(names)}: what such layers make of a clip would be silently wrong; take that "
            "pack's motion model off (AnimateDiff-Evolved: leave m_models of Use Evolved Sampling unconnected), or "
            "Frameloom's nodes."
        )


def _describe(layer: nn.Module) -> str:
    """Return a layer's class and its pack's folder: ComfyUI calls a pack's modules by their path."""
    pack = re.split(r"[\\/]", type(layer).__module__)[-1].partition(".")[0]
    return f"{type(layer).__name__} of {pack}"
