"""The first convolution: what is added behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ...models.edits.active import RunEdits
from .layers import Live


def put_on(unet: UNet2DConditionModel, run: RunEdits, live: Live) -> Iterator[RemovableHandle]:
    """Let a UNet's first convolution go on as edits say."""

    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor | None:
        active = live()
        return None if active is None else active.input(output)

    if run.parts("input"):
        yield unet.conv_in.register_forward_hook(hook)
