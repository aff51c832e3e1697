"""The attentions of diffusers' UNets and ControlNets, with what the network's table says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from ...models.edits.active import Active
from ...models.network.unet import Layer
from ..weights.networks import size_of

Network = UNet2DConditionModel | ControlNetModel
Live = Callable[[], Active | None]
"""Returns what acts in the model call that is on; None: no call is."""


def attention_layers(network: Network, kind: str) -> Iterator[tuple[Layer, Any]]:
    """Yield a network's attentions of a kind, in the order in which they run.

    Args:
        network: diffusers'.
        kind: ``attn1`` for self-attention, ``attn2`` for cross-attention.
    """
    for layer in size_of(network).layers:
        if hasattr(network, layer.module.partition(".")[0]):  # a ControlNet has no way up
            yield layer, network.get_submodule(f"{layer.module}.{kind}")
