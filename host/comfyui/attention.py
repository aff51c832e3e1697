"""Cross-frame attention in ComfyUI's UNet: what its ``attn1`` patches do in one model call.

Where every frame reads one anchor and no other pack has a hand in a block's self-attention, queries of all frames are
laid end to end before the layer and taken apart after it, so that the layer projects the anchor's keys and values once.
Elsewhere the anchor's tokens are repeated for each frame, and other packs see the batch that they expect.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from einops import rearrange
from torch import Tensor

from ...models.cross_frame import AnchorMemory, CrossFrameEdit, Source
from ...models.edit import Call
from ...models.network.unet import UNetSize
from .slots import KEY


def read_frames(
    query: Tensor, key: Tensor, value: Tensor, extra_options: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """Hand a layer other frames' tokens; ComfyUI's ``attn1_patch``."""
    live = extra_options.get(KEY)
    if live is None or live.attention is None:
        return query, key, value
    return live.attention.read(query, key, value, extra_options)


def unfold(output: Tensor, extra_options: dict[str, Any]) -> Tensor:
    """Undo what ``read_frames`` did to the batch; ComfyUI's ``attn1_output_patch``."""
    live = extra_options.get(KEY)
    return output if live is None or live.attention is None else live.attention.unfold(output)


PATCHES = {"attn1_patch": read_frames, "attn1_output_patch": unfold}


class Crossing:
    """The cross-frame edits that act in one model call, as one source of keys and values."""

    def __init__(self, call: Call, parts: Sequence[tuple[CrossFrameEdit, AnchorMemory]]) -> None:
        self.call, self._parts = call, parts

    def source(self, tokens: Tensor, level: int, layer: Hashable) -> Source | None:
        """Return what a layer reads in place of its own tokens; None: itself.

        Args:
            tokens: [B*F*R, L, C], its own.
            level: of the UNet, 0 the finest.
            layer: names it within the run.
        """
        source = None
        for edit, memory in self._parts:
            if level in edit.levels:
                own = tokens if source is None else source.per_frame(self.call.frames)
                source = edit.read(own, self.call, memory, layer)
        return source


class LiveAttention:
    """Cross-frame attention in the UNet during one model call."""

    def __init__(self, crossing: Crossing, network: UNetSize, transformer_options: dict[str, Any]) -> None:
        self._crossing, self._frames, self._network = crossing, crossing.call.frames, network
        patches = transformer_options.get("patches", {})
        self._is_innermost = patches.get("attn1_patch", [])[-1:] == [read_frames] and patches.get(
            "attn1_output_patch", []
        )[:1] == [unfold]
        self._replaced = transformer_options.get("patches_replace", {}).get("attn1", {})
        self._is_folded = False

    def read(self, query: Tensor, key: Tensor, value: Tensor, options: dict[str, Any]) -> tuple[Tensor, ...]:
        """Return a layer's query, key and value tokens; the query's rows are folded on the fast path."""
        block, depth = options["block"], options["block_index"]
        level = self._network.layer(block, depth).level
        keys = self._crossing.source(key, level, (block, depth, "key"))
        if keys is None:
            return query, key, value
        values = keys if value is key else self._crossing.source(value, level, (block, depth, "value"))
        assert values is not None  # the same edits act
        is_own = block not in self._replaced and (*block, depth) not in self._replaced
        if keys.is_shared and values.is_shared and is_own and self._is_innermost:
            self._is_folded = True
            query = rearrange(query, "(b f) l c -> b (f l) c", f=self._frames)
            return query, keys.tokens, values.tokens
        repeated = keys.per_frame(self._frames)
        return query, repeated, repeated if values is keys else values.per_frame(self._frames)

    def unfold(self, output: Tensor) -> Tensor:
        """Return a layer's output with a row for each frame again."""
        if not self._is_folded:
            return output
        self._is_folded = False
        return rearrange(output, "b (f l) c -> (b f) l c", f=self._frames)
