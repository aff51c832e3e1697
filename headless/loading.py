"""Build a model, a text encoder and an autoencoder from one LDM checkpoint. Sizes come from the tensors; no network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..models.architecture import SD15, ModelSize, TextSize, VAESize
from ..models.errors import CheckpointError
from ..models.network.unet import UNetSize
from ..models.schedules import BetaSchedule
from ..models.weight_file import WeightFile, find_nearest, open_weights, require
from ..models.weight_kind import expect
from .keys import (
    TEXT_PREFIX,
    UNET_PREFIX,
    VAE_PREFIX,
    unet_from_ldm,
    unet_to_ldm,
    vae_from_ldm,
    vae_to_ldm,
)
from .model import CLIP, VAE, Model
from .networks import build_text, build_unet, build_vae
from .prompt import Tokenizer
from .shared_attention import share_tokens
from .sigmas import Sampling

_WANTED = "a whole SD1.5 checkpoint"
_UNREAD = tuple(VAE_PREFIX + part for part in ("loss.", "model_ema."))
"""Beginnings of keys of an autoencoder's training."""


@torch.inference_mode(False)  # weights made in inference mode could never be trained through
def load_checkpoint(
    path: Path, tokenizer: Tokenizer, device: torch.device, size: ModelSize | None = None
) -> tuple[Model, CLIP, VAE]:
    """Load a checkpoint of the SD1.x family.

    Args:
        path: ``.safetensors``, or a pickle of plain tensors.
        tokenizer: its vocabulary.
        device: where to put it. Half precision on an accelerator, float32 on the CPU; text and VAE always float32.
        size: of the model; None: SD1.5's, checked against the tensors.

    Raises:
        CheckpointError: it is not such a checkpoint.
    """
    file = open_weights(path)
    # A ControlNet's training checkpoint has a whole model beside it.
    whole = f"{UNET_PREFIX}input_blocks.0.0.weight" in file.shapes
    expect(file.name, file.shapes, ("sd_checkpoint", *(("controlnet",) if whole else ())), _WANTED)
    size = size or measure(file)
    unet, vae, text = share_tokens(build_unet(size.unet)), build_vae(size.vae), build_text(size.text)
    state = _read_parts(file, size, unet, vae, text)
    dtype = torch.float32 if device.type == "cpu" else torch.float16
    fill(file.name, unet, unet_from_ldm(_part(state, UNET_PREFIX), size.unet), device, dtype)
    fill(file.name, vae, vae_from_ldm(_part(state, VAE_PREFIX), size.vae), device, torch.float32)
    fill(file.name, text, _text_state(text, _part(state, TEXT_PREFIX)), device, torch.float32)
    schedule = BetaSchedule("linear", size.beta_start, size.beta_end)
    prediction = "v" if size.prediction_type == "v" else "eps"
    return (
        Model(unet, size.unet, Sampling(prediction, schedule), size.latent_scale),
        CLIP(text, tokenizer),
        VAE(vae),
    )


def measure(file: WeightFile) -> ModelSize:
    """Read the sizes of an SD1.5-family checkpoint off its tensors' shapes.

    Widths may differ from SD1.5's (tests use narrow ones), and an instruct-pix2pix UNet has 8 input channels; topology,
    8 heads and eps prediction may not.

    Raises:
        CheckpointError: another architecture.
    """

    def shape(key: str, rank: int) -> tuple[int, ...]:
        found = file.shapes.get(key)
        if found is None or len(found) != rank or 0 in found:
            what = f"lacks {key}{find_nearest(key, _strays(file))}" if found is None else f"{key} is {found}"
            raise CheckpointError(
                f"{file.name}: {what}; expected {_WANTED} (UNet, text encoder, VAE), with {rank} dimensions there; "
                "SDXL, SD2 and later models are not built headless."
            )
        return found

    width, channels = shape(f"{UNET_PREFIX}input_blocks.0.0.weight", 4)[:2]
    context = shape(f"{UNET_PREFIX}middle_block.1.transformer_blocks.0.attn2.to_k.weight", 2)[1]
    ends = [
        shape(f"{UNET_PREFIX}input_blocks.{block}.0.out_layers.3.weight", 4)[0] for block in (1, 4, 7, 10)
    ]
    base = shape(f"{VAE_PREFIX}encoder.conv_in.weight", 4)[0]
    levels = [shape(f"{VAE_PREFIX}encoder.down.{level}.block.0.conv2.weight", 4)[0] for level in range(4)]
    blocks = sum(
        f"{VAE_PREFIX}encoder.down.0.block.{index}.conv2.weight" in file.shapes for index in range(4)
    )
    text = TEXT_PREFIX + (
        "text_model." if any(key.startswith(f"{TEXT_PREFIX}text_model.") for key in file.shapes) else ""
    )
    vocabulary, hidden = shape(f"{text}embeddings.token_embedding.weight", 2)
    layers = sum(f"{text}encoder.layers.{index}.layer_norm1.weight" in file.shapes for index in range(64))
    others = {"input_blocks.12.0.in_layers.0.weight", "label_emb.0.0.weight"}
    if channels not in (4, 8) or context != hidden or any(UNET_PREFIX + key in file.shapes for key in others):
        raise CheckpointError(
            f"{file.name}: has {channels} input channels and text width {context} ({hidden} in its encoder); expected "
            "an SD1.5 checkpoint (4 and 768) or an instruct-pix2pix one (8 and 768); choose another file."
        )
    odd = next((each for each in (width, *ends, base, *levels) if each % 32), hidden % 64 and hidden)
    if odd:
        raise CheckpointError(
            f"{file.name}: a layer is {odd} wide; expected widths that its 32 groups, or its heads, divide, as in "
            f"{_WANTED}; download it again, or choose another file."
        )
    return ModelSize(
        UNetSize(width, tuple(each // width for each in ends), context, num_heads=8, in_channels=channels),
        VAESize(base, tuple(each // base for each in levels), blocks),
        TextSize(vocabulary, hidden, layers, heads=max(1, hidden // 64)),
        SD15.prediction_type,
    )


def _strays(file: WeightFile) -> list[str]:
    """Return a checkpoint's keys that none of SD1.5's tensors has."""
    with torch.device("meta"):
        unet = unet_to_ldm(build_unet(SD15.unet).state_dict(), SD15.unet)
        vae = vae_to_ldm(build_vae(SD15.vae).state_dict(), SD15.vae)
        text = [key.removeprefix("text_model.") for key in build_text(SD15.text).state_dict()]
    known = {UNET_PREFIX + key for key in unet} | {VAE_PREFIX + key for key in vae}
    known |= {TEXT_PREFIX + start + key for key in text for start in ("", "text_model.")}
    return [key for key in file.shapes if key not in known]


def _read_parts(
    file: WeightFile, size: ModelSize, unet: nn.Module, vae: nn.Module, text: nn.Module
) -> dict[str, Tensor]:
    """Check that a checkpoint has all of three networks, and load what they need."""
    known = {
        UNET_PREFIX: unet_to_ldm(unet.state_dict(), size.unet),
        VAE_PREFIX: vae_to_ldm(vae.state_dict(), size.vae),
    }
    wanted = {
        prefix + key: tuple(value.shape) for prefix, part in known.items() for key, value in part.items()
    }
    inside = "text_model." if f"{TEXT_PREFIX}text_model.final_layer_norm.weight" in file.shapes else ""
    for key, value in text.state_dict().items():
        wanted[f"{TEXT_PREFIX}{inside}{key.removeprefix('text_model.')}"] = tuple(value.shape)
    require(file, wanted, _WANTED)
    strays = [key for key in file.shapes if key.startswith(tuple(known)) and key not in wanted]
    strays = [key for key in strays if not key.startswith(_UNREAD)]
    if strays:
        raise CheckpointError(
            f"{file.name}: holds {strays[0]}, which {_WANTED} doesn't have ({len(strays)} such keys); choose another "
            "file."
        )
    return file.load(wanted)


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def _text_state(text: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name a text encoder's tensors as this transformers release does: with ``text_model.`` or without."""
    nested = next(iter(text.state_dict())).startswith("text_model.")
    bare = {key.removeprefix("text_model."): value for key, value in state.items()}
    return {f"text_model.{key}" if nested else key: value for key, value in bare.items()}


def fill(
    name: str, network: nn.Module, state: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype
) -> None:
    """Load weights into a network and make it ready to run.

    Args:
        name: of the file, for messages.
        network: with weights of any values.
        state: by the network's names; what else is in it is left out.
        device: where to put it.
        dtype: of its weights.

    Raises:
        CheckpointError: a weight has another shape.
    """
    wanted = network.state_dict()
    for key, value in wanted.items():
        if state[key].shape != value.shape:
            raise CheckpointError(
                f"{name}: {key} is {tuple(state[key].shape)} (in diffusers' names); expected {tuple(value.shape)}; "
                "download it again, or choose one for SD1.5."
            )
    network.load_state_dict({key: state[key].to(device, dtype, copy=True) for key in wanted}, assign=True)
    network.to(device).requires_grad_(False).eval()
