"""Build a ControlNet from one file, in LDM's names or diffusers'. Sizes come from the tensors; no network access."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel

from ..models.architecture import SD15, UNetSize
from ..models.errors import CheckpointError
from ..models.weight_file import WeightFile, open_weights
from ..models.weight_kind import identify, refuse
from .keys import control_modules
from .loading import fill
from .networks import build_control
from .shared_attention import share_tokens

_WANTED = "a ControlNet for SD1.5"
_PREFIX = "control_model."
_POOLED = ("_shuffle", "_shuffle_fp16")
"""Ends of names of files whose residuals are averaged over the picture; nothing in such a file says so."""
_OTHERS = {
    "label_emb.": "a ControlNet for SDXL",
    "add_embedding.": "a ControlNet for SDXL",
    "task_embedding": "a union ControlNet",
    "difference": "a ControlNet stored as differences from its base model",
}
"""Parts of keys that a plain ControlNet lacks."""


@torch.inference_mode(False)  # weights made in inference mode could never be trained through
def load_controlnet(path: Path, device: torch.device) -> ControlNetModel:
    """Load a ControlNet of the SD1.x family.

    Args:
        path: ``.safetensors``, a pickle of plain tensors, or a diffusers folder.
        device: where to put it. Half precision on an accelerator, float32 on the CPU.

    Raises:
        CheckpointError: it is not such a ControlNet.
    """
    file = open_weights(path)
    kind = identify(file.shapes)
    if kind != "controlnet":
        raise refuse(file.name, kind, _WANTED, file.shapes)
    for part, what in _OTHERS.items():
        if any(part in key for key in file.shapes):
            raise CheckpointError(f"{file.name} is {what}; expected {_WANTED}; choose another file.")
    names = _diffusers_names(file.shapes)
    size, hint_channels = _measure(file, names)
    network = build_control(size, hint_channels, pooled=path.stem.endswith(_POOLED))
    loaded = file.load(names.values())
    state = {ours: loaded[theirs] for ours, theirs in names.items()}
    dtype = torch.float32 if device.type == "cpu" else torch.float16
    fill(file.name, share_tokens(network), state, device, dtype)
    return network


def _diffusers_names(shapes: Mapping[str, object]) -> dict[str, str]:
    """Map diffusers' names to the file's keys; a file's other keys, of a whole checkpoint say, are left out."""
    if any(key.startswith("controlnet_cond_embedding.") for key in shapes):
        return {key: key for key in shapes}
    prefix = _PREFIX if any(key.startswith(_PREFIX) for key in shapes) else ""
    table = control_modules(SD15.unet)  # names depend on topology alone, and that is SD1.5's in every size
    names = {}
    for ours, ldm in table.items():
        start = f"{prefix}{ldm}."
        names.update({f"{ours}.{key[len(start) :]}": key for key in shapes if key.startswith(start)})
    return names


def _measure(file: WeightFile, names: Mapping[str, str]) -> tuple[UNetSize, int]:
    """Read a ControlNet's sizes and the channels of its hints off its tensors."""

    def shape(name: str) -> tuple[int, ...]:
        if name not in names:
            raise CheckpointError(
                f"{file.name}: lacks {name} (in diffusers' names); expected {_WANTED}; ControlNets for SDXL, SD2 and "
                "later models are not built headless."
            )
        return file.shapes[names[name]]

    width, channels = shape("conv_in.weight")[:2]
    ends = [shape(f"down_blocks.{level}.resnets.0.conv2.weight")[0] for level in range(4)]
    context = shape("mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight")[1]
    hint_channels = shape("controlnet_cond_embedding.conv_in.weight")[1]
    if channels != 4 or len(shape("mid_block.attentions.0.proj_in.weight")) != 4:
        raise CheckpointError(
            f"{file.name}: a ControlNet with {channels} latent channels and text width {context}; expected "
            f"{_WANTED} (4 and 768); choose one made for this base model."
        )
    heads = file.config.get("num_attention_heads") or file.config.get("attention_head_dim") or 8
    return UNetSize(width, tuple(each // width for each in ends), context, heads), hint_channels
