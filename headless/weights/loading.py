"""Build a model, its text encoders and an autoencoder from one LDM checkpoint; no network access."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint
from torch import Tensor, nn

from ...models.errors import CheckpointError
from ...models.files.weight_file import WeightFile, open_weights, require
from ...models.files.weight_kind import Kind, expect, identify
from ...models.network.sizes import SD15, SDXL, ModelSize
from ...models.video.schedules import BetaSchedule, ZeroTerminalSNR
from ..samplers.sigmas import Sampling
from ..text.prompt import Tokenizer
from .device import weight_dtype
from .keys import OPEN_CLIP_PREFIX, UNET_PREFIX, VAE_PREFIX, ldm_names, unet_modules, vae_modules
from .measure import NESTED, WANTED, is_sdxl, measure, text_prefix
from .model import CLIP, VAE, Model
from .networks import build_text, build_unet, build_vae
from .shared_attention import share_tokens

_UNREAD = tuple(VAE_PREFIX + part for part in ("loss.", "model_ema."))
"""Beginnings of keys of an autoencoder's training."""
_KINDS: tuple[Kind, ...] = ("sd_checkpoint", "sdxl_checkpoint")
_LAYER = re.compile(r"\.resblocks\.(\d+)\.")


@torch.inference_mode(False)  # weights made in inference mode could never be trained through
def load_checkpoint(
    path: Path, tokenizer: Tokenizer, device: torch.device, size: ModelSize | None = None
) -> tuple[Model, CLIP, VAE]:
    """Load a checkpoint of the SD1.x family, or of SDXL.

    Args:
        path: ``.safetensors``, or a pickle of plain tensors.
        tokenizer: the text encoders' vocabulary.
        device: device to put it on. Half precision on an accelerator, float32 on the CPU; text and VAE always float32.
        size: the model's sizes; None: they are read off the tensors.

    Raises:
        CheckpointError: it is not such a checkpoint.
    """
    file = open_weights(path)
    _expect_whole(file)
    size = size or measure(file, lambda: _strays(file))
    parts = _build(file, size)
    _check(file, parts)
    unet, vae, text, *others = (part.network for part in parts)
    for part in parts:
        dtype = weight_dtype(device) if part.network is unet else torch.float32
        fill(part.network, part.read(file), device, dtype)
    kind = ZeroTerminalSNR if size.is_zero_snr else BetaSchedule
    schedule = kind("linear", size.beta_start, size.beta_end)
    sampling = Sampling("v" if size.prediction_type == "v" else "eps", schedule)
    return (
        Model(share_tokens(unet), size.unet, sampling, size.latent_scale),
        CLIP(text, tokenizer, *others),
        VAE(vae),
    )


def _expect_whole(file: WeightFile) -> None:
    """Check that a file is a checkpoint of a kind that is read here."""
    if identify(file.shapes) == "sdxl_refiner":
        raise CheckpointError(
            f"{file.name} is SDXL's refiner, which is not built headless; expected {WANTED}; choose SDXL's base "
            "checkpoint, or run the workflow in ComfyUI."
        )
    # A ControlNet's training checkpoint has a whole model beside it.
    whole = f"{UNET_PREFIX}input_blocks.0.0.weight" in file.shapes
    expect(file.name, file.shapes, (*_KINDS, *(("controlnet",) if whole else ())), WANTED)


@dataclass(frozen=True)
class _Part:
    """A network without weights, and where they are in a checkpoint: a key of the file for each of its tensors."""

    network: Any
    keys: Mapping[str, str]

    def check(self, file: WeightFile) -> None:
        """Raise CheckpointError unless the file has every tensor."""
        state = self.network.state_dict()
        require(file, {key: tuple(state[ours].shape) for ours, key in self.keys.items()}, WANTED)

    def read(self, file: WeightFile) -> Iterator[tuple[str, Tensor]]:
        """Yield the file's tensors by the network's names."""
        return read_named(file, self.keys)


class _OpenClip(_Part):
    """OpenCLIP's text encoder, whose keys diffusers converts: ``keys`` are the file's own."""

    def check(self, file: WeightFile) -> None:
        """Raise CheckpointError unless the file has every tensor."""
        file.check(self.keys)
        empty = {key: torch.empty(file.shapes[key], device="meta") for key in self.keys}
        found = convert_open_clip_checkpoint(self.network, empty, OPEN_CLIP_PREFIX)
        wanted = {ours: tuple(value.shape) for ours, value in self.network.state_dict().items()}
        wrong = [ours for ours, shape in wanted.items() if ours not in found or found[ours].shape != shape]
        if wrong:
            got = tuple(found[wrong[0]].shape) if wrong[0] in found else "nothing"
            raise CheckpointError(
                f"{file.name}: what lies under {OPEN_CLIP_PREFIX} makes {got} of OpenCLIP's {wrong[0]} (diffusers' "
                f"name), one of {len(wrong)} tensors of {len(wanted)} that are missing or misshapen; expected "
                f"{wanted[wrong[0]]} there, as in {WANTED}; download it again, or choose another file."
            )

    def read(self, file: WeightFile) -> Iterator[tuple[str, Tensor]]:
        """Yield the file's tensors by the network's names, a layer at a time."""
        for _, layer in groupby(sorted(self.keys, key=_layer_of), _layer_of):
            yield from convert_open_clip_checkpoint(
                self.network, dict(file.stream(layer)), OPEN_CLIP_PREFIX
            ).items()


def _layer_of(key: str) -> int:
    found = _LAYER.search(key)
    return int(found[1]) if found else -1


def _build(file: WeightFile, size: ModelSize) -> list[_Part]:
    """Build UNet, VAE and text encoders without weights, and name their tensors as the file does."""
    text_g = size.text_g
    with torch.device("meta"):
        unet = build_unet(size.unet, text_g.hidden_size if text_g else 0)
        vae, texts = build_vae(size.vae), [build_text(each) for each in (size.text, text_g) if each]
    unet_names = ldm_names(unet.state_dict(), unet_modules(size.unet))
    vae_names = ldm_names(vae.state_dict(), vae_modules(size.vae))
    clip = text_prefix(file)
    return [
        _Part(unet, {ours: UNET_PREFIX + key for ours, key in unet_names.items()}),
        _Part(vae, {ours: VAE_PREFIX + key for ours, key in vae_names.items()}),
        _Part(texts[0], {ours: clip + ours.removeprefix(NESTED) for ours in texts[0].state_dict()}),
        *(_OpenClip(each, {key: key for key in _open_clip_keys(file)}) for each in texts[1:]),
    ]


def _open_clip_keys(file: WeightFile) -> list[str]:
    return [
        key for key in file.shapes if key.startswith(OPEN_CLIP_PREFIX) and not key.endswith("logit_scale")
    ]


def _strays(file: WeightFile) -> list[str]:
    """Return a checkpoint's keys that none of SD1.5's or SDXL's tensors has."""
    known = {key for part in _build(file, SDXL if is_sdxl(file) else SD15) for key in part.keys.values()}
    return [key for key in file.shapes if key not in known]


def _check(file: WeightFile, parts: Iterable[_Part]) -> None:
    """Check that a checkpoint has all of its networks, and nothing else in the UNet and the VAE."""
    for part in parts:
        part.check(file)
    wanted = {key for part in parts for key in part.keys.values()}
    strays = [key for key in file.shapes if key.startswith((UNET_PREFIX, VAE_PREFIX)) and key not in wanted]
    strays = [key for key in strays if not key.startswith(_UNREAD)]
    if strays:
        raise CheckpointError(
            f"{file.name}: holds {strays[0]}, which {WANTED} doesn't have ({len(strays)} such keys); choose another "
            "file."
        )


def read_named(file: WeightFile, keys: Mapping[str, str]) -> Iterator[tuple[str, Tensor]]:
    """Yield a file's tensors by a network's names, given the file's key of each."""
    for ours, (_, value) in zip(keys, file.stream(keys.values()), strict=True):
        yield ours, value


def fill(
    network: nn.Module, state: Iterable[tuple[str, Tensor]], device: torch.device, dtype: torch.dtype
) -> None:
    """Load weights into a network, one after another, and make it ready to run.

    Args:
        network: a network with weights of any values, or of none.
        state: weights by the network's names, all of them; what else is in it is left out. A linear layer may come as
            a 1x1 convolution, and the other way round.
        device: device to put it on.
        dtype: type of its weights.
    """
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    for name, value in state:
        if name in shapes:
            owner, _, leaf = name.rpartition(".")
            weight = value.reshape(shapes[name]).to(device, dtype, copy=True)
            setattr(network.get_submodule(owner), leaf, nn.Parameter(weight))
    network.to(device).requires_grad_(False).eval()
