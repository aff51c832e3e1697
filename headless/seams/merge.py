"""Self-attention among fewer tokens: hooks before and behind the layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ...models.edits.active import RunEdits
from ...models.edits.edit import Merged
from ...models.network.unet import Layer
from .layers import Live, Network, attention_layers


def put_on(network: Network, run: RunEdits, live: Live) -> Iterator[RemovableHandle]:
    """Let a network's self-attention go among merged tokens, as edits say."""
    part = run.find("merge")
    for layer, attention in attention_layers(network, "attn1"):
        if part is not None and layer.level in part.levels:
            before, after = _hooks(layer, live)
            yield attention.register_forward_pre_hook(before)
            yield attention.register_forward_hook(after)


def _hooks(layer: Layer, live: Live) -> tuple[Callable[..., Any], Callable[..., Any]]:
    merges: list[Merged] = []

    def before(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        active = live()
        merged = None if active is None else active.merge(inputs[0], layer)
        if merged is None:
            return None
        merges.append(merged)
        return (merged.tokens,)

    def after(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor | None:
        return merges.pop().undo(output) if merges else None

    return before, after
