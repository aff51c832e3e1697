"""A motion module as the headless host runs it: our network, its weights, and motion LoRAs merged into a copy."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch

from ...models.motion.checkpoint import MotionWeights
from ...models.motion.edit import Varying
from ...models.motion.lora import MotionLoRA, merge_loras
from ...models.motion.module import MotionModel
from ...models.motion.pictures import Picture


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
    """

    weights: MotionWeights
    device: torch.device
    dtype: torch.dtype
    loras: tuple[tuple[MotionLoRA, float], ...] = ()
    varying: Varying | None = field(default=None, compare=False)  # the edit's keys have these two
    picture: Picture | None = field(default=None, compare=False)

    @cached_property
    def network(self) -> MotionModel:
        """The network, built when first needed."""
        with torch.inference_mode(False):  # weights made in inference mode could never be trained through
            merged = merge_loras(self.weights, self.loras).state
            state = {key: value.to(self.device, self.dtype, copy=True) for key, value in merged.items()}
            network = MotionModel(self.weights.size, device="meta")
            network.load_state_dict(state, assign=True)
        return network.requires_grad_(False).eval()

    def with_lora(self, lora: MotionLoRA, strength: float) -> LoadedMotion:
        """Return the same module with a motion LoRA stacked on it.

        Raises:
            CheckpointError: the LoRA is for another module.
        """
        lora = lora.fit(self.weights)
        stacked = (*self.loras, (lora, strength))
        return replace(self, weights=lora.make_room(self.weights), loras=stacked)

    def with_varying(self, varying: Varying) -> LoadedMotion:
        """Return the same module with a strength that changes; this one stays as it is."""
        return replace(self, varying=varying)

    def with_picture(self, picture: Picture) -> LoadedMotion:
        """Return the same module with a picture; this one stays as it is."""
        return replace(self, picture=picture)
