"""Residual norms of the UNet over a whole clip, as AnimateDiff v1's modules were trained.

v1 was trained with the UNet's residual and final GroupNorms taking their statistics over all frames of a video. No
patch point of ComfyUI reaches inside a residual block, so each of these norms has two of torch's hooks, as ``hooks``
has them: one lays a video's frames out as one tall picture, the other undoes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock
from einops import rearrange
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .slots import layers_of


def hook(unet: Any, live: Callable[[], Any]) -> Iterator[RemovableHandle]:
    """Take a UNet's norms over as many frames as a model call says, until the handles are removed.

    Args:
        unet: ComfyUI's.
        live: returns the model call that is on, with ``norm_frames``; None: no call is.

    Yields:
        Handles of the hooks.
    """

    def frames() -> int:
        call = live()
        return 1 if call is None else call.norm_frames

    def fold(_norm: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if frames() == 1:
            return None
        return (rearrange(inputs[0], "(b f) c h w -> b c (f h) w", f=frames()), *inputs[1:])

    def unfold(_norm: nn.Module, _inputs: Any, output: Tensor) -> Tensor | None:
        return None if frames() == 1 else rearrange(output, "b c (f h) w -> (b f) c h w", f=frames())

    for norm in _norms(unet):
        yield norm.register_forward_pre_hook(fold)
        yield norm.register_forward_hook(unfold)


def _norms(unet: Any) -> Iterator[nn.Module]:
    """Yield the norms to be taken over the clip."""
    blocks: list[Any] = [layer for layer in layers_of(unet) if isinstance(layer, ResBlock)]
    for block in blocks:
        yield block.in_layers[0]
        yield block.out_layers[0]
    yield unet.out[0]
