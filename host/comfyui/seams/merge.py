"""Self-attention among fewer tokens, by its ``attn1`` patches: one merges the layer's tokens, one undoes it.

No other patch may stand between the two, since it would see a batch of another size.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ....models.edits.edit import Merged
from ....models.errors import HostError
from .live import KEY, Live, is_innermost

MERGING = f"{KEY}.merge"


def merge(
    query: Tensor, key: Tensor, value: Tensor, extra_options: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """Hand a layer fewer tokens; ComfyUI's ``attn1_patch``."""
    merging = extra_options.get(MERGING)
    return (query, key, value) if merging is None else merging.merge(query, key, value, extra_options)


def undo(output: Tensor, extra_options: dict[str, Any]) -> Tensor:
    """Give every token its answer; ComfyUI's ``attn1_output_patch``."""
    merging = extra_options.get(MERGING)
    return output if merging is None else merging.undo(output)


PATCHES = {"attn1_patch": merge, "attn1_output_patch": undo}


def begin(live: Live, options: dict[str, Any]) -> dict[str, Any]:
    """Return what a model call's options need."""
    return {MERGING: Merging(live, options)} if live.active.acts_at("merge") else {}


class Merging:
    """Merged tokens in one model call."""

    def __init__(self, live: Live, options: dict[str, Any]) -> None:
        """Take the call, and ComfyUI's options of it."""
        if not is_innermost(options, merge, undo):
            raise HostError(
                "model: got another node that changes self-attention behind VidToMe; expected VidToMe to be the last; "
                "put that node before VidToMe, or take it out."
            )
        self._live, self._merged = live, None

    def merge(
        self, query: Tensor, key: Tensor, value: Tensor, options: dict[str, Any]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return a layer's query, key and value tokens."""
        self._merged: Merged | None = self._live.active.merge(query, self._live.layer(options))
        if self._merged is None:
            return query, key, value
        left = self._merged.tokens
        return left, left, left

    def undo(self, output: Tensor) -> Tensor:
        """Return a layer's output for every token."""
        return output if self._merged is None else self._merged.undo(output)
