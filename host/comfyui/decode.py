"""Decode latents by ComfyUI's VAE: frames without its own way out when memory runs out, clips with it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from comfy.model_management import get_torch_device
from torch import Tensor

from ...models.errors import HostError
from ..contract import Latent


def decode(vae: Any, latent: Latent) -> Tensor:
    """Decode frames, each by itself.

    When memory runs out, ComfyUI decodes all frames again in tiles, which look a little different. Of several frames
    that would show as a flicker, so they fail instead, and the caller may take fewer; a single one is tiled.

    Args:
        vae: ComfyUI's.
        latent: LATENT of [N, C, H, W] float.

    Returns:
        [N, 8H, 8W, 3] float, 0..1.

    Raises:
        HostError: the VAE is one of video or sound.
        MemoryError: out of memory.
    """
    if vae.latent_dim != 2:
        raise HostError(
            f"vae: got one for latents of {vae.latent_dim} dimensions, whose frames depend on each other; expected a "
            "VAE of pictures, such as Stable Diffusion's; use VAE Decode with this one."
        )
    if len(latent["samples"]) > 1:
        vae = copy.copy(vae)
        vae.decode_tiled_ = _refuse
    return vae.decode(latent["samples"])


def decode_clip(vae: Any, latents: Tensor, seed: int) -> Tensor:
    """Decode a clip whose frames depend on each other, as core's VAE Decode does.

    Args:
        vae: ComfyUI's.
        latents: [1, C, T, H, W] float.
        seed: seed of noise that the VAE may add, which it draws from the state of all of torch.

    Returns:
        [F, H, W, 3] float, 0..1.

    Raises:
        HostError: the VAE is one of pictures or sound.
    """
    if vae.latent_dim != 3:
        raise HostError(
            f"vae: got one for latents of {vae.latent_dim} dimensions; expected one of video, whose latents have time "
            "as an axis; load the VAE of this model."
        )
    device = get_torch_device()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        return vae.decode(latents)[0]


def _refuse(latents: Tensor, *_: Any, **__: Any) -> Tensor:
    raise MemoryError(f"out of memory decoding {len(latents)} frames at once")
