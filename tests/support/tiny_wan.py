"""A video model of the demo's sizes with random weights: its files, and what diffusers makes of them."""

from __future__ import annotations

from pathlib import Path

import torch
from frameloom.headless.weights import wan
from frameloom.models.network.sizes import DEMO_VIDEO
from frameloom.tools import train_demo_video as recipe
from frameloom.tools.score_demo_video import draw_noise, sample
from torch import Tensor, nn


def randomize(network: nn.Module, seed: int) -> nn.Module:
    """Move a network's weights away from any special values, to ones that float16 holds."""
    generator = torch.Generator().manual_seed(seed)
    for value in network.parameters():
        moved = value.detach() + 0.05 * torch.randn(value.shape, generator=generator)
        value.data.copy_(moved.half())
    return network.eval().requires_grad_(False)


@torch.no_grad()
def write_reference(folder: Path) -> dict[str, Tensor]:
    """Write a transformer's and an autoencoder's file; returns inputs, and diffusers' outputs for them."""
    vae = randomize(wan.build_vae(DEMO_VIDEO), 1)
    video = randomize(wan.build_transformer(DEMO_VIDEO), 2)
    for name, network in (("decoder", vae), ("video", video)):
        torch.save(network.state_dict(), folder / f"{name}.pt")
    recipe.export(folder)
    generator = torch.Generator().manual_seed(3)
    clip = torch.rand(1, 3, recipe.FRAMES, recipe.SIZE, recipe.SIZE, generator=generator) * 2 - 1
    text, empty = torch.randn(2, 77, 64, generator=generator)
    latents = vae.encode(clip).latent_dist.mean
    yes = torch.tensor([True])
    given = recipe.give_ends(vae, clip, yes, yes)
    found = {
        "clip": clip,
        "text": text,
        "empty": empty,
        "latents": latents,
        "decoded": vae.decode(latents).sample,
    }
    for name, ends in (("free", None), ("kept", given)):
        found[name] = sample(video, text[None], empty, ends, steps=3)
    found["noise"] = draw_noise(1)
    found["sigmas"] = recipe.shifted(torch.linspace(1, 0, 4))
    return found
