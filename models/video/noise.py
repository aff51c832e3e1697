"""Starting noise for video: a frame's noise depends on the seed and the frame's number alone, whatever clip it is in.

With z_i a standard normal of frame i's own, z_* one that all frames share, and r the correlation, frame i starts from

    independent    e_i = z_i
    shared         e_i = z_*
    mixed          e_i = sqrt(r) z_* + sqrt(1 - r) z_i                 any two frames correlate by r
    progressive    e_i = r e_(i-1) + sqrt(1 - r^2) z_i,  e_0 = z_0     frames d apart correlate by r^d

which is standard normal in every mode. The paper's alpha is r = alpha^2 / (1 + alpha^2) of mixed noise, and
r = alpha / sqrt(1 + alpha^2) of progressive.

Source: "Preserve Your Own Correlation" (Ge et al. 2023), https://arxiv.org/abs/2305.10474, section 3.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

import torch
from torch import Tensor

from .latents import NOISE_OF_OTHERS, frames_of, number_frames
from .shapes import Clip

NoiseMode = Literal["independent", "shared", "mixed", "progressive"]
_SHARED = -1  # z_* is drawn as this frame's


def draw_noise(
    seed: int,
    frame_ids: Sequence[int],
    shape: Sequence[int],
    mode: NoiseMode = "independent",
    correlation: float = 0.5,
) -> Clip:
    """Draw e_i for some frames i, 0 or more, each of a shape [C, H, W]: float32, on the CPU.

    Progressive noise draws all frames before the last one asked for.

    Examples:
        >>> draw_noise(7, [3], [4, 16, 16]).shape
        torch.Size([1, 4, 16, 16])
    """

    def z(i: int) -> Tensor:
        return _standard_normal(seed, i, shape)

    if not frame_ids:
        return torch.empty(0, *shape)
    if mode == "progressive":
        return _progressive(z, frame_ids, correlation)
    r = {"independent": 0.0, "shared": 1.0, "mixed": correlation}[mode]
    common = r**0.5 * z(_SHARED)
    return torch.stack([common + (1 - r) ** 0.5 * z(i) for i in frame_ids])


def _progressive(z: Callable[[int], Tensor], frame_ids: Sequence[int], r: float) -> Clip:
    wanted = set(frame_ids)

    def follow(e: Tensor, z_i: Tensor) -> Tensor:
        return r * e + (1 - r**2) ** 0.5 * z_i

    every = accumulate(map(z, range(max(wanted) + 1)), follow)
    e = {i: e_i for i, e_i in enumerate(every) if i in wanted}
    return torch.stack([e[i] for i in frame_ids])


def _standard_normal(seed: int, frame: int, shape: Sequence[int]) -> Tensor:
    """Draw a frame's own noise, of a shape [...]; the lowest 64 bits of the seed count.

    torch's CPU generator uses the low 32 bits of its seed only. Adding the frame to a hash of the seed keeps the frames
    of one video apart for certain; two hashes could not promise that.
    """
    digest = hashlib.blake2b((seed % (1 << 64)).to_bytes(8, "little"), digest_size=4).digest()
    state = (int.from_bytes(digest, "little") + frame) % (1 << 32)
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(state))


@dataclass(frozen=True)
class FrameNoise:
    """A NOISE socket's value: what ComfyUI's samplers ask for noise.

    Attributes:
        seed: number that the noise depends on; samplers that draw more noise on their way read it too.
        mode: relation between frames, as above.
        correlation: r, 0..1, in the modes that have one.
        frame_offset: absolute number of the first frame.
    """

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
