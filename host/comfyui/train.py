"""A model's UNet, with its edits, as a function that gradients go through."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import comfy.model_management
import torch
from torch import Tensor

from ...models.edit import Given, training_call
from ...models.energy import check_trainable
from . import attention, clip_norm, slots
from .install import installed
from .run import Acting, LiveCall
from .slots import KEY


def differentiable(model: Any, frames: int) -> Callable[..., Tensor]:
    """Return the UNet as ``contract.Host.train_forward`` says.

    ComfyUI runs nodes in inference mode, whose tensors autograd refuses to save, so the networks are copied outside of
    it, in float32. Edits with a start or end percent see progress 0.

    Args:
        model: a MODEL.
        frames: frames per video.
    """
    check_trainable(installed(model))
    motions = model.get_additional_models_with_key(KEY)
    comfy.model_management.load_models_gpu([model, *motions])
    with torch.inference_mode(False):
        unet = copy.deepcopy(model.model.diffusion_model).float().requires_grad_(False)
        unet.dtype = torch.float32  # what the UNet casts its time embedding to
        modules = [copy.deepcopy(motion.model).float() for motion in motions]
    slots.put_in(unet)
    clip_norm.put_in(unet)
    edits = installed(model)
    options: dict[str, Any] = {
        "patches": {
            "forward_timestep_embed_patch": [(slots.Slot, slots.run_slot)],
            "input_block_patch": [slots.run_stem],
            "attn1_patch": [attention.read_frames],
            "attn1_output_patch": [attention.unfold],
        }
    }

    def forward(noisy: Tensor, timesteps: Tensor, tokens: Tensor, given: Given | None = None) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            live = LiveCall(training_call(noisy, frames, given), Acting(edits, modules), options)
            with clip_norm.clip_of(live.norm_frames):
                return unet(noisy, timesteps, context=tokens, transformer_options={**options, KEY: live})

    return forward
