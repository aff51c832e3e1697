"""Motion modules and SparseCtrl as the headless host runs them: our networks; motion LoRAs are merged into a copy."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import torch

from ...models.motion.camera_ctrl import CameraNetwork, CameraWeights
from ...models.motion.checkpoint import MotionWeights
from ...models.motion.edit import Varying
from ...models.motion.lora import MotionLoRA, Strength, merge_loras, steady
from ...models.motion.module import MotionModel
from ...models.motion.motion_ctrl import ModuleCamera
from ...models.motion.pictures import Picture
from ...models.motion.sparse_checkpoint import SparseWeights
from ...models.motion.sparse_control import SparseNetwork
from ...models.motion.sparse_network import SparseControl

_Network = TypeVar("_Network", MotionModel, SparseControl, CameraNetwork)


@dataclass(frozen=True)
class LoadedMotion:
    """What a FRAMELOOM_MOTION socket carries. Immutable.

    Attributes:
        weights: weights without LoRAs.
        device: device that the network is on.
        dtype: type of the network's weights.
        loras: stacked motion LoRAs with their strengths, each fitted to the weights.
        varying: strength where it changes; None: it stays.
        picture: picture that it is given; None: it has none.
        camera: camera that it reads; None: it has none.
    """

    weights: MotionWeights
    device: torch.device
    dtype: torch.dtype
    loras: tuple[tuple[MotionLoRA, Strength], ...] = ()
    varying: Varying | None = field(default=None, compare=False)  # the edit's keys have these three
    picture: Picture | None = field(default=None, compare=False)
    camera: ModuleCamera | None = field(default=None, compare=False)

    @cached_property
    def network(self) -> MotionModel:
        """The network, built when first needed, with the LoRAs in it whose strength is one number."""
        merged = merge_loras(self.weights, steady(self.loras))
        return _build(MotionModel, merged, self.device, self.dtype)

    def with_lora(self, lora: MotionLoRA, strength: Strength) -> LoadedMotion:
        """Return the same module with a motion LoRA stacked on it.

        Raises:
            CheckpointError: the LoRA is for another module.
        """
        lora = lora.fit(self.weights)
        stacked = (*self.loras, (lora, strength))
        return replace(self, weights=lora.make_room(self.weights), loras=stacked)

    def with_weights(self, weights: MotionWeights) -> LoadedMotion:
        """Return a module of other weights, with the same LoRAs and strengths."""
        return replace(self, weights=weights)

    def with_varying(self, varying: Varying) -> LoadedMotion:
        """Return the same module with a strength that changes; this one stays as it is."""
        return replace(self, varying=varying)

    def with_picture(self, picture: Picture) -> LoadedMotion:
        """Return the same module with a picture; this one stays as it is."""
        return replace(self, picture=picture)

    def with_camera(self, camera: ModuleCamera) -> LoadedMotion:
        """Return the same module with a camera; this one stays as it is."""
        return replace(self, camera=camera)


def load_sparse_control(weights: SparseWeights, device: torch.device, dtype: torch.dtype) -> SparseNetwork:
    """Build a SparseCtrl network, with its weights in a type and on a device."""
    return SparseNetwork.of(weights, _build(SparseControl, weights, device, dtype))


def load_camera(weights: CameraWeights, device: torch.device, dtype: torch.dtype) -> CameraNetwork:
    """Build CameraCtrl's network, with its weights in a type and on a device."""
    return _build(CameraNetwork, weights, device, dtype)


@torch.inference_mode(False)  # weights made in inference mode could never be trained through
def _build(network: type[_Network], weights: Any, device: torch.device, dtype: torch.dtype) -> _Network:
    """Build a network of the size of some weights, with a copy of them."""
    state = {key: value.to(device, dtype, copy=True) for key, value in weights.state.items()}
    built = network(weights.size, device="meta")
    built.load_state_dict(state, assign=True)
    return built.requires_grad_(False).eval()
