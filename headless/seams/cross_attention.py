"""Cross-attention whose logits are added to, by its mask."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ...models.edits.active import RunEdits
from ...models.network.unet import Layer
from .layers import Live, attention_layers


def put_on(unet: UNet2DConditionModel, run: RunEdits, live: Live) -> Iterator[RemovableHandle]:
    """Let edits add to the logits of a UNet's cross-attention."""
    if run.parts("cross_attention"):
        for layer, attention in attention_layers(unet, "attn2"):
            yield attention.register_forward_pre_hook(partial(_add, live, layer), with_kwargs=True)


def _add(
    live: Live, layer: Layer, _module: nn.Module, inputs: tuple[Tensor, ...], options: dict[str, Any]
) -> tuple[tuple[Tensor, ...], dict[str, Any]] | None:
    active, tokens = live(), options["encoder_hidden_states"].shape[1]
    bias = None if active is None else active.bias(layer, inputs[0], tokens)
    return None if bias is None else (inputs, {**options, "attention_mask": bias})
