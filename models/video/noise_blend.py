"""Starting noise made of two.

With n_0 the first noise, n the other, and w the weight, by place where there is a mask:

    replace       (1 - m) n_0 + m n                                the mask m alone counts, not the weight
    add           n_0 + w n                                        variance 1 + w^2
    weighted      (1 - w) n_0 + w n                                variance (1 - w)^2 + w^2, too little
    normalised    ((1 - w) n_0 + w n) / sqrt((1 - w)^2 + w^2)      standard normal, as both are

of which all but ``replace`` correlate with n_0 as its factor is to the root of the sum of both factors' squares.

Source: noise layers of AnimateDiff-Evolved, https://github.com/Kosinkadink/ComfyUI-AnimateDiff-Evolved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor
from torch.nn.functional import interpolate

from .frames import pick_frames
from .latents import NOISE_OF_OTHERS, frames_of
from .shapes import Clip

Blend = Literal["normalised", "weighted", "add", "replace"]


def blend_noise(first: Clip, other: Clip, blend: Blend, weight: float | Tensor) -> Clip:
    """Blend two noises, [F, C, H, W]; the weight, of ``replace`` the mask, is a number, or [F or 1, 1, H, W]."""
    match blend:
        case "replace" | "weighted":
            return (1 - weight) * first + weight * other
        case "add":
            return first + weight * other
        case "normalised":
            return ((1 - weight) * first + weight * other) / ((1 - weight) ** 2 + weight**2) ** 0.5


@dataclass(frozen=True)
class BlendedNoise:
    """A NOISE socket's value, made of two of them; samplers that draw more read the first one's seed.

    Attributes:
        first, other: the two.
        blend: way to make one of them.
        weight: weight of the other.
        mask: [N, H, W] 0..1. Factor on the weight by place, for all frames or for each; None: everywhere 1.
    """

    first: Any
    other: Any
    blend: Blend
    weight: float
    mask: Tensor | None = None

    @property
    def seed(self) -> int:
        """Seed of the first."""
        return self.first.seed

    def generate_noise(self, latent: dict[str, Any]) -> Clip:
        """Return noise for a LATENT, on the CPU."""
        samples = frames_of(latent, NOISE_OF_OTHERS)
        first, other = (each.generate_noise(latent) for each in (self.first, self.other))
        weight = 1.0 if self.blend == "replace" else self.weight
        if self.mask is None:
            return blend_noise(first, other, self.blend, weight)
        mask = pick_frames(self.mask, range(len(samples)))[:, None].to(first)
        mask = interpolate(mask, samples.shape[-2:], mode="bilinear", antialias=True)
        return blend_noise(first, other, self.blend, weight * mask)
