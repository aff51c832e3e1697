"""Random weights of SD1.5's sizes, as a base directory of ComfyUI: float16, as people's files are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from diffusers import ControlNetModel
from frameloom.headless.weights.networks import build_unet
from frameloom.models.motion.camera_ctrl import CameraNetwork, CameraSize
from frameloom.models.motion.checkpoint import MotionWeights, pack_motion
from frameloom.models.motion.image_encoder import ImageEncoder
from frameloom.models.motion.module import MotionModel, motion_size
from frameloom.models.motion.sparse_network import SparseControl, SparseSize
from frameloom.models.network.sizes import SD15
from frameloom.models.video.schedules import ANIMATEDIFF
from frameloom.tools.peers.families import CAMERA, CONTROL, FILES, SPARSE
from safetensors.torch import save_file
from torch import nn


def write_weights(folder: Path, modules: Collection[str], families: Collection[str]) -> None:
    """Write SD1.5, a motion LoRA, and what modules and families need.

    Args:
        folder: base directory.
        modules: kinds of motion modules.
        families: families of pictures and controls.
    """
    torch.manual_seed(0)
    models = folder / "models"
    _save(build_unet(SD15.unet).state_dict(), models / "diffusion_models" / "sd15.safetensors")
    for name in sorted(modules):
        state = random_module(name)
        _save(state, models / "animatediff_models" / f"{name}.safetensors")
        _save(random_lora(state), models / "animatediff_motion_lora" / "lora.safetensors")
    if CAMERA in families:
        _save(random_camera(), models / "animatediff_models" / FILES[CAMERA])
    if SPARSE in families:
        _save(random_control(SparseControl(SparseSize())), models / "controlnet" / FILES[SPARSE])
    if CONTROL in families:
        network = ControlNetModel.from_unet(build_unet(SD15.unet))
        _save(random_control(network), models / "controlnet" / FILES[CONTROL])


def random_module(kind: str) -> dict[str, torch.Tensor]:
    """Return a motion module in AnimateDiff's keys.

    Args:
        kind: v1, v2, v3, animatelcm, animatelcm_i2v or pia.
    """
    size = motion_size(SD15.unet, middle=kind == "v2")
    motion = MotionModel(size)
    for transformer in motion.modules():
        if isinstance(projection := getattr(transformer, "proj_out", None), nn.Linear):
            nn.init.normal_(projection.weight, std=0.02)  # else it starts as nothing
    family = kind if kind in ("v1", "v2", "animatelcm") else "v3"
    state, _ = pack_motion(MotionWeights(kind, family, size, motion.state_dict(), ANIMATEDIFF))
    if kind == "v1":  # known by its shorter encoding
        state = {key: value[:, :24] if key.endswith(".pe") else value for key, value in state.items()}
    if kind.startswith("animatelcm"):  # known by none
        state = {key: value for key, value in state.items() if not key.endswith(".pe")}
    if kind == "animatelcm_i2v":
        encoder = ImageEncoder(SD15.unet.widths).state_dict()
        state |= {f"img_encoder.{key}": value for key, value in encoder.items()}
    if kind == "pia":
        width = SD15.unet.model_channels
        state |= {"conv_in.weight": 0.02 * torch.randn(width, 9, 3, 3), "conv_in.bias": torch.zeros(width)}
    return dict(state)


def random_lora(state: Mapping[str, torch.Tensor], rank: int = 32) -> dict[str, torch.Tensor]:
    """Return a motion LoRA for a module's attention, in AnimateDiff's keys."""
    lora = {}
    for key, weight in state.items():
        layer, _, name = key.removesuffix(".weight").rpartition(".attention_blocks.")
        number, _, projection = name.partition(".")
        if projection not in ("to_q", "to_k", "to_v", "to_out.0"):
            continue
        stem = f"{layer}.attention_blocks.{number}.processor.{projection.removesuffix('.0')}_lora"
        lora[f"{stem}.down.weight"] = torch.randn(rank, weight.shape[1]) / weight.shape[1] ** 0.5
        lora[f"{stem}.up.weight"] = torch.randn(weight.shape[0], rank) * 0.01
    return lora


def random_camera() -> dict[str, torch.Tensor]:
    """Return a CameraCtrl in its authors' keys."""
    network = CameraNetwork(CameraSize(SD15.unet.widths, motion_size(SD15.unet).channels))
    return {authors_key(key): value for key, value in network.state_dict().items()}


def authors_key(key: str) -> str:
    """Return the name of a tensor of ``CameraNetwork`` in its authors' file.

    Examples:
        >>> authors_key("merges.down_blocks-0-motion_modules-1.bias").rpartition(".temporal_transformer.")[0]
        'down_blocks.0.motion_modules.1'
    """
    if not key.startswith("merges."):
        return key
    _, place, part = key.split(".")
    block = "temporal_transformer.transformer_blocks.0.attention_blocks.0.processor.qkv_merge"
    return f"{place.replace('-', '.')}.{block}.{part}"


def random_control(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights of a control network, in diffusers' keys, whose last layers add something."""
    for key, value in network.named_parameters():
        if key.startswith(("controlnet_down", "controlnet_mid")) and value.dim() > 1:
            nn.init.normal_(value, std=0.01)
    return network.state_dict()


def _save(state: Mapping[str, torch.Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.half().contiguous() for key, value in state.items()}, path)
