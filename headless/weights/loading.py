"""Build a model, a text encoder and an autoencoder from one LDM checkpoint. Sizes come from the tensors; no network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...models.errors import CheckpointError
from ...models.files.weight_file import WeightFile, find_nearest, open_weights, require
from ...models.files.weight_kind import expect
from ...models.network.sizes import SD15, ModelSize, TextSize, VAESize
from ...models.network.unet import UNetSize
from ...models.video.schedules import BetaSchedule
from ..samplers.sigmas import Sampling
from ..text.prompt import Tokenizer
from .device import weight_dtype
from .keys import TEXT_PREFIX, UNET_PREFIX, VAE_PREFIX, ldm_names, unet_modules, vae_modules
from .model import CLIP, VAE, Model
from .networks import build_text, build_unet, build_vae
from .shared_attention import share_tokens

_WANTED = "a whole SD1.5 checkpoint"
_UNREAD = tuple(VAE_PREFIX + part for part in ("loss.", "model_ema."))
"""Beginnings of keys of an autoencoder's training."""
_NESTED = "text_model."
"""Some releases of transformers have it before a text encoder's names, and so have some files."""


@torch.inference_mode(False)  # weights made in inference mode could never be trained through
def load_checkpoint(
    path: Path, tokenizer: Tokenizer, device: torch.device, size: ModelSize | None = None
) -> tuple[Model, CLIP, VAE]:
    """Load a checkpoint of the SD1.x family.

    Args:
        path: ``.safetensors``, or a pickle of plain tensors.
        tokenizer: the text encoder's vocabulary.
        device: device to put it on. Half precision on an accelerator, float32 on the CPU; text and VAE always float32.
        size: the model's sizes; None: SD1.5's, checked against the tensors.

    Raises:
        CheckpointError: it is not such a checkpoint.
    """
    file = open_weights(path)
    # A ControlNet's training checkpoint has a whole model beside it.
    whole = f"{UNET_PREFIX}input_blocks.0.0.weight" in file.shapes
    expect(file.name, file.shapes, ("sd_checkpoint", *(("controlnet",) if whole else ())), _WANTED)
    size = size or measure(file)
    parts = _build(file, size)
    _check(file, parts)
    dtypes = weight_dtype(device), torch.float32, torch.float32
    for (network, names), dtype in zip(parts, dtypes, strict=True):
        loaded = file.load(names.values())
        fill(network, {ours: loaded[key] for ours, key in names.items()}, device, dtype)
    (unet, _), (vae, _), (text, _) = parts
    schedule = BetaSchedule("linear", size.beta_start, size.beta_end)
    prediction = "v" if size.prediction_type == "v" else "eps"
    return (
        Model(share_tokens(unet), size.unet, Sampling(prediction, schedule), size.latent_scale),
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
        return find_shape(file, key, rank, f"{_WANTED} (UNet, text encoder, VAE)", lambda: _strays(file))

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
    text = _text_prefix(file)
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


def find_shape(
    file: WeightFile, key: str, rank: int, wanted: str, strays: Callable[[], Iterable[str]]
) -> tuple[int, ...]:
    """Return the shape of a tensor by which a network's size is told.

    Args:
        file: the weight file.
        key: the tensor's name in the file.
        rank: number of dimensions that it must have.
        wanted: kind of file that it should be, in words.
        strays: function that returns the file's keys that belong to nothing; one may be the key misspelt.

    Raises:
        CheckpointError: the tensor is missing, has another number of dimensions, or is empty.
    """
    found = file.shapes.get(key)
    if found is None or len(found) != rank or 0 in found:
        what = f"lacks {key}{find_nearest(key, strays())}" if found is None else f"{key} is {found}"
        raise CheckpointError(
            f"{file.name}: {what}; expected {wanted}, with {rank} dimensions there; SDXL, SD2 and later models are "
            "not built headless."
        )
    return found


_Part = tuple[Any, dict[str, str]]
"""A network, and the file's key of each of its tensors."""


def _build(file: WeightFile, size: ModelSize) -> tuple[_Part, _Part, _Part]:
    """Build UNet, VAE and text encoder, and name their tensors as the file does."""
    unet, vae, text = build_unet(size.unet), build_vae(size.vae), build_text(size.text)
    unet_names = ldm_names(unet.state_dict(), unet_modules(size.unet))
    vae_names = ldm_names(vae.state_dict(), vae_modules(size.vae))
    text_names = {key: key.removeprefix(_NESTED) for key in text.state_dict()}
    return (
        (unet, {ours: UNET_PREFIX + key for ours, key in unet_names.items()}),
        (vae, {ours: VAE_PREFIX + key for ours, key in vae_names.items()}),
        (text, {ours: _text_prefix(file) + key for ours, key in text_names.items()}),
    )


def _text_prefix(file: WeightFile) -> str:
    nested = TEXT_PREFIX + _NESTED
    return nested if any(key.startswith(nested) for key in file.shapes) else TEXT_PREFIX


def _strays(file: WeightFile) -> list[str]:
    """Return a checkpoint's keys that none of SD1.5's tensors has."""
    with torch.device("meta"):
        known = {key for _, names in _build(file, SD15) for key in names.values()}
    return [key for key in file.shapes if key not in known]


def _check(file: WeightFile, parts: Iterable[_Part]) -> None:
    """Check that a checkpoint has all of three networks, and nothing else in the UNet and the VAE."""
    wanted = {
        names[ours]: tuple(value.shape)
        for network, names in parts
        for ours, value in network.state_dict().items()
    }
    require(file, wanted, _WANTED)
    strays = [key for key in file.shapes if key.startswith((UNET_PREFIX, VAE_PREFIX)) and key not in wanted]
    strays = [key for key in strays if not key.startswith(_UNREAD)]
    if strays:
        raise CheckpointError(
            f"{file.name}: holds {strays[0]}, which {_WANTED} doesn't have ({len(strays)} such keys); choose another "
            "file."
        )


def fill(network: nn.Module, state: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> None:
    """Load weights into a network and make it ready to run.

    Args:
        network: a network with weights of any values, or of none.
        state: weights by the network's names; what else is in it is left out. A linear layer may come as a 1x1
            convolution, and the other way round.
        device: device to put it on.
        dtype: type of its weights.
    """
    shaped = {key: state[key].reshape(value.shape) for key, value in network.state_dict().items()}
    network.load_state_dict(
        {key: value.to(device, dtype, copy=True) for key, value in shaped.items()}, assign=True
    )
    network.to(device).requires_grad_(False).eval()
