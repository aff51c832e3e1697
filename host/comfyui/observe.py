"""Show cross-attention to observers in ComfyUI's UNet, by its ``attn2`` patch.

The patch hands its tokens on as they came, so other packs' patches and replacements of the layer work as before, and
what patches before ours do to tokens is seen. What a layer reads is projected once more for the observer, by the
layer's own weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from einops import rearrange
from torch import Tensor

from ...models.edit import AttentionObserver, Call
from ...models.network.unet import UNetSize
from .network import layers_in
from .slots import KEY

WATCH_KEY = f"{KEY}.observe"


def show(
    query: Tensor, key: Tensor, value: Tensor, extra_options: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """Show a layer's tokens to the observers of the model call; ComfyUI's ``attn2_patch``."""
    watch = extra_options.get(WATCH_KEY)
    if watch is not None:
        watch.show(query, key, extra_options)
    return query, key, value


PATCHES = {"attn2_patch": show}


def watching(
    unet: Any, network: UNetSize, call: Call, observers: Sequence[AttentionObserver]
) -> dict[str, Watch]:
    """Return what a model call's options need so that observers see it."""
    return {WATCH_KEY: Watch(unet, network, call, observers)} if observers else {}


class Watch:
    """Observers of one model call."""

    def __init__(
        self, unet: Any, network: UNetSize, call: Call, observers: Sequence[AttentionObserver]
    ) -> None:
        self._call, self._observers = call, observers
        self._layers = {
            (layer.place.block, layer.depth): (layer.level, block.attn2)
            for layer, block in layers_in(unet, network)
        }

    def show(self, query: Tensor, key: Tensor, options: dict[str, Any]) -> None:
        """Project a layer's tokens as it will, and show them.

        Args:
            query: [N, L, C]. Tokens of the pictures.
            key: [N, S, D]. Tokens of the prompt.
            options: ComfyUI's ``extra_options`` of the layer.
        """
        level, layer = self._layers[options["block"], options["block_index"]]
        observers = [observer for observer in self._observers if level in observer.levels]
        if not observers:
            return
        queries, keys = (
            rearrange(projected, "n l (h d) -> n h l d", h=options["n_heads"])
            for projected in (layer.to_q(query), layer.to_k(key))
        )
        for observer in observers:
            observer.see(queries, keys, self._call, level)
