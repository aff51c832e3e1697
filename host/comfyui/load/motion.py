"""Motion modules and SparseCtrl under ComfyUI's memory management: their layers, attention and LoRA patches."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

import comfy.ldm.modules.attention
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.weight_adapter
import torch
from torch import Tensor

from ....models.motion.camera_ctrl import CameraNetwork, CameraWeights
from ....models.motion.checkpoint import MotionWeights
from ....models.motion.edit import Varying
from ....models.motion.lora import MotionLoRA, Strength
from ....models.motion.module import MotionModel
from ....models.motion.motion_ctrl import ModuleCamera
from ....models.motion.pictures import Picture
from ....models.motion.sparse_checkpoint import SparseWeights
from ....models.motion.sparse_control import SparseNetwork
from ....models.motion.sparse_network import SparseControl
from ....models.video.factors import Factors

SUPPORTED_DTYPES = [torch.float16, torch.bfloat16, torch.float32]

# The attention override of the run that is on, if any (SageAttention and the like); nothing else of the UNet's options
# reaches temporal attention, whose tokens are frames: other packs' patches would misread them.
_override: ContextVar[Any] = ContextVar("frameloom_attention_override", default=None)


@contextmanager
def attention_of(transformer_options: dict[str, Any]) -> Iterator[None]:
    """Let temporal attention use a run's attention override while the context lasts."""
    token = _override.set(transformer_options.get("optimized_attention_override"))
    try:
        yield
    finally:
        _override.reset(token)


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Attend with the function ComfyUI chose for this machine. Shapes as ``models.motion.module.attend``."""
    override = _override.get()
    options = {} if override is None else {"optimized_attention_override": override}
    return comfy.ldm.modules.attention.optimized_attention(
        query, key, value, heads, transformer_options=options
    )


class ComfyMotion:
    """What a FRAMELOOM_MOTION socket carries in ComfyUI. Immutable.

    Attributes:
        weights: weights without LoRAs.
        patcher: ComfyUI's handle on the module; its ``model`` is a ``MotionModel``.
        loras: stacked on it, with their strengths.
        varying: strength where it changes; None: it stays.
        picture: picture that it is given; None: it has none.
        camera: camera that it reads; None: it has none.
    """

    def __init__(self, weights: MotionWeights, patcher: comfy.model_patcher.ModelPatcher) -> None:
        self.weights, self.patcher = weights, patcher
        self.loras: tuple[tuple[MotionLoRA, Strength], ...] = ()
        self.varying: Varying | None = None
        self.picture: Picture | None = None
        self.camera: ModuleCamera | None = None

    def with_lora(self, lora: MotionLoRA, strength: Strength) -> ComfyMotion:
        """Return the same module with a motion LoRA stacked on it, as a weight patch on a clone.

        One whose strength changes is no patch: the edit runs it beside the module's layers.

        Raises:
            CheckpointError: the LoRA is for another module.
        """
        lora = lora.fit(self.weights)
        weights = lora.make_room(self.weights)
        if weights is not self.weights:
            return self.with_weights(weights).with_lora(lora, strength)
        patcher, loras = self.patcher, (*self.loras, (lora, strength))
        if not isinstance(strength, Factors):
            patcher = patcher.clone()
            patcher.add_patches(_patches(lora), strength)
        return self._with(patcher=patcher, loras=loras)

    def with_varying(self, varying: Varying | None) -> ComfyMotion:
        """Return the same module with a strength that changes."""
        return self._with(varying=varying)

    def with_picture(self, picture: Picture | None) -> ComfyMotion:
        """Return the same module with a picture."""
        return self._with(picture=picture)

    def with_camera(self, camera: ModuleCamera | None) -> ComfyMotion:
        """Return the same module with a camera."""
        return self._with(camera=camera)

    def _with(self, **changed: Any) -> ComfyMotion:
        motion = copy.copy(self)
        vars(motion).update(changed)
        return motion

    def for_key(self) -> Any:
        """Return what stands for it in keys of finished work: no weights, but LoRAs whose strength changes."""
        changing = [each for each in self.loras if isinstance(each[1], Factors)]
        return {"type": "ComfyMotion", "loras": changing} if changing else "ComfyMotion"

    def separate(self) -> ComfyMotion:
        """Return an equal module that shares no weights with this one.

        Two clones of one patcher are one module, so a model that holds it twice with different LoRAs needs two.
        """
        return self.with_weights(self.weights)

    def with_weights(self, weights: MotionWeights) -> ComfyMotion:
        """Return a module of other weights, with the same LoRAs and strengths."""
        motion = load_motion(weights)
        for lora, strength in self.loras:
            motion = motion.with_lora(lora, strength)
        return motion.with_varying(self.varying).with_picture(self.picture).with_camera(self.camera)


def _patches(lora: MotionLoRA) -> dict[str, Any]:
    """Return a motion LoRA in ComfyUI's form: up, down, alpha, mid, dora scale, reshape."""
    patches: dict[str, Any] = {
        name: comfy.weight_adapter.LoRAAdapter(set(), (up, down, None, None, None, None))
        for name, (down, up) in lora.pairs.items()
    }
    return patches | {name: ("diff", (encoder,)) for name, encoder in lora.encoders.items()}


def load_motion(weights: MotionWeights) -> ComfyMotion:
    """Build a motion module of ComfyUI's layers.

    Args:
        weights: weights as read from a file; their tensors are shared if ComfyUI can map them, else copied.

    Returns:
        The module, offloaded; ComfyUI loads it with the models it is put into.
    """
    return ComfyMotion(weights, build_patcher(MotionModel, weights))


def load_camera(weights: CameraWeights) -> comfy.model_patcher.ModelPatcher:
    """Build CameraCtrl's network of ComfyUI's layers, offloaded, as ``load_motion`` does a module."""
    return build_patcher(CameraNetwork, weights)


def load_sparse_control(weights: SparseWeights) -> SparseNetwork:
    """Build a SparseCtrl network of ComfyUI's layers, offloaded, as ``load_motion`` does a module."""
    return SparseNetwork.of(weights, build_patcher(SparseControl, weights))


def build_patcher(
    network: type[MotionModel | CameraNetwork | SparseControl],
    weights: MotionWeights | CameraWeights | SparseWeights,
    disable_dynamic: bool = False,
) -> comfy.model_patcher.ModelPatcher:
    """Build a network's patcher; ComfyUI calls it again when it wants a fresh one (``cached_patcher_init``)."""
    parameters = sum(tensor.numel() for tensor in weights.state.values())
    offload = comfy.model_management.unet_offload_device()
    model = network(
        cast("Any", weights.size),
        operations=comfy.ops.manual_cast,
        attend=attend,
        dtype=comfy.model_management.unet_dtype(model_params=parameters, supported_dtypes=SUPPORTED_DTYPES),
        device=offload,
    )
    model.eval().requires_grad_(False)
    comfy.model_management.archive_model_dtypes(model)
    plain, core = comfy.model_patcher.ModelPatcher, comfy.model_patcher.CoreModelPatcher
    patcher = (plain if disable_dynamic else core)(
        model, load_device=comfy.model_management.get_torch_device(), offload_device=offload
    )
    model.load_state_dict(dict(weights.state), strict=True, assign=patcher.is_dynamic())
    patcher.cached_patcher_init = (build_patcher, (network, weights))
    return patcher
