"""What is added to the UNet from beside it: as diffusers' ControlNets are, by arguments of the call."""

from __future__ import annotations

from typing import Any

from einops import repeat
from torch import Tensor

from ...models.edits.active import Active


def add_to(control: dict[str, Any], active: Active, tokens: Tensor) -> dict[str, Any]:
    """Return arguments for diffusers' UNet with what edits add to it.

    Args:
        control: arguments of ControlNets, which may be none.
        active: edits that act in the call.
        tokens: text, [chunks, L, D], or [N, L, D] where a condition has tokens for every frame.
    """
    if not active.acts_at("residuals"):
        return control
    call = active.call
    pictures = len(call.conditions) * call.videos * call.frames
    added = active.residuals(repeat(tokens, "n l d -> (n r) l d", r=pictures // len(tokens)))
    if added is None:
        return control
    skips, middle = list(added.skips), added.middle
    if control:
        before = control["down_block_additional_residuals"]
        skips = [one + more for one, more in zip(before, skips, strict=True)]
        middle = control["mid_block_additional_residual"] + middle
    return {"down_block_additional_residuals": skips, "mid_block_additional_residual": middle}
