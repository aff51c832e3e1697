"""Cross-attention that is looked at, by its ``attn2`` patch.

The patch hands its tokens on as they came, so other packs' patches and replacements of the layer work as before, and
what patches before ours do to tokens is seen. What a layer reads is projected once more, by the layer's own weights.
"""

from __future__ import annotations

from typing import Any

from einops import rearrange
from torch import Tensor

from .live import KEY, Live
from .network import layers_in

WATCHED = f"{KEY}.observe"


def show(
    query: Tensor, key: Tensor, value: Tensor, extra_options: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """Show a layer's tokens, [N, L, C] and [N, S, D], to whatever looks at it; ComfyUI's ``attn2_patch``."""
    watched = extra_options.get(WATCHED, {}).get((extra_options["block"], extra_options["block_index"]))
    if watched is not None:
        live, layer, attention = extra_options[KEY], *watched
        queries, keys = (
            rearrange(projected, "n l (h d) -> n h l d", h=extra_options["n_heads"])
            for projected in (attention.to_q(query), attention.to_k(key))
        )
        live.active.see(queries, keys, layer)
    return query, key, value


PATCHES = {"attn2_patch": show}


def begin(live: Live, _options: dict[str, Any]) -> dict[str, Any]:
    """Return what a model call's options need: the layers that are looked at."""
    if not live.active.acts_at("observe"):
        return {}
    return {
        WATCHED: {
            (layer.place.block, layer.depth): (layer, block.attn2)
            for layer, block in layers_in(live.unet, live.size)
            if live.active.is_watched(layer)
        }
    }
