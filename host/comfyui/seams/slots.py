"""The temporal slots, and the norms that go over clips beside them: torch's forward hooks for a model call.

ComfyUI's own patches do not reach all of these places in every version. Hooks leave the containers of layers untouched:
other packs put layers of theirs in there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock
from einops import rearrange
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ....models.network.unet import UNetSize
from .live import Live
from .network import layers_of, modules_in

Find = Callable[[], Live | None]
"""Returns the model call that is on; None: no call is."""


def hook_slots(unet: nn.Module, size: UNetSize, find: Find) -> Iterator[RemovableHandle]:
    """Run the slots of a UNet as the model call that is on says, until the handles are removed."""
    for place, module in modules_in(unet, size):
        yield module.register_forward_hook(partial(_run, find, place.slot))


def hook_norms(unet: Any, find: Find) -> Iterator[RemovableHandle]:
    """Take a UNet's residual norms and its last over as many frames as the model call says, until then.

    AnimateDiff v1's modules were trained with norms whose statistics go over all frames of a video. No patch of ComfyUI
    reaches into a residual block, so each of these norms has two hooks.
    """

    def frames() -> int:
        live = find()
        return 1 if live is None else live.active.norm_frames

    def fold(_norm: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """Lay a video's frames out as one tall picture before a norm."""
        if (f := frames()) == 1:
            return None
        return rearrange(inputs[0], "(b f) c h w -> b c (f h) w", f=f), *inputs[1:]

    def unfold(_norm: nn.Module, _inputs: Any, output: Tensor) -> Tensor | None:
        return None if (f := frames()) == 1 else rearrange(output, "b c (f h) w -> (b f) c h w", f=f)

    blocks: list[Any] = [layer for layer in layers_of(unet) if isinstance(layer, ResBlock)]
    norms = [norm for block in blocks for norm in (block.in_layers[0], block.out_layers[0])]
    for norm in (*norms, unet.out[0]):
        yield norm.register_forward_pre_hook(fold)
        yield norm.register_forward_hook(unfold)


def _run(find: Find, slot: str, _module: nn.Module, _inputs: Any, hidden: Tensor) -> Tensor:
    live = find()
    return hidden if live is None else live.active.slot(slot, hidden)
