"""The skips of a UNet: what its way up takes side by side with what its way down has made."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ...models.edits.active import RunEdits
from ..weights.networks import size_of
from .layers import Live


def put_on(unet: UNet2DConditionModel, run: RunEdits, live: Live) -> Iterator[RemovableHandle]:
    """Let edits act where a UNet's way up takes in its way down: before each residual block of the way up."""
    if run.parts("skips"):
        size = size_of(unet)
        for before, place in pairwise(size.places):
            if place.block[0] == "output":
                block = unet.get_submodule(f"{place.part}.resnets.{place.index}")
                factor = before.width // size.model_channels
                yield block.register_forward_pre_hook(partial(_join, live, before.width, factor))


def _join(
    live: Live, width: int, factor: int, _module: nn.Module, inputs: tuple[Any, ...]
) -> tuple[Any, ...] | None:
    active, both = live(), inputs[0]
    if active is None or not active.acts_at("skips"):
        return None
    joined: tuple[Tensor, Tensor] = active.join(both[:, :width], both[:, width:], factor)
    return torch.cat(joined, dim=1), *inputs[1:]
