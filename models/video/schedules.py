"""Beta schedules by their ComfyUI names, and the sigmas they give.

Of 1000 betas b_t, timestep t keeps the share a_t = (1 - b_1) ... (1 - b_t) of the signal's variance. Its noise level is
sigma_t = sqrt((1 - a_t) / a_t), noise over signal.

The names differ between libraries: ComfyUI's ``linear`` is LDM's, linear in the square root (diffusers'
``scaled_linear``); AnimateDiff's diffusers ``linear`` is ComfyUI's ``sqrt_linear``; ``cosine`` and
``squaredcos_cap_v2`` are one schedule: a_t = cos^2((t / 1000 + 0.008) / 1.008 pi / 2), with betas of at most 0.999.

Source: cosine from "Improved Denoising Diffusion Probabilistic Models" (Nichol and Dhariwal 2021),
https://arxiv.org/abs/2102.09672, equation 17; numbers of the others from ComfyUI and AnimateDiff-Evolved.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

BetaName = Literal["linear", "sqrt_linear"]
"""Schedules that motion modules are trained with."""
OtherName = Literal["sqrt", "cosine", "squaredcos_cap_v2", "mean"]
TRAIN_TIMESTEPS = 1000
_LEAST_SIGNAL = 4.8973451890853435e-08


@dataclass(frozen=True, slots=True)
class BetaSchedule:
    """A named schedule of 1000 betas.

    Attributes:
        name: ``linear`` (Stable Diffusion: linear in the square root), ``sqrt_linear`` (AnimateDiff: plainly linear),
            ``sqrt`` (square root of that), or ``cosine``, also called ``squaredcos_cap_v2``.
        start: first beta; a cosine has its own.
        end: last beta; a cosine has its own.
    """

    name: BetaName | OtherName
    start: float = 0.00085
    end: float = 0.012

    def betas(self) -> Tensor:
        """Return b_t, [1000] float64; ValueError for an unknown name."""
        if self.name == "linear":
            return torch.linspace(self.start**0.5, self.end**0.5, TRAIN_TIMESTEPS, dtype=torch.float64) ** 2
        if self.name == "sqrt_linear":
            return torch.linspace(self.start, self.end, TRAIN_TIMESTEPS, dtype=torch.float64)
        if self.name == "sqrt":
            return torch.linspace(self.start, self.end, TRAIN_TIMESTEPS, dtype=torch.float64) ** 0.5
        if self.name in ("cosine", "squaredcos_cap_v2"):
            share = torch.linspace(0, 1, TRAIN_TIMESTEPS + 1, dtype=torch.float64)
            kept = ((share + 0.008) / 1.008 * math.pi / 2).cos() ** 2
            return (1 - kept[1:] / kept[:-1]).clamp(max=0.999)
        raise ValueError(f"beta schedule {self.name!r} is unknown; expected 'linear' or 'sqrt_linear'.")

    def alphas_cumprod(self) -> Tensor:
        """Return a_t, [1000] float64."""
        return torch.cumprod(1 - self.betas(), 0)

    def sigmas(self) -> Tensor:
        """Return sigma_t, [1000] float32, ascending."""
        a = self.alphas_cumprod()
        return ((1 - a) / a).sqrt().float()


@dataclass(frozen=True, slots=True)
class MeanSchedule(BetaSchedule):
    """Schedule whose sigmas are the mean of two schedules'.

    Attributes:
        one, other: the two.
    """

    name: BetaName | OtherName = "mean"
    one: BetaSchedule = BetaSchedule("linear")
    other: BetaSchedule = BetaSchedule("sqrt_linear")

    def betas(self) -> Tensor:
        """Return b_t, [1000] float64, which give such sigmas."""
        kept = torch.stack([self.one.alphas_cumprod(), self.other.alphas_cumprod()])
        return _betas_of(1 / (1 + ((1 - kept) / kept).sqrt().mean(0) ** 2))


@dataclass(frozen=True, slots=True)
class ZeroTerminalSNR(BetaSchedule):
    """Schedule whose last timestep has no signal, but for what keeps its noise level finite.

    Source: "Common Diffusion Noise Schedules and Sample Steps are Flawed" (Lin et al. 2023),
    https://arxiv.org/abs/2305.08891, algorithm 1; the signal that is left is ComfyUI's.
    """

    name: BetaName | OtherName = "linear"

    def betas(self) -> Tensor:
        """Return b_t, [1000] float64: roots of a_t are shifted so that the last is 0, and the first is as before."""
        kept = torch.cumprod(1 - BetaSchedule.betas(self), 0).sqrt()
        a = ((kept - kept[-1]) * kept[0] / (kept[0] - kept[-1])) ** 2
        a[-1] = _LEAST_SIGNAL
        return _betas_of(a)


def _betas_of(a: Tensor) -> Tensor:
    """Return the betas that give a_t, [1000] float64."""
    return 1 - a / torch.cat([a.new_ones(1), a[:-1]])


STABLE_DIFFUSION = BetaSchedule("linear")
ANIMATEDIFF = BetaSchedule("sqrt_linear")
ANIMATELCM_I2V = BetaSchedule("sqrt_linear", end=0.014)
ANIMATEDIFF_SDXL = BetaSchedule("linear", end=0.020)
