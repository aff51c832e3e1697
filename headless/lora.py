"""LoRAs for the UNet, in the key forms that ComfyUI knows: kohya (LDM or diffusers names), diffusers, PEFT, plain.

Owns reading them and adding them up; the network's own tensors are never changed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from ..models.architecture import UNetSize
from ..models.errors import CheckpointError
from ..models.weight_file import open_weights
from .keys import unet_modules

logger = logging.getLogger(__name__)

# (up, down) as written after a layer's name, each layout's own
_PAIRS = (
    (".lora_up.weight", ".lora_down.weight"),
    ("_lora.up.weight", "_lora.down.weight"),
    (".lora_B.weight", ".lora_A.weight"),
    (".lora.up.weight", ".lora.down.weight"),
    (".lora_B.default.weight", ".lora_A.default.weight"),
)
_TEXT = ("lora_te", "text_encoder", "te.")
_BESIDE = (".alpha", *(down for _, down in _PAIRS))  # read with an up


@dataclass(frozen=True)
class LoRA:
    """A LoRA for a UNet.

    Attributes:
        name: of its file, for messages.
        pairs: (up, down, factor) by the name of the diffusers weight they change; factor is alpha over rank.
    """

    name: str
    pairs: Mapping[str, tuple[Tensor, Tensor, float]]


def read_lora(path: Path, unet: UNet2DConditionModel, size: UNetSize) -> LoRA:
    """Read a LoRA for a UNet.

    Parts for a text encoder are left out; what else is not known is logged.

    Raises:
        CheckpointError: the file can't be read, changes nothing of this UNet, has other shapes, or is a DoRA.
    """
    file = open_weights(path)
    state = file.load(file.shapes)
    names = layer_names(unet, size)
    pairs: dict[str, tuple[Tensor, Tensor, float]] = {}
    unknown = []
    for key, up in state.items():
        if key.startswith(_TEXT) or key.endswith(_BESIDE):
            continue
        if key.endswith(".dora_scale"):
            raise CheckpointError(
                f"{file.name}: {key} makes it a DoRA, which is not built headless; expected a plain LoRA; run the "
                "workflow in ComfyUI, or choose another file."
            )
        ending = next((each for each in _PAIRS if key.endswith(each[0])), ("", ""))
        layer = key.removesuffix(ending[0])
        down = state.get(layer + ending[1])
        if not ending[0] or layer not in names or down is None:
            unknown.append(key)
            continue
        alpha = state.get(layer + ".alpha")
        pairs[names[layer]] = (up, down, 1.0 if alpha is None else float(alpha) / down.shape[0])
    if not pairs:
        shown = ", ".join(list(state)[:3])
        raise CheckpointError(
            f"{file.name}: none of its {len(state)} tensors changes this UNet (first: {shown}); expected a LoRA for "
            "SD1.5; choose another file, or MotionLoRALoader for a motion LoRA."
        )
    if unknown:
        logger.warning(
            "%s: %d tensors are left out (first: %s): no layer of this UNet, or of a kind that is not built headless.",
            file.name,
            len(unknown),
            unknown[0],
        )
    _check_shapes(file.name, pairs, unet)
    return LoRA(file.name, pairs)


def layer_names(unet: UNet2DConditionModel, size: UNetSize) -> dict[str, str]:
    """Map every name by which LoRA files call a layer to the diffusers weight it means."""
    table = unet_modules(size)
    longest_first = sorted(table, key=len, reverse=True)
    names: dict[str, str] = {}
    for weight in unet.state_dict():
        if not weight.endswith(".weight"):
            continue
        layer = weight.removesuffix(".weight")
        prefix = next(each for each in longest_first if weight.startswith(each + "."))
        ldm = table[prefix] + layer[len(prefix) :]
        processor = layer.replace(".to_", ".processor.to_")
        if processor.endswith(".to_out.0"):
            processor = processor.removesuffix(".0")
        plain = layer.removesuffix(".0") if layer.endswith(".to_out.0") else layer
        for name in (
            f"lora_unet_{ldm.replace('.', '_')}",
            f"diffusion_model.{ldm}",
            f"lora_unet_{layer.replace('.', '_')}",
            f"lycoris_{layer.replace('.', '_')}",
            *(start + each for start in ("", "unet.") for each in (layer, plain, processor)),
        ):
            names[name] = weight
    return names


@torch.inference_mode(False)  # weights made in inference mode could never be trained through
def merge(unet: UNet2DConditionModel, loras: Sequence[tuple[LoRA, float]]) -> dict[str, Tensor]:
    """Return the weights that LoRAs change, newly allocated, by the network's names."""
    state = dict(unet.named_parameters())
    merged: dict[str, Tensor] = {}
    for lora, strength in loras:
        for name, (up, down, factor) in lora.pairs.items():
            weight = merged.get(name, state[name].detach())
            up, down = (part.to(weight.device).float().flatten(1) for part in (up, down))
            change = (strength * factor * (up @ down)).reshape(weight.shape)
            merged[name] = (weight.float() + change).to(weight.dtype)
    return merged


def _check_shapes(
    file: str, pairs: Mapping[str, tuple[Tensor, Tensor, float]], unet: UNet2DConditionModel
) -> None:
    state = unet.state_dict()
    for name, (up, down, _) in pairs.items():
        rank, wanted = down.shape[0], state[name].shape
        if up.shape[:2] != (wanted[0], rank) or up.shape[0] * down[0].numel() != state[name].numel():
            raise CheckpointError(
                f"{file}: {name} has up {tuple(up.shape)}, down {tuple(down.shape)}; the model has {tuple(wanted)}; "
                "choose a LoRA made for this base model."
            )
