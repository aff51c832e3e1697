"""Decode latents by ComfyUI's VAE, without its own way out when memory runs out."""

from __future__ import annotations

import copy
from typing import Any

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


def _refuse(latents: Tensor, *_: Any, **__: Any) -> Tensor:
    raise MemoryError(f"out of memory decoding {len(latents)} frames at once")
