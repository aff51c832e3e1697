"""A tiny MotionCtrl for tiny modules: its weights as its authors' training saves them, random everywhere."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

VIEW = 12
BLOCK = "temporal_transformer.transformer_blocks.0"
_TRAINED = ("attention_blocks.1.", "norms.1.")


def tiny_motion_ctrl(module: Mapping[str, Tensor], seed: int = 3, pose: float = 0.5) -> dict[str, Tensor]:
    """Return projections for a module without a middle slot, and other weights of what was trained with them.

    Args:
        module: weights of the module, by AnimateDiff's keys.
        seed: seed of the numbers.
        pose: size of the weights that read the camera.
    """
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}
    for key, value in module.items():
        name = key.partition(f".{BLOCK}.")[2]
        if name.startswith(_TRAINED):
            is_encoding = name.endswith(".pe")
            state[key] = (
                value.clone() if is_encoding else value + 0.1 * torch.randn(value.shape, generator=generator)
            )
        if name == "ff_norm.weight":
            width = len(value)
            weight = torch.cat([torch.eye(width), torch.zeros(width, VIEW)], 1)
            weight[:, :width] += 0.05 * torch.randn(width, width, generator=generator)
            weight[:, width:] += pose * torch.randn(width, VIEW, generator=generator)
            start = key.removesuffix("ff_norm.weight")
            state[f"{start}cc_projection.weight"] = weight
            state[f"{start}cc_projection.bias"] = 0.1 * torch.randn(width, generator=generator)
    return state
