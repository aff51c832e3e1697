"""Beta schedules by their ComfyUI names, and the sigmas they give.

Of 1000 betas b_t, timestep t keeps the share a_t = (1 - b_1) ... (1 - b_t) of the signal's variance. Its noise level is
sigma_t = sqrt((1 - a_t) / a_t), noise over signal.

The names differ between libraries: ComfyUI's ``linear`` is LDM's, linear in the square root (diffusers'
``scaled_linear``); AnimateDiff's diffusers ``linear`` is ComfyUI's ``sqrt_linear``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

BetaName = Literal["linear", "sqrt_linear"]
TRAIN_TIMESTEPS = 1000


@dataclass(frozen=True, slots=True)
class BetaSchedule:
    """A named schedule of 1000 betas.

    Attributes:
        name: ``linear`` (Stable Diffusion: linear in the square root) or ``sqrt_linear`` (AnimateDiff: plainly linear).
        start: first beta.
        end: last beta.
    """

    name: BetaName
    start: float = 0.00085
    end: float = 0.012

    def betas(self) -> Tensor:
        """Return b_t, [1000] float64; ValueError for an unknown name."""
        if self.name == "linear":
            return torch.linspace(self.start**0.5, self.end**0.5, TRAIN_TIMESTEPS, dtype=torch.float64) ** 2
        if self.name == "sqrt_linear":
            return torch.linspace(self.start, self.end, TRAIN_TIMESTEPS, dtype=torch.float64)
        raise ValueError(f"beta schedule {self.name!r} is unknown; expected 'linear' or 'sqrt_linear'.")

    def alphas_cumprod(self) -> Tensor:
        """Return a_t, [1000] float64."""
        return torch.cumprod(1 - self.betas(), 0)

    def sigmas(self) -> Tensor:
        """Return sigma_t, [1000] float32, ascending."""
        a = self.alphas_cumprod()
        return ((1 - a) / a).sqrt().float()


STABLE_DIFFUSION = BetaSchedule("linear")
ANIMATEDIFF = BetaSchedule("sqrt_linear")
ANIMATELCM_I2V = BetaSchedule("sqrt_linear", end=0.014)
