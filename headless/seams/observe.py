"""Cross-attention that is looked at, by hooks on its projections.

Hooks take what a layer has projected, so nothing is computed twice and the layer's output stays what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from einops import rearrange
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ...models.edits.active import RunEdits
from ...models.network.unet import Layer
from .layers import Live, attention_layers


def put_on(unet: UNet2DConditionModel, run: RunEdits, live: Live) -> Iterator[RemovableHandle]:
    """Show a UNet's cross-attention to what looks at it: edits, and guides, which look in calls of their own."""
    if run.parts("observe") or run.parts("guide"):
        for layer, attention in attention_layers(unet, "attn2"):
            keep, show = _hooks(layer, attention.heads, live)
            yield attention.to_q.register_forward_hook(keep)
            yield attention.to_k.register_forward_hook(show)


def _hooks(layer: Layer, heads: int, live: Live) -> tuple[Callable[..., None], Callable[..., None]]:
    """Return hooks for a layer's ``to_q``, which runs first, and ``to_k``."""
    queries: list[Tensor] = []

    def split(tokens: Tensor) -> Tensor:
        return rearrange(tokens, "n l (h d) -> n h l d", h=heads)

    def keep(_module: nn.Module, _inputs: Any, query: Tensor) -> None:
        active = live()
        queries[:] = [query] if active is not None and active.is_watched(layer) else []

    def show(_module: nn.Module, _inputs: Any, key: Tensor) -> None:
        active = live()
        if active is not None and queries:
            active.see(split(queries.pop()), split(key), layer)

    return keep, show
