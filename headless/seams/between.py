"""Between self- and cross-attention: tokens that change there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ...models.edits.active import RunEdits
from ...models.edits.call import Call
from ...models.edits.edit import Change
from .layers import Live, attention_layers


@dataclass(frozen=True)
class Brought:
    """A change that conditions bring with them, as core's GLIGEN nodes have it; in the place of an edit's part."""

    made: Change

    def change(self, call: Call) -> Change:
        """Return it, whatever the call."""
        del call
        return self.made


def put_on(unet: UNet2DConditionModel, run: RunEdits, live: Live) -> Iterator[RemovableHandle]:
    """Let tokens change between a UNet's attentions as edits, or the run's conditions, say.

    Cross-attention reads changed tokens through the norm before it; what it adds to the plain ones gets the change too.
    """
    if run.parts("between") or any(options.get("gligen") for options in run.conditions):
        for layer, attention in attention_layers(unet, "attn2"):
            block: Any = unet.get_submodule(layer.module)
            before, after = _hooks(layer.number, live)
            yield block.norm2.register_forward_pre_hook(before)
            yield attention.register_forward_hook(after)


def _hooks(number: int, live: Live) -> tuple[Callable[..., Any], Callable[..., Any]]:
    difference: list[Tensor] = []

    def before(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        active = live()
        if active is None or not active.acts_at("between"):
            return None
        changed = active.between(inputs[0], number)
        difference.append(changed - inputs[0])
        return (changed,)

    def after(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor | None:
        return output + difference.pop(0) if difference else None  # parts of a call go in one order

    return before, after
