"""What MODEL, CLIP and VAE sockets carry headless: shared networks, and what a clone does with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from einops import rearrange
from torch import Tensor
from transformers import CLIPTextModel

from ...models.edits.active import find
from ...models.edits.edit import Edit
from ...models.network.unet import UNetSize
from ..samplers.sigmas import Sampling
from ..text.prompt import Tokenizer
from .lora import LoRA, merge


@dataclass(frozen=True)
class Model:
    """A denoiser. Clones share the network, which nothing ever changes.

    Attributes:
        unet: the network.
        size: sizes of the network.
        base_sampling: schedule and prediction type that it was trained with.
        latent_scale: factor on the VAE's latents.
        edits: installed techniques, in order.
        loras: weight changes with their strengths, in order.
    """

    unet: UNet2DConditionModel
    size: UNetSize
    base_sampling: Sampling
    latent_scale: float
    edits: tuple[Edit, ...] = ()
    loras: tuple[tuple[LoRA, float], ...] = ()

    def with_edit(self, edit: Edit) -> Model:
        """Return a clone with an edit after those it has."""
        return replace(self, edits=(*self.edits, edit))

    def with_lora(self, lora: LoRA, strength: float) -> Model:
        """Return a clone with a LoRA after those it has."""
        return replace(self, loras=(*self.loras, (lora, strength)))

    @cached_property
    def sampling(self) -> Sampling:
        """How to sample: the last edit's schedule if one has any; the prediction type stays the model's."""
        schedule = find(self.edits, "schedule")
        return self.base_sampling if schedule is None else replace(self.base_sampling, schedule=schedule)

    @cached_property
    def weights(self) -> Mapping[str, Tensor]:
        """The weights that this clone's LoRAs change, by the network's names; the rest are the network's own."""
        return merge(self.unet, self.loras)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.unet.device


@dataclass(frozen=True)
class CLIP:
    """A text encoder and its vocabulary."""

    network: CLIPTextModel
    tokenizer: Tokenizer


@dataclass(frozen=True)
class VAE:
    """An autoencoder between pictures and latents; its latents are not scaled."""

    network: AutoencoderKL

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Decode [N, 4, H, W] to pictures, [N, 8H, 8W, 3] float32 in 0..1, on the latents' device."""
        network: Any = self.network
        pictures = [network.decode(one.to(network.device, network.dtype)[None]).sample for one in latents]
        pictures = (torch.cat(pictures).float() / 2 + 0.5).clamp(0, 1)
        return rearrange(pictures, "n c h w -> n h w c").contiguous().to(latents.device)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Encode [N, H, W, 3] in 0..1 to the mean latents, [N, 4, H/8, W/8] float32, on the images' device.

        Sides that are not multiples of 8 lose their edges evenly; further channels are left out.
        """
        network: Any = self.network
        height, width = (8 * (side // 8) for side in images.shape[1:3])
        top, left = ((side % 8) // 2 for side in images.shape[1:3])
        images = images[:, top : top + height, left : left + width, :3] * 2 - 1
        pictures = rearrange(images, "n h w c -> n c h w").to(network.device, network.dtype)
        latents = [network.encode(one[None]).latent_dist.mode() for one in pictures]
        return torch.cat(latents).float().to(images.device)
