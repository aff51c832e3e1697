"""Norms of a network whose statistics go over all frames of a video, as AnimateDiff v1's modules were trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from einops import rearrange
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .active import Active
from .lockstep import InPart


def hook_norm(norm: nn.Module, find: Callable[[], Active | None]) -> Iterator[RemovableHandle]:
    """Take a norm over as many frames as the model call that is on says, until the handles are removed.

    Args:
        norm: norm of [N, C, H, W].
        find: function that returns what acts in the call that is on; None: no call is.

    Yields:
        Handles of the hooks.
    """

    def fold(pictures: Tensor, frames: int) -> Tensor:
        """Lay a video's frames out as one tall picture."""
        return rearrange(pictures, "(b f) c h w -> b c (f h) w", f=frames)

    def unfold(pictures: Tensor, frames: int) -> Tensor:
        return rearrange(pictures, "b c (f h) w -> (b f) c h w", f=frames)

    def over_clip(norm: nn.Module, frames: int, pictures: Tensor) -> Tensor:
        return unfold(norm.forward(fold(pictures, frames)), frames)

    def before(_norm: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        active = find()
        if active is None or active.norm_frames == 1 or isinstance(active, InPart):
            return None
        return (fold(inputs[0], active.norm_frames), *inputs[1:])

    def after(norm: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        active = find()
        if active is None or active.norm_frames == 1:
            return None
        frames = active.norm_frames
        if isinstance(active, InPart):  # what the norm made of a part by itself is of no use
            return active.meet(partial(over_clip, norm, frames), inputs[0])
        return unfold(output, frames)

    yield norm.register_forward_pre_hook(before)
    yield norm.register_forward_hook(after)
