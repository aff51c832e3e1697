"""Guidance by a gradient in ComfyUI: the UNet once more, outside of inference mode, before the call it is about.

ComfyUI loads weights in inference mode, and autograd refuses to save such tensors. So while the UNet is asked, its
modules hold other tensors on the same memory; nothing is copied, and nothing is written to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor, nn
from torch.func import functional_call

from ....models.edits.active import Active, RunEdits
from ....models.edits.call import Call
from ....models.edits.edit import Observer
from ....models.edits.guide import find_shift
from ....models.errors import HostError
from . import patches
from .live import KEY

# Runs the UNet, and shows it to one observer.
AskPart = Callable[["Inputs", Call, Observer], Any]
_AFTER_SKIP = "input_block_patch_after_skip"


def _copy(hidden: Tensor, _options: dict[str, Any]) -> Tensor:
    """Copy what goes on from a block: ComfyUI adds ControlNets' residuals to the other end, the skip, in place."""
    return hidden.clone()


@dataclass(frozen=True)
class Inputs:
    """Arguments of the UNet, of which a part of the batch can be taken.

    Attributes:
        noisy: [N, C, H, W].
        timesteps: [N].
        context: [N, S, D].
        rest: further ones by name: ControlNets' residuals, and what kinds of models have.
        options: ComfyUI's ``transformer_options``.
    """

    noisy: Tensor
    timesteps: Tensor
    context: Tensor | None
    rest: dict[str, Any]
    options: dict[str, Any]

    def part(self, noisy: Tensor, rows: slice, call: Call) -> Inputs:
        """Return those of some rows, with other noisy latents in them; lists are new."""
        count = len(self.noisy)

        def take(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: take(each) for name, each in value.items()}
            if isinstance(value, list):
                return [take(each) for each in value]
            return value[rows].clone() if isinstance(value, Tensor) and len(value) == count else value

        present = self.options.get("patches", {})
        told = {
            **self.options,
            "patches": {**present, _AFTER_SKIP: [_copy, *present.get(_AFTER_SKIP, [])]},
            "cond_or_uncond": [each.index for each in call.conditions],
            "uuids": [each.key for each in call.conditions],
        }
        return Inputs(noisy, take(self.timesteps), take(self.context), take(self.rest), told)


def find_guidance(
    run: RunEdits, active: Active, unet: nn.Module, inputs: Inputs, ask: AskPart
) -> Tensor | None:
    """Return how far a run's guide moves the clean latents of a call, [F, C, H, W]; None: it does not.

    Args:
        run: the edits, with their networks as they are loaded.
        active: edits that act in the model call.
        unet: the model's network.
        inputs: inputs of the UNet.
        ask: runs the UNet as it would be run for the call.

    Raises:
        HostError: part of the networks' weights is elsewhere than the latents.
    """
    guide, call = run.find("guide"), active.call
    if guide is None or not guide.guided(call):
        return None
    holder = nn.ModuleList([unet, *(network for edit in run.edits for network in edit.networks)])
    weights = {
        name: _readable(name, weight, inputs.noisy.device)
        for name, weight in (*holder.named_parameters(), *holder.named_buffers())
    }
    apart = active.keeps_frames_apart and is_ours(inputs.options)

    def ask_rows(noisy: Tensor, rows: slice, part: Call, observer: Observer) -> None:
        ask(inputs.part(noisy, rows, part), part, observer)

    def find() -> Tensor | None:
        return find_shift(guide, call, inputs.noisy, ask_rows, apart=apart)

    return functional_call(
        _Within(holder), {f"networks.{name}": each for name, each in weights.items()}, find
    )


class _Within(nn.Module):
    """Calls a function while ``functional_call`` has other tensors in some networks."""

    def __init__(self, networks: nn.ModuleList) -> None:
        super().__init__()
        self.networks = networks

    def forward(self, function: Callable[[], Any]) -> Any:
        """Call it."""
        return function()


def _readable(name: str, weight: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on the same memory that autograd may save."""
    if weight.device != device or type(weight) not in (Tensor, nn.Parameter):
        raise HostError(
            f"layout: energy guidance needs the whole model as plain tensors on {device}, got {name} on "
            f"{weight.device} as {type(weight).__name__}; start ComfyUI with --disable-dynamic-vram or --highvram, "
            "load weights that are not quantized, or set Layout Conditioning's method to bias + gather."
        )
    with torch.inference_mode(False):
        place = (weight.storage_offset(), weight.shape, weight.stride())
        return torch.empty(0, dtype=weight.dtype, device=device).set_(weight.untyped_storage(), *place)


def is_ours(options: dict[str, Any]) -> bool:
    """Tell whether no other pack has patches on a model call; one might let frames read each other."""
    are_ours = all(patches.are_ours(place, each) for place, each in options.get("patches", {}).items())
    # How memory is made ready changes no prediction; ComfyUI's handler of windows, which ours is, has a hand in it.
    kinds = options.get("wrappers", {}).items()
    wrappers = {key for kind, keys in kinds if kind != WrappersMP.PREPARE_SAMPLING for key in keys}
    return are_ours and not any(options.get("patches_replace", {}).values()) and wrappers <= {KEY}
