"""Small random VAEs of video, of core's own classes, opened by core's own loader."""

from __future__ import annotations

import json
from typing import Any

import comfy.ldm.lightricks.vae.causal_video_autoencoder as ltx
import comfy.ldm.wan.vae as wan
import comfy.sd
import torch

_DEEPER = [
    ["res_x", 1],
    ["compress_all", 1],
    ["res_x", 1],
    ["compress_all", 1],
    ["res_x", 1],
    ["compress_all", 1],
]
LTX = {
    "_class_name": "CausalVideoAutoencoder", "dims": 3, "in_channels": 3, "out_channels": 3, "latent_channels": 128,
    "encoder_blocks": [*_DEEPER, ["res_x", 1]], "decoder_blocks": [*_DEEPER, ["res_x", 1]],
    "encoder_base_channels": 16, "decoder_base_channels": 4, "norm_layer": "pixel_norm", "patch_size": 4,
    "latent_log_var": "uniform", "causal_decoder": False, "timestep_conditioning": True,
}  # fmt: skip


def randomize(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a network's state with weights of which a picture comes through."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}
    for name, value in network.state_dict().items():
        drawn = torch.randn(value.shape, generator=generator)
        if value.dim() > 1 and "gamma" not in name:
            state[name] = drawn / value[0].numel() ** 0.5
        else:
            state[name] = ("gamma" in name or "std" in name) + 0.05 * drawn
    return state


def wan_vae(dim: int = 8) -> Any:
    """Return a VAE of Wan 2.1."""
    return comfy.sd.VAE(sd=randomize(wan.WanVAE(dim=dim, z_dim=16, temperal_downsample=[False, True, True])))


def ltx_vae() -> Any:
    """Return a VAE of LTX-Video whose decoder adds noise, as those since 0.9.1 do."""
    state = randomize(ltx.VideoVAE(config=LTX))
    return comfy.sd.VAE(sd=state, metadata={"config": json.dumps({"vae": LTX})})
