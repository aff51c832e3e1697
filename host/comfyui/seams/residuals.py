"""What is added to the UNet from beside it: as ComfyUI's ControlNets are, by an argument of the call."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ....models.edits.active import Active


def add_to(control: dict[str, Any] | None, active: Active, tokens: Tensor | None) -> dict[str, Any] | None:
    """Return ComfyUI's ``control`` with what edits add to the UNet.

    Args:
        control: tensors that ControlNets add, the shallowest first; the UNet takes each from the end of its list. None:
            there are none.
        active: edits that act in the call.
        tokens: prompt, [N, L, D].
    """
    added = active.residuals(tokens) if tokens is not None and active.acts_at("residuals") else None
    if added is None:
        return control
    control = control or {}

    def join(name: str, mine: list[Tensor]) -> list[Tensor]:
        theirs = control.get(name) or []
        aligned = [None] * (len(mine) - len(theirs)) + theirs
        return [own if other is None else own + other for own, other in zip(mine, aligned, strict=True)]

    return {**control, "output": join("output", list(added.skips)), "middle": join("middle", [added.middle])}
