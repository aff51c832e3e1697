"""Starting noise for video: a frame's noise depends on the seed and the frame's number alone, whatever clip it is in.

With z_i a standard normal of frame i's own, z_* one that all frames share, and r the correlation, frame i starts from

    independent    e_i = z_i
    shared         e_i = z_*
    mixed          e_i = sqrt(r) z_* + sqrt(1 - r) z_i                 any two frames correlate by r
    progressive    e_i = r e_(i-1) + sqrt(1 - r^2) z_i,  e_0 = z_0     frames d apart correlate by r^d
    seed + frame   e_i as a single picture of seed + i starts from     Automatic1111's

which is standard normal in every mode. The paper's alpha is r = alpha^2 / (1 + alpha^2) of mixed noise, and
r = alpha / sqrt(1 + alpha^2) of progressive.

Source: "Preserve Your Own Correlation" (Ge et al. 2023), https://arxiv.org/abs/2305.10474, section 3.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from .latents import NOISE_OF_OTHERS, frames_of, number_frames
from .shapes import Clip, Ids

NoiseMode = Literal["independent", "shared", "mixed", "progressive", "seed + frame"]
_SHARED = -1  # z_* is drawn as this frame's


def draw_noise(
    seed: int, frame_ids: Ids, shape: Sequence[int], mode: NoiseMode = "independent", correlation: float = 0.5
) -> Clip:
    """Draw e_i of a shape [C, H, W], float32 on the CPU; progressive noise draws all frames before the last."""
    if not frame_ids:
        return torch.empty(0, *shape)
    r, z = correlation, partial(_standard_normal, seed, shape)
    match mode:
        case "independent":
            e = [z(i) for i in frame_ids]
        case "shared":
            e = [z(_SHARED)] * len(frame_ids)
        case "mixed":
            common = r**0.5 * z(_SHARED)
            e = [common + (1 - r) ** 0.5 * z(i) for i in frame_ids]
        case "progressive":
            kept, last = dict.fromkeys(frame_ids, z(0)), z(0)
            for i in range(1, max(frame_ids) + 1):
                last = r * last + (1 - r**2) ** 0.5 * z(i)
                if i in kept:
                    kept[i] = last
            e = [kept[i] for i in frame_ids]
        case "seed + frame":
            seeds = [(seed + i) % (1 << 64) for i in frame_ids]
            e = [torch.randn(tuple(shape), generator=torch.Generator().manual_seed(each)) for each in seeds]
    return torch.stack(e)


def mix_seeds(*numbers: int) -> int:
    """Return one seed for some numbers, such as a user's seed and a job's place, 0 to 2^64 - 1."""
    digest = hashlib.blake2b(",".join(map(str, numbers)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _standard_normal(seed: int, shape: Sequence[int], i: int) -> Tensor:
    """Draw z_i, of a shape [...]. The seed counts modulo 2^64, though torch's CPU generator reads 32 bits.

    The frame is added to the seed's hash, not hashed with it: frames of one video can't get the same noise.
    """
    digest = hashlib.blake2b((seed % (1 << 64)).to_bytes(8, "little"), digest_size=4).digest()
    state = (int.from_bytes(digest, "little") + i) % (1 << 32)
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(state))


@dataclass(frozen=True)
class FrameNoise:
    """A NOISE socket's value; a clip begins at frame ``frame_offset``, and samplers that draw more read ``seed``."""

    seed: int
    mode: NoiseMode = "independent"
    correlation: float = 0.5
    frame_offset: int = 0

    def generate_noise(self, latent: dict[str, Any]) -> Clip:
        """Return noise for a LATENT, on the CPU, in the dtype of its samples."""
        samples = frames_of(latent, NOISE_OF_OTHERS)
        frame_ids = number_frames(latent, self.frame_offset)
        noise = draw_noise(self.seed, frame_ids, samples.shape[1:], self.mode, self.correlation)
        return noise.to(samples.dtype)
