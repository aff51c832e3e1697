"""A model call that is on, as ComfyUI's options carry it to our patches, and torch's hooks find it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from ....models.edits.active import Active
from ....models.network.unet import Layer, UNetSize

KEY = "frameloom"
TILES = f"{KEY}.tiles"  # key under which a call's options have how frames lie in its pictures


@dataclass(frozen=True, eq=False)
class Live:
    """One model call.

    Attributes:
        active: parts that act in the call.
        unet: the network that is asked.
        size: sizes of that network.
    """

    active: Active
    unet: nn.Module
    size: UNetSize

    def layer(self, options: dict[str, Any]) -> Layer:
        """Return the transformer block whose patches are called.

        Args:
            options: ComfyUI's ``extra_options``.
        """
        return self.size.layer(options["block"], options["block_index"])


def is_innermost(options: dict[str, Any], before: Any, after: Any) -> bool:
    """Tell whether no other patch stands between self-attention and two of ours, one before and one behind it."""
    patches = options.get("patches", {})
    return patches.get("attn1_patch", [])[-1:] == [before] and patches.get("attn1_output_patch", [])[:1] == [
        after
    ]
