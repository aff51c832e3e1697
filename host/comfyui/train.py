"""A model's UNet, with its edits, as a function that gradients go through."""

from __future__ import annotations

import copy
import logging
from dataclasses import replace
from typing import Any

import comfy.model_management
import comfy.model_sampling
import torch
from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock
from torch import Tensor

from ...models.edit import Edit, Given, TemporalEdit, training_call
from ...models.errors import HostError
from ...models.learning import Base, FrozenForward, Learner, check_learner, describe_base, recompute
from . import gligen, hooks
from .energy import is_ours
from .family import family_of
from .install import installed
from .network import sd1_size
from .patches import all_patches
from .run import Acting, LiveCall
from .slots import KEY

logger = logging.getLogger(__name__)


def describe(model: Any) -> Base:
    """Return what ``contract.Host.base`` says."""
    sampling = model.get_model_object("model_sampling")
    kinds = comfy.model_sampling
    if isinstance(sampling, kinds.EDM | kinds.X0) or not isinstance(sampling, kinds.EPS):
        raise HostError(
            f"model: is a {family_of(model).name}, which predicts neither noise nor velocity; expected a Stable "
            "Diffusion model; load an SD1.5 checkpoint or the demo model."
        )
    if not all(weight.is_floating_point() for weight in model.model.diffusion_model.parameters()):
        raise HostError(
            "model: has quantised weights (GGUF, say), through which no gradient goes; expected fp16, bf16, fp32 or "
            "fp8; load such a file of the same checkpoint."
        )
    size = sd1_size(model.model.diffusion_model)
    return describe_base(
        "v" if isinstance(sampling, kinds.V_PREDICTION) else "eps", size.slots, size.in_channels
    )


def differentiable(model: Any, frames: int, learner: Learner | None, *, save_memory: bool) -> FrozenForward:
    """Return the UNet as ``contract.Host.train_forward`` says.

    ComfyUI runs nodes in inference mode, whose tensors autograd refuses to save, so the networks are copied outside of
    it, in float32: of models that dynamic VRAM holds in parts, whole ones that are loaded for it, with LoRAs in their
    weights. Edits with a start or end percent see progress 0.

    Args:
        model: a MODEL.
        frames: frames per video.
        learner: a motion module that learns; None: none does.
        save_memory: work blocks out again for gradients.
    """
    edits = installed(model)
    size = sd1_size(model.model.diffusion_model)
    check_learner(edits, learner, size.slots)
    options = model.model_options
    told = {**options["transformer_options"], "wrappers": model.wrappers}
    if "model_function_wrapper" in options or model.injections or not is_ours(told):
        logger.warning(
            "model: other packs' nodes have patched it; that does not act in training; take them out to be sure."
        )
    model, *motions = (
        each.clone(disable_dynamic=True) for each in (model, *model.get_additional_models_with_key(KEY))
    )
    comfy.model_management.load_models_gpu([model, *motions], force_full_load=True)
    with torch.inference_mode(False):
        device = comfy.model_management.get_torch_device()  # some weights are elsewhere where memory is short
        with model.use_ejected():  # layers that other packs put into it are theirs
            unet = copy.deepcopy(model.model.diffusion_model).to(device, torch.float32).requires_grad_(False)
        unet.dtype = torch.float32  # what the UNet casts its time embedding to
        modules = [copy.deepcopy(motion.model).to(device, torch.float32) for motion in motions]
        edits = tuple(_with_own_gligen(edit, device) for edit in edits)
    tuple(hooks.hook(unet, over_clip=True))  # on a network of its own: for good, since blocks may run again
    if save_memory:
        for block in unet.modules():
            if isinstance(block, ResBlock | SpatialTransformer):
                recompute(block)
    if learner is not None:
        edits = (*edits, Edit("training", temporal=TemporalEdit(learner)))
        modules.append(learner.network)
    ours: dict[str, Any] = {"patches": all_patches()}

    def forward(noisy: Tensor, timesteps: Tensor, tokens: Tensor, given: Given | None = None) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            context = tokens.repeat_interleave(len(noisy) // len(tokens), 0)
            live = LiveCall(training_call(noisy, frames, given), Acting(edits, modules, size), ours)
            with hooks.telling(live):
                return unet(noisy, timesteps, context=context, transformer_options=live.options(ours))

    return FrozenForward(unet, forward)


def _with_own_gligen(edit: Edit, device: torch.device) -> Edit:
    if edit.gligen is None:
        return edit
    return replace(edit, gligen=gligen.to_train_through(edit.gligen, device))
