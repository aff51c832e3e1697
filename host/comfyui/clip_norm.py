"""Residual norms of the UNet over a whole clip, as AnimateDiff v1's modules were trained.

v1 was trained with the UNet's residual and final GroupNorms taking their statistics over all frames of a video. No
patch point of ComfyUI reaches inside a residual block, so two markers are injected round each of these norms: one lays
a video's frames out as one tall picture, the other undoes it. The norms, their weights and their names are untouched.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock
from comfy.patcher_extension import PatcherInjection
from einops import rearrange
from torch import Tensor, nn

from .slots import remove

# Frames of the call that is on; 1 outside of a run, where the markers then do nothing.
_frames: ContextVar[int] = ContextVar("frameloom_clip_frames", default=1)


@contextmanager
def clip_of(frames: int) -> Iterator[None]:
    """Take the norms over so many frames while the context lasts."""
    token = _frames.set(frames)
    try:
        yield
    finally:
        _frames.reset(token)


class FoldClip(nn.Module):
    """[B*F, C, H, W] -> [B, C, F*H, W]."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Lay frames out below each other."""
        frames = _frames.get()
        return hidden if frames == 1 else rearrange(hidden, "(b f) c h w -> b c (f h) w", f=frames)


class UnfoldClip(nn.Module):
    """[B, C, F*H, W] -> [B*F, C, H, W]."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Undo ``FoldClip``."""
        frames = _frames.get()
        return hidden if frames == 1 else rearrange(hidden, "b c (f h) w -> (b f) c h w", f=frames)


def injection() -> PatcherInjection:
    """Return ComfyUI's handle that puts the markers in and takes them out; bears being called twice."""
    return PatcherInjection(
        inject=lambda patcher: put_in(patcher.model.diffusion_model),
        eject=lambda patcher: take_out(patcher.model.diffusion_model),
    )


def put_in(unet: Any) -> None:
    """Put markers round each norm, once."""
    take_out(unet)
    for layers in _norms(unet):
        (name, norm), *rest = layers._modules.items()
        layers._modules.clear()
        around = [("frameloom_fold", FoldClip()), (name, norm), ("frameloom_unfold", UnfoldClip())]
        layers._modules.update([*around, *rest])


def take_out(unet: Any) -> None:
    """Take all markers out."""
    for layers in _norms(unet):
        remove(layers, lambda child: isinstance(child, FoldClip | UnfoldClip))


def are_in(unet: Any) -> bool:
    """Tell whether the norms have their markers."""
    return isinstance(next(iter(unet.out.children())), FoldClip)


def _norms(unet: Any) -> Iterator[nn.Sequential]:
    """Yield the layers that start with a norm to be taken over the clip."""
    for module in unet.modules():
        if isinstance(module, ResBlock):
            yield module.in_layers
            yield module.out_layers
    yield unet.out
