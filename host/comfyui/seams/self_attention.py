"""Self-attention that reads other tokens than its own, by its ``attn1`` patches.

Where every frame reads one row of tokens and no other pack has a hand in a block's self-attention, queries of all
frames are laid end to end before the layer and taken apart after it, so that the layer projects those tokens once.
Elsewhere they are repeated for each frame, and other packs see the batch that they expect.
"""

from __future__ import annotations

from typing import Any

from einops import rearrange
from torch import Tensor

from ....models.edits.edit import Source
from .live import KEY, Live, is_innermost

READING = f"{KEY}.self_attention"


def read(
    query: Tensor, key: Tensor, value: Tensor, extra_options: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """Hand a layer other tokens; ComfyUI's ``attn1_patch``."""
    reading = extra_options.get(READING)
    return (query, key, value) if reading is None else reading.read(query, key, value, extra_options)


def unfold(output: Tensor, extra_options: dict[str, Any]) -> Tensor:
    """Undo what ``read`` did to the batch; ComfyUI's ``attn1_output_patch``."""
    reading = extra_options.get(READING)
    return output if reading is None else reading.unfold(output)


PATCHES = {"attn1_patch": read, "attn1_output_patch": unfold}


def begin(live: Live, options: dict[str, Any]) -> dict[str, Any]:
    """Return what a model call's options need."""
    return {READING: Reading(live, options)} if live.active.acts_at("self_attention") else {}


class Reading:
    """Self-attention in one model call."""

    def __init__(self, live: Live, options: dict[str, Any]) -> None:
        """Take the call, and ComfyUI's options of it."""
        self._live = live
        self._is_innermost = is_innermost(options, read, unfold)
        self._replaced = options.get("patches_replace", {}).get("attn1", {})
        self._folded = 1  # rows of queries that one row of keys answers

    def read(
        self, query: Tensor, key: Tensor, value: Tensor, options: dict[str, Any]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return a layer's query, key and value tokens; the query's rows are folded on the fast path."""
        layer = self._live.layer(options)
        keys = self._live.active.read(key, layer)
        if keys is None:
            return query, key, value
        values = keys if value is key else self._live.active.read(value, layer, "value")
        assert values is not None  # the same edits act
        block = options["block"]
        is_own = block not in self._replaced and (*block, options["block_index"]) not in self._replaced
        if keys.is_shared and values.is_shared and is_own and self._is_innermost:
            self._folded = len(query) // len(keys.tokens)
            return rearrange(query, "(b f) l c -> b (f l) c", f=self._folded), keys.tokens, values.tokens

        def repeated(source: Source) -> Tensor:
            return source.per_frame(len(query) // len(source.tokens))

        own = repeated(keys)
        return query, own, own if values is keys else repeated(values)

    def unfold(self, output: Tensor) -> Tensor:
        """Return a layer's output with a row for each frame again."""
        folded, self._folded = self._folded, 1
        return rearrange(output, "b (f l) c -> (b f) l c", f=folded)
