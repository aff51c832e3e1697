"""LoRAs for the UNet, in the key forms that ComfyUI knows: kohya (LDM or diffusers names), diffusers, PEFT, plain.

Owns reading them and adding them up; the network's own tensors are never changed. A layer of this UNet is changed as
ComfyUI changes it, or the file is refused by the key; layers of other networks are left out there, too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from ...models.errors import CheckpointError
from ...models.files.weight_file import open_weights
from ...models.files.weight_kind import Kind, expect, find_variant
from ...models.network.unet import UNetSize
from .keys import ldm_names, unet_modules
from .networks import pooled_width

logger = logging.getLogger(__name__)

# (up, down) as written after a layer's name, each layout's own
_PAIRS = (
    (".lora_up.weight", ".lora_down.weight"),
    ("_lora.up.weight", "_lora.down.weight"),
    (".lora_B.weight", ".lora_A.weight"),
    (".lora.up.weight", ".lora.down.weight"),
    (".lora_B.default.weight", ".lora_A.default.weight"),
)
_FOR_SD1: tuple[tuple[Kind, ...], str] = ("sd_lora", "domain_adapter", "motion_lora"), "a LoRA for SD1.5"
_FOR_SDXL: tuple[tuple[Kind, ...], str] = ("sdxl_lora", "sd_lora"), "a LoRA for SDXL"
_TEXT = ("lora_te", "text_encoder", "te.")
_DOWNS = tuple(down for _, down in _PAIRS)
# What ComfyUI reads beside a layer's name and what is not built here.
_OTHERS = (
    ".dora_scale", ".lora_mid.weight", ".reshape_weight", ".diff", ".diff_b", ".set_weight", ".w_norm", ".b_norm",
    ".hada_w1_a", ".hada_w1_b", ".hada_w2_a", ".hada_w2_b", ".hada_t1", ".hada_t2",
    ".lokr_w1", ".lokr_w1_a", ".lokr_w1_b", ".lokr_w2", ".lokr_w2_a", ".lokr_w2_b", ".lokr_t2",
    ".a1.weight", ".a2.weight", ".b1.weight", ".b2.weight", ".oft_blocks", ".oft_diag", ".rescale",
    ".lora_linear_layer.up.weight", ".lora_linear_layer.down.weight", ".lora_B", ".lora_A",
)  # fmt: skip


@dataclass(frozen=True)
class LoRA:
    """A LoRA for a UNet.

    Attributes:
        name: name of its file, for messages.
        pairs: matrices and factor (up, down, alpha over rank) by the name of the diffusers weight that they change.
    """

    name: str
    pairs: Mapping[str, tuple[Tensor, Tensor, float]]


def read_lora(path: Path, unet: UNet2DConditionModel, size: UNetSize) -> LoRA:
    """Read a LoRA for a UNet.

    Parts for a text encoder are left out; what else is not known is logged.

    Raises:
        CheckpointError: the file can't be read, changes nothing of this UNet, has other shapes, or changes a layer in
            another way than by a plain LoRA.
    """
    file = open_weights(path)
    kinds, wanted = _FOR_SDXL if pooled_width(unet) else _FOR_SD1
    expect(file.name, file.shapes, kinds, wanted)
    names = layer_names(unet, size)
    keys = [key for key in file.shapes if not key.startswith(_TEXT)]
    unknown = [key for key in keys if not _is_known(file.name, key, names)]
    state = file.load(key for key in keys if key not in unknown)
    pairs = {
        names[layer]: _read_pair(file.name, state, layer, ups, downs)
        for ups, downs in _PAIRS
        for layer in {
            key.removesuffix(end): None for end in (ups, downs) for key in state if key.endswith(end)
        }
    }
    if not pairs:
        shown = ", ".join(list(file.shapes)[:3])
        raise CheckpointError(
            f"{file.name}: none of its {len(file.shapes)} tensors changes this UNet (first: {shown}); expected "
            f"{wanted}; choose another file, or MotionLoRALoader for a motion LoRA."
        )
    if unknown:
        logger.warning(
            "%s: %d tensors are left out (first: %s): they change no layer of this UNet.",
            file.name,
            len(unknown),
            unknown[0],
        )
    _check_shapes(file.name, pairs, unet)
    return LoRA(file.name, pairs)


def _read_pair(
    file: str, state: Mapping[str, Tensor], layer: str, ups: str, downs: str
) -> tuple[Tensor, Tensor, float]:
    """Return a layer's matrices and the factor on their product."""
    up, down, alpha = state.get(layer + ups), state.get(layer + downs), state.get(layer + ".alpha")
    if up is None or down is None:
        there, absent = (ups, downs) if down is None else (downs, ups)
        raise CheckpointError(
            f"{file}: {layer}{there} has no {absent} beside it; expected pairs of both; download it again."
        )
    if down.dim() < 2 or up.dim() < 2 or (alpha is not None and alpha.numel() != 1):
        raise CheckpointError(
            f"{file}: {layer} has up {tuple(up.shape)} and down {tuple(down.shape)}; expected matrices, and one "
            "number as alpha; download it again."
        )
    return up, down, 1.0 if alpha is None else float(alpha) / down.shape[0]


def _is_known(file: str, key: str, names: Mapping[str, str]) -> bool:
    """Tell whether a key belongs to a layer of the UNet.

    Raises:
        CheckpointError: it does, in a form that is not built headless.
    """
    other = next((each for each in _OTHERS if key.endswith(each) and key.removesuffix(each) in names), None)
    if other is not None:
        form = f"a {find_variant({key: ()})}" if find_variant({key: ()}) else f"a LoRA with {other}"
        raise CheckpointError(
            f"{file}: {key} makes it {form}, which is not built headless; expected a plain LoRA; run the workflow in "
            "ComfyUI, or choose another file."
        )
    endings = (*(up for up, _ in _PAIRS), *_DOWNS, ".alpha")
    return any(key.endswith(each) and key.removesuffix(each) in names for each in endings)


def layer_names(unet: UNet2DConditionModel, size: UNetSize) -> dict[str, str]:
    """Map every name by which LoRA files call a layer to the diffusers weight it means."""
    weights = [key for key in unet.state_dict() if key.endswith(".weight")]
    names: dict[str, str] = {}
    for weight, ldm_weight in ldm_names(weights, unet_modules(size)).items():
        layer, ldm = weight.removesuffix(".weight"), ldm_weight.removesuffix(".weight")
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
