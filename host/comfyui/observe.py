"""Show cross-attention to observers in ComfyUI's UNet, by its ``attn2`` patch.

The patch hands its tokens on as they came, so other packs' patches and replacements of the layer work as before, and
what patches before ours do to tokens is seen. What a layer reads is projected once more for the observer, by the
layer's own weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy.ldm.modules.attention import SpatialTransformer
from einops import rearrange
from torch import Tensor

from ...models.edit import AttentionObserver, Call
from .attention import level_of
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


def watching(unet: Any, call: Call, observers: Sequence[AttentionObserver]) -> dict[str, Watch]:
    """Return what a model call's options need so that observers see it."""
    return {WATCH_KEY: Watch(unet, call, observers)} if observers else {}


class Watch:
    """Observers of one model call."""

    def __init__(self, unet: Any, call: Call, observers: Sequence[AttentionObserver]) -> None:
        self._unet, self._call, self._observers = unet, call, observers

    def show(self, query: Tensor, key: Tensor, options: dict[str, Any]) -> None:
        """Project a layer's tokens as it will, and show them.

        Args:
            query: [N, L, C]. Tokens of the pictures.
            key: [N, S, D]. Tokens of the prompt.
            options: ComfyUI's ``extra_options`` of the layer.
        """
        level = level_of(options["block"])
        observers = [observer for observer in self._observers if level in observer.levels]
        if not observers:
            return
        layer = _layer(self._unet, options["block"], options["block_index"])
        queries, keys = (
            rearrange(projected, "n l (h d) -> n h l d", h=options["n_heads"])
            for projected in (layer.to_q(query), layer.to_k(key))
        )
        for observer in observers:
            observer.see(queries, keys, self._call, level)


def _layer(unet: Any, block: tuple[str, int], depth: int) -> Any:
    """Return the cross-attention that ComfyUI names by its block and its place in it."""
    part, index = block
    blocks = {"input": unet.input_blocks, "middle": [unet.middle_block], "output": unet.output_blocks}[part]
    transformer = next(child for child in blocks[index].children() if isinstance(child, SpatialTransformer))
    return transformer.transformer_blocks[depth].attn2
