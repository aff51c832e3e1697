"""Self-attention that reads other tokens than its own, in the UNet and in ControlNets."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ...models.edits.active import RunEdits
from ...models.network.unet import Layer
from .layers import Live, Network, attention_layers


def put_on(network: Network, run: RunEdits, live: Live, of: Hashable = None) -> Iterator[RemovableHandle]:
    """Let a network's self-attention read what edits say.

    Args:
        network: network whose layers get hooks.
        run: the edits.
        live: function that says what acts.
        of: mark that tells a ControlNet from others that may use the same network; None: this is the UNet.
    """
    levels = frozenset[int]().union(*(part.levels for part in run.parts("self_attention")))
    for layer, attention in attention_layers(network, "attn1"):
        if layer.level in levels:
            yield attention.register_forward_pre_hook(partial(_read, live, layer, of), with_kwargs=True)


def _read(
    live: Live,
    layer: Layer,
    of: Hashable,
    _module: nn.Module,
    inputs: tuple[Tensor, ...],
    options: dict[str, Any],
) -> tuple[tuple[Tensor, ...], dict[str, Any]] | None:
    active = live()
    source = None if active is None else active.read(inputs[0], layer, of)
    return None if source is None else (inputs, {**options, "encoder_hidden_states": source.tokens})
