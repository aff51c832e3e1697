"""Tiny motion modules of the real class, and their files in every layout."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch
from frameloom.models.motion.checkpoint import MID_SLOT, Family, MotionWeights
from frameloom.models.motion.module import MotionModel, MotionSize
from frameloom.models.network.unet import SD1
from frameloom.models.video.schedules import ANIMATEDIFF, BetaSchedule
from safetensors.torch import save_file
from torch import Tensor


def as_hotshot(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a module's weights under the names that HotshotXL's file has."""
    names = {
        "motion_modules": "temporal_attentions",
        ".temporal_transformer": "",
        ".pe": ".positional_encoding",
    }
    renamed = dict(state)
    for ours, theirs in names.items():
        renamed = {key.replace(ours, theirs): value for key, value in renamed.items()}
    return renamed


def tiny_size(*, middle: bool = True, max_frames: int = 32, width: int = 32) -> MotionSize:
    """A module 1, 2, 2, 2 times ``width`` wide, as the demo's."""
    widths = {"down": (1, 2, 2, 2), "up": (2, 2, 2, 1)}
    channels = {
        slot: width * (2 if slot == MID_SLOT else widths[slot.split("_")[0]][int(slot.split(".")[1])])
        for slot in SD1.slots
        if middle or slot != MID_SLOT
    }
    return MotionSize(channels, max_frames)


def tiny_module(seed: int = 0, **size: object) -> MotionModel:
    """A module with random weights everywhere, the output projections too."""
    return copy.deepcopy(_made_module(seed, **size))


@cache
def _made_module(seed: int, **size: object) -> MotionModel:
    model = MotionModel(tiny_size(**size))  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1)
    return model.eval()


def tiny_state(seed: int = 0, **size: object) -> dict[str, Tensor]:
    """Weights of ``tiny_module``, keyed as AnimateDiff's files."""
    return {key: value.clone() for key, value in _made_module(seed, **size).state_dict().items()}


def tiny_weights(
    family: Family = "v2", schedule: BetaSchedule | None = ANIMATEDIFF, **size: object
) -> MotionWeights:
    """Those weights as they are read from a file."""
    state = tiny_state(**size)
    return MotionWeights("mm.safetensors", family, tiny_size(**size), state, schedule, family == "v1")


def equal_states(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Tell whether two hold the same tensors under the same keys."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def save(path: Path, state: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    """Write safetensors."""
    save_file({key: value.clone().contiguous() for key, value in state.items()}, path, metadata)
    return path


def tiny_lora(rank: int = 4, *, middle: bool = True, width: int = 32, seed: int = 1) -> dict[str, Tensor]:
    """A motion LoRA in AnimateDiff's own layout."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for slot, channels in tiny_size(middle=middle, width=width).channels.items():
        for attention in (0, 1):
            block = (
                f"{slot}.temporal_transformer.transformer_blocks.0.attention_blocks.{attention}.processor."
            )
            for layer in ("to_q", "to_k", "to_v", "to_out"):
                state[f"{block}{layer}_lora.down.weight"] = torch.randn(rank, channels, generator=generator)
                state[f"{block}{layer}_lora.up.weight"] = torch.randn(channels, rank, generator=generator)
    return state


def linears() -> dict[str, tuple[Tensor, Tensor]]:
    """A LoRA's matrices, down and up, for every linear layer of the tiny module, by the layer's name."""
    generator = torch.Generator().manual_seed(4)
    shapes = {key: value.shape for key, value in tiny_state().items() if value.dim() == 2}
    return {
        key.removesuffix(".weight"): (
            torch.randn(4, columns, generator=generator),
            torch.randn(rows, 4, generator=generator),
        )
        for key, (rows, columns) in shapes.items()
    }
