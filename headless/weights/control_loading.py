"""Build a ControlNet from one file, in LDM's names or diffusers'. Sizes come from the tensors; no network access."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel

from ...models.errors import CheckpointError
from ...models.files.weight_file import WeightFile, open_weights, require
from ...models.files.weight_kind import expect
from ...models.network.sizes import SD15
from ...models.network.unet import UNetSize
from .device import weight_dtype
from .keys import control_modules, ldm_names
from .loading import fill, read_named
from .measure import find_shape
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
        device: device to put it on. Half precision on an accelerator, float32 on the CPU.

    Raises:
        CheckpointError: it is not such a ControlNet.
    """
    file = open_weights(path)
    expect(file.name, file.shapes, ("controlnet",), _WANTED)
    for part, what in _OTHERS.items():
        if any(part in key for key in file.shapes):
            raise CheckpointError(f"{file.name} is {what}; expected {_WANTED}; choose another file.")
    size, hint_channels = _measure(file)
    network = build_control(size, hint_channels, pooled=path.stem.endswith(_POOLED))
    names = _names(file, network)
    require(file, {names[ours]: tuple(value.shape) for ours, value in network.state_dict().items()}, _WANTED)
    fill(network, read_named(file, names), device, weight_dtype(device))
    return share_tokens(network)


def _names(file: WeightFile, network: ControlNetModel) -> dict[str, str]:
    """Map a ControlNet's tensors to the file's keys, whether it has them all or not."""
    ours = list(network.state_dict())
    if any(key.startswith("controlnet_cond_embedding.") for key in file.shapes):
        return {key: key for key in ours}
    prefix = _PREFIX if any(key.startswith(_PREFIX) for key in file.shapes) else ""
    # Names depend on topology alone, and that is SD1.5's in every size.
    return {key: prefix + ldm for key, ldm in ldm_names(ours, control_modules(SD15.unet)).items()}


def _measure(file: WeightFile) -> tuple[UNetSize, int]:
    """Read a ControlNet's sizes and the channels of its hints off its tensors."""
    with torch.device("meta"):
        names = _names(file, build_control(SD15.unet))

    def strays() -> list[str]:
        known = set(names.values())
        return [key for key in file.shapes if key not in known]

    def shape(name: str, rank: int) -> tuple[int, ...]:
        return find_shape(file, names[name], rank, _WANTED, strays)

    width, channels = shape("conv_in.weight", 4)[:2]
    ends = [shape(f"down_blocks.{level}.resnets.0.conv2.weight", 4)[0] for level in range(4)]
    context = shape("mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight", 2)[1]
    hint_channels = shape("controlnet_cond_embedding.conv_in.weight", 4)[1]
    projection = names["mid_block.attentions.0.proj_in.weight"]
    if channels != 4 or len(file.shapes.get(projection, ())) == 2:
        raise CheckpointError(
            f"{file.name}: a ControlNet with {channels} latent channels and text width {context}; expected "
            f"{_WANTED} (4 and 768); choose one made for this base model."
        )
    heads = file.config.get("num_attention_heads") or file.config.get("attention_head_dim") or 8
    odd = next((each for each in (width, *ends) if each % 32), None)
    if (
        odd is not None
        or not isinstance(heads, int)
        or heads < 1
        or any(each % heads for each in (width, *ends))
    ):
        raise CheckpointError(
            f"{file.name}: widths {width, *ends} with {heads!r} heads; expected widths that 32 groups and the heads "
            f"divide, as in {_WANTED}; choose one made for this base model."
        )
    return UNetSize(width, tuple(each // width for each in ends), context, heads), hint_channels
