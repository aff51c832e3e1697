"""A model's UNet, with its edits, as a function that gradients go through."""

from __future__ import annotations

import copy
from contextlib import ExitStack
from dataclasses import replace

import torch
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from ..models.edit import Edit, Given, TemporalEdit
from ..models.learning import FrozenForward, Learner, check_learner, recompute
from .edits import forward_with_edits
from .model import Model
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
    edits = tuple(_in_float32(edit) for edit in model.edits)
    if learner is not None:
        edits = (*edits, Edit("training", temporal=TemporalEdit(learner)))
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
        self, noisy: Tensor, timesteps: Tensor, tokens: Tensor, given: Given | None = None
    ) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            parts = (part.clone() if part.is_inference() else part for part in (noisy, timesteps, tokens))
            return self._predict(*parts, given)


def _in_float32(edit: Edit) -> Edit:
    """Return an edit whose motion module, half precision on a GPU, fits the copy of the UNet."""
    if edit.temporal is None or not isinstance(edit.temporal.motion, LoadedMotion):
        return edit
    motion = edit.temporal.motion
    if motion.dtype == torch.float32:
        return edit
    return replace(edit, temporal=replace(edit.temporal, motion=replace(motion, dtype=torch.float32)))


@torch.inference_mode(False)
def _own_unet(model: Model) -> UNet2DConditionModel:
    """Copy a model's network with its LoRAs merged, in float32; weights that are so already are shared."""
    weights = {
        id(value): nn.Parameter(model.weights.get(name, value).detach().float(), requires_grad=False)
        for name, value in model.unet.named_parameters()
    }
    return copy.deepcopy(model.unet, weights)
