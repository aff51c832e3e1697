"""The temporal slots: where each lies among diffusers' blocks, and the norms that go over clips beside them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ...models.edits.active import RunEdits
from ...models.edits.clip_norm import hook_norm
from ..weights.networks import size_of
from .layers import Live


def put_on(unet: UNet2DConditionModel, run: RunEdits, live: Live) -> Iterator[RemovableHandle]:
    """Let edits run in a UNet's slots.

    Raises:
        ValueError: an edit has a slot that this UNet lacks.
    """
    parts = run.parts("slots")
    for slot in dict.fromkeys(slot for part in parts for slot in part.slots):
        yield slot_place(unet, slot).register_forward_hook(partial(_run_slot, live, slot))
    if any(part.over_clip for part in parts):
        for norm in _residual_norms(unet):
            yield from hook_norm(norm, live)


def slot_place(unet: UNet2DConditionModel, slot: str) -> nn.Module:
    """Return the module after which a temporal slot runs.

    That is the spatial transformer of its block if there is one, else the residual block; upsamplers come later.

    Raises:
        ValueError: the UNet has no such slot.
    """
    places = {place.slot: place.module for place in size_of(unet).places}
    if slot not in places:
        raise ValueError(
            f"motion module: got a slot {slot!r}, which this UNet lacks; expected slots of an SD1.x UNet; load a "
            "motion module made for this base model."
        )
    return unet.get_submodule(places[slot])


def _run_slot(live: Live, slot: str, _module: nn.Module, _inputs: Any, output: Any) -> Any:
    active = live()
    if active is None or not active.acts_at("slots"):
        return None
    if isinstance(output, Tensor):
        return active.slot(slot, output)
    if isinstance(output, tuple):
        return (active.slot(slot, output[0]), *output[1:])
    return type(output)(sample=active.slot(slot, output.sample))


def _residual_norms(unet: Any) -> list[nn.Module]:
    blocks = [module for module in unet.modules() if isinstance(module, ResnetBlock2D)]
    return [*(norm for block in blocks for norm in (block.norm1, block.norm2)), unet.conv_norm_out]
