"""The noise a run starts from: ComfyUI's draws for a seed, on the CPU whatever the device of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


def draw_noise(samples: Tensor, seed: int, batch_index: list[int] | None = None) -> Tensor:
    """Draw starting noise.

    Args:
        samples: latents, [F, C, H, W]; only their shape and dtype matter.
        seed: seed of the generator.
        batch_index: absolute index of each frame: frame i gets the i-th draw of the seed, whichever frames are asked
            for. None: all frames in one draw.

    Returns:
        [F, C, H, W] on the CPU.

    Randomness:
        A generator of its own; depends on the seed, the frame's shape and ``batch_index``.
    """
    generator = torch.Generator().manual_seed(seed)
    if batch_index is None:
        return torch.randn(samples.shape, generator=generator).to(samples.dtype)
    wanted = set(batch_index)
    drawn = {}
    for index in range(max(wanted) + 1):
        frame = torch.randn(samples.shape[1:], generator=generator)
        if index in wanted:
            drawn[index] = frame
    return torch.stack([drawn[index] for index in batch_index]).to(samples.dtype)


@dataclass(frozen=True)
class SeededNoise:
    """What a NOISE socket carries: the plain noise of a seed."""

    seed: int

    def generate_noise(self, latent: dict[str, Any]) -> Tensor:
        """Return noise like ``latent["samples"]``."""
        return draw_noise(latent["samples"], self.seed, latent.get("batch_index"))


@dataclass(frozen=True)
class NoNoise:
    """What a NOISE socket carries where a run goes on from noisy latents."""

    seed: int = 0

    def generate_noise(self, latent: dict[str, Any]) -> Tensor:
        """Return zeros like ``latent["samples"]``."""
        return torch.zeros_like(latent["samples"], device="cpu")
