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

from ...models.edits.active import find
from ...models.edits.edit import Edit
from ...models.network.family import Family
from ...models.network.unet import UNetSize
from ..samplers.sigmas import Sampling
from ..text.prompt import Tokenizer
from .lora import LoRA, merge
from .networks import TextNetwork, pooled_width

SD1, SDXL = "Stable Diffusion 1.x", "SDXL"


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

    @property
    def pooled(self) -> int:
        """Width of the pooled text that SDXL's UNet reads beside the tokens; 0: this one reads none."""
        return pooled_width(self.unet)

    @property
    def family(self) -> Family:
        """What it is."""
        is_xl, tokens = self.pooled > 0, self.size.context_dim
        name = SDXL if is_xl else SD1 + (" (instruct-pix2pix)" if self.size.in_channels == 8 else "")
        return Family(name, channels=4, tokens=tokens, is_sd1=not is_xl, is_sdxl=is_xl)


@dataclass(frozen=True)
class CLIP:
    """One text encoder, or SDXL's two, and their vocabulary.

    Attributes:
        network: the text encoder, or the smaller one.
        tokenizer: the vocabulary.
        larger: SDXL's OpenCLIP, whose tokens go beside those of the other; None: there is one encoder.
        last_layer: layer that tokens are taken from, -1 the last; None: the one that the model was trained with.
    """

    network: TextNetwork
    tokenizer: Tokenizer
    larger: TextNetwork | None = None
    last_layer: int | None = None

    @property
    def family(self) -> Family:
        """What it is."""
        return Family(SD1 if self.larger is None else SDXL, channels=4)


@dataclass(frozen=True)
class VAE:
    """An autoencoder between pictures and latents; its latents are not scaled."""

    network: AutoencoderKL
    family = Family("a VAE of 4 channels", channels=4)

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
