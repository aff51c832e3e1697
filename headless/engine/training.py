"""A model's UNet, with its edits, as a function that gradients go through."""

from __future__ import annotations

import copy
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from ...models.edits.call import Held
from ...models.edits.edit import Edit
from ...models.motion.edit import motion_edit
from ...models.training import FrozenForward, Learner, check_learner, recompute
from ..weights.model import Model
from .edits import forward_with_edits
from .motion import LoadedMotion


def differentiable(model: Model, frames: int, learner: Learner | None, *, save_memory: bool) -> FrozenForward:
    """Return the UNet as ``contract.Host.train_forward`` says.

    Args:
        model: the model.
        frames: frames per video.
        learner: a motion module that learns; None: none does.
        save_memory: work blocks out again for gradients.
    """
    check_learner(model.edits, learner, model.size.slots)
    edits = tuple(
        edit.with_networks([_in_float32(network) for network in edit.networks]) for edit in model.edits
    )
    if learner is not None:
        edits = (*edits, motion_edit("training", learner))
    unet = _own_unet(model)
    if save_memory:
        for block in unet.modules():
            if isinstance(block, ResnetBlock2D | Transformer2DModel):
                recompute(block)
    return FrozenForward(unet, _Edited(unet, edits, frames))


class _Edited:
    """A UNet of its own with edits on it, which stay as long as this does: gradients may run blocks again."""

    def __init__(self, unet: UNet2DConditionModel, edits: tuple[Edit, ...], frames: int) -> None:
        self._hooks = ExitStack()
        self._predict = self._hooks.enter_context(forward_with_edits(unet, edits, frames))

    def __call__(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        tokens: Tensor,
        given: Held | None = None,
        pooled: Tensor | None = None,
    ) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            parts = (part.clone() if part.is_inference() else part for part in (noisy, timesteps, tokens))
            return self._predict(*parts, given, pooled)


def _in_float32(network: Any) -> Any:
    """Return what runs beside a UNet, half precision on a GPU, so that it fits the copy of the UNet."""
    if isinstance(network, LoadedMotion):
        own = network if network.dtype == torch.float32 else replace(network, dtype=torch.float32)
        return own.network
    with torch.inference_mode(False):
        return copy.deepcopy(network).float()


@torch.inference_mode(False)
def _own_unet(model: Model) -> UNet2DConditionModel:
    """Copy a model's network with its LoRAs merged, in float32; weights that are so already are shared."""
    weights = {
        id(value): nn.Parameter(model.weights.get(name, value).detach().float(), requires_grad=False)
        for name, value in model.unet.named_parameters()
    }
    return copy.deepcopy(model.unet, weights)
