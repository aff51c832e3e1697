"""A model's UNet, with its edits, as a function that gradients go through."""

from __future__ import annotations

import copy
import logging
from typing import Any

import comfy.model_management
import comfy.model_sampling
import torch
from comfy.gligen import Gligen as CoreGligen
from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock
from torch import Tensor

from ...models.edits.active import RunEdits
from ...models.edits.call import Held, training_call
from ...models.errors import HostError
from ...models.layout.gligen import Gligen
from ...models.motion.edit import motion_edit
from ...models.network.family import LOAD_UNET, check_has_slots
from ...models.network.unet import UNetSize
from ...models.training import Base, FrozenForward, Learner, check_learner, describe_base, recompute
from .installed import hand_out, installed
from .levels import check_discrete
from .load.family import family_of
from .seams import hooks, patches
from .seams.guide import is_ours
from .seams.live import KEY, Live
from .seams.network import size_of

logger = logging.getLogger(__name__)

_MEASURES = 6 * 256  # width of the sizes that core embeds beside SDXL's pooled text
_PIXELS_PER_LATENT = 8


def describe(model: Any) -> Base:
    """Return what ``contract.Host.base`` says."""
    sampling = model.get_model_object("model_sampling")
    kinds = comfy.model_sampling
    if isinstance(sampling, kinds.EDM | kinds.X0) or not isinstance(sampling, kinds.EPS):
        raise HostError(
            f"model: is a {family_of(model).name}, which predicts neither noise nor velocity; expected a Stable "
            f"Diffusion model; {LOAD_UNET}."
        )
    check_discrete(sampling, family_of(model).name)
    if not all(weight.is_floating_point() for weight in model.model.diffusion_model.parameters()):
        raise HostError(
            "model: has quantised weights (GGUF, say), through which no gradient goes; expected fp16, bf16, fp32 or "
            "fp8; load such a file of the same checkpoint."
        )
    size, is_v = _size_of(model), isinstance(sampling, kinds.V_PREDICTION)
    pooled = model.model.adm_channels - _MEASURES if family_of(model).is_sdxl else 0
    return describe_base("v" if is_v else "eps", size.slots, size.in_channels, pooled, sampling.sigmas)


def differentiable(
    model: Any, frames: int, learner: Learner | None = None, *, save_memory: bool = False
) -> FrozenForward:
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
    edits, size = installed(model), _size_of(model)
    check_learner(edits, learner, size.slots)
    options = model.model_options
    told = {**options["transformer_options"], "wrappers": model.wrappers}
    if "model_function_wrapper" in options or model.injections or not is_ours(told):
        logger.warning(
            "model: other packs' nodes have patched it; that does not act in training; take them out to be sure."
        )
    beside = [
        each.model if isinstance(each.model, CoreGligen) else each.clone(disable_dynamic=True)
        for each in model.get_additional_models_with_key(KEY)
    ]
    model = model.clone(disable_dynamic=True)
    whole = [each for each in beside if not isinstance(each, CoreGligen)]
    comfy.model_management.load_models_gpu([model, *whole], force_full_load=True)
    with torch.inference_mode(False):
        device = comfy.model_management.get_torch_device()  # some weights are elsewhere where memory is short
        with model.use_ejected():  # layers that other packs put into it are theirs
            unet = copy.deepcopy(model.model.diffusion_model).to(device, torch.float32).requires_grad_(False)
        unet.dtype = torch.float32  # what the UNet casts its time embedding to
        copies = [
            _copy_gligen(each) if isinstance(each, CoreGligen) else copy.deepcopy(each.model)
            for each in beside
        ]
        edits = hand_out(edits, [each.to(device, torch.float32) for each in copies])
    # On a network of its own, and for good, since blocks may run again.
    tuple(hooks.hook(unet, size, over_clip=True))
    if save_memory:
        for block in unet.modules():
            if isinstance(block, ResBlock | SpatialTransformer):
                recompute(block)
    if learner is not None:
        edits = (*edits, motion_edit("training", learner))
    ours: dict[str, Any] = {"patches": patches.all_patches()}
    run = RunEdits(edits)

    def forward(
        noisy: Tensor,
        timesteps: Tensor,
        tokens: Tensor,
        given: Held | None = None,
        pooled: Tensor | None = None,
    ) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            told: dict[str, Any] = {"context": _row_each(tokens, noisy)}
            if pooled is not None:
                told["y"] = _row_each(_beside_tokens(model, pooled, noisy), noisy)
            run.forget()
            live = Live(run.at(training_call(noisy, frames, given)), unet, size)
            with hooks.telling(live):
                return unet(noisy, timesteps, transformer_options=patches.tell(live, ours), **told)

    return FrozenForward(unet, forward)


def _size_of(model: Any) -> UNetSize:
    """Return the sizes of a model's UNet; ValueError for one without temporal slots."""
    check_has_slots(family_of(model), "training", "train this one with a trainer of its family")
    size = size_of(model.model.diffusion_model)
    assert size is not None  # or the family would not be one of those
    return size


def _row_each(given: Tensor, noisy: Tensor) -> Tensor:
    """Repeat the rows of videos, [B, ...], for their frames, [B*F, ...]."""
    return given.repeat_interleave(len(noisy) // len(given), 0)


def _beside_tokens(model: Any, pooled: Tensor, noisy: Tensor) -> Tensor:
    """Return what core makes of pooled text, [B, D], and of pictures' own size, for SDXL's label embedding."""
    height, width = (_PIXELS_PER_LATENT * side for side in noisy.shape[-2:])
    return model.model.encode_adm(pooled_output=pooled, width=width, height=height).to(noisy)


def _copy_gligen(theirs: CoreGligen) -> Gligen:
    """Return GLIGEN's layers with the numbers of core's: on those, dynamic VRAM keeps handles that can't be copied."""
    layers: Any = theirs.module_list
    own = Gligen(
        [layer.norm1.normalized_shape[0] for layer in layers],
        layers[0].linear.in_features,
        theirs.position_net.in_dim,
    )
    own.load_state_dict(theirs.state_dict())
    return own.requires_grad_(False)
