"""Noise levels in ComfyUI's units: a model's table of sigmas, its prediction type, and the schedulers over it.

Sigmas are variance exploding (``x0 + sigma * noise``); the network sees ``x / sqrt(1 + sigma^2)``. Everything here runs
on the CPU on a handful of numbers, so that a sampler never waits for its device to learn a noise level.

Source: k-diffusion's conventions (Karras et al. 2022, https://arxiv.org/abs/2206.00364) as ComfyUI uses them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...models.video.schedules import TRAIN_TIMESTEPS, BetaSchedule

Prediction = Literal["eps", "v"]
_LAST = TRAIN_TIMESTEPS - 1
MOST_LEVELS = 1_000_000  # of a schedule; more would fill the memory


@dataclass(frozen=True)
class Sampling:
    """How a model was trained to predict.

    Attributes:
        prediction: ``eps`` (the noise) or ``v`` (velocity).
        schedule: schedule of the betas.
    """

    prediction: Prediction
    schedule: BetaSchedule

    @cached_property
    def sigmas(self) -> Tensor:
        """[1000] float32, ascending, by training timestep."""
        return self.schedule.sigmas()

    @cached_property
    def log_sigmas(self) -> Tensor:
        """[1000] float32."""
        signal = self.schedule.alphas_cumprod()
        return ((1 - signal) / signal).sqrt().log().float()

    def timestep(self, sigma: Tensor | float) -> int:
        """Return the training timestep whose sigma is nearest in the logarithm."""
        return int((torch.as_tensor(sigma, dtype=torch.float32).log() - self.log_sigmas).abs().argmin())

    def sigma(self, timestep: float | Tensor) -> float:
        """Return the sigma of a timestep; between two whole ones, interpolated in the logarithm."""
        place = torch.as_tensor(timestep, dtype=torch.float32).clamp(0, _LAST)
        low, high, part = (
            self.log_sigmas[place.floor().long()],
            self.log_sigmas[place.ceil().long()],
            place.frac(),
        )
        return float(((1 - part) * low + part * high).exp())

    def percent_to_sigma(self, percent: float) -> float:
        """Return the sigma at a share of training's timesteps: infinite at 0, 0 at 1."""
        if percent <= 0:
            return math.inf
        return 0.0 if percent >= 1 else self.sigma((1 - percent) * _LAST)

    def scale_input(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Return what the network sees: [N, C, H, W] at unit variance."""
        return noisy / (sigma**2 + 1) ** 0.5

    def denoised(self, output: Tensor, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Return the clean latents that a raw prediction means, [N, C, H, W]."""
        if self.prediction == "eps":
            return noisy - output * sigma
        return noisy / (sigma**2 + 1) - output * sigma / (sigma**2 + 1) ** 0.5

    def add_noise(self, latent: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """Return the latents a run starts from. At the highest level they are noise of unit variance to the network."""
        highest = float(self.sigmas[-1])
        full = float(sigma) >= highest * (1 - 1e-5)
        return noise * ((1 + sigma**2).sqrt() if full else sigma) + latent


def _normal(sampling: Sampling, steps: int) -> list[float]:
    return [sampling.sigma(timestep) for timestep in torch.linspace(_LAST, 0, steps)] + [0.0]


def _sgm_uniform(sampling: Sampling, steps: int) -> list[float]:
    return [sampling.sigma(timestep) for timestep in torch.linspace(_LAST, 0, steps + 1)[:-1]] + [0.0]


def _simple(sampling: Sampling, steps: int) -> list[float]:
    stride = TRAIN_TIMESTEPS / steps
    return [float(sampling.sigmas[-(1 + int(step * stride))]) for step in range(steps)] + [0.0]


def _karras(sampling: Sampling, steps: int, rho: float = 7.0) -> list[float]:
    low, high = float(sampling.sigmas[0]) ** (1 / rho), float(sampling.sigmas[-1]) ** (1 / rho)
    return [*((high + torch.linspace(0, 1, steps) * (low - high)) ** rho).tolist(), 0.0]


def _exponential(sampling: Sampling, steps: int) -> list[float]:
    low, high = math.log(float(sampling.sigmas[0])), math.log(float(sampling.sigmas[-1]))
    return [*torch.linspace(high, low, steps).exp().tolist(), 0.0]


def _ddim_uniform(sampling: Sampling, steps: int) -> list[float]:
    stride = max(TRAIN_TIMESTEPS // steps, 1)
    return [*reversed(sampling.sigmas[1::stride].tolist()), 0.0]


def _beta(sampling: Sampling, steps: int, shape: float = 0.6) -> list[float]:
    """Timesteps by the quantiles of a beta distribution, https://arxiv.org/abs/2407.12173; each once."""
    from scipy.stats import beta

    shares = beta.ppf(1 - np.linspace(0, 1, steps, endpoint=False), shape, shape)
    timesteps = dict.fromkeys(np.rint(shares * _LAST).astype(int).tolist())
    return [*sampling.sigmas[list(timesteps)].tolist(), 0.0]


def _linear_quadratic(sampling: Sampling, steps: int, threshold: float = 0.025) -> list[float]:
    """Half of the steps down by a straight line to 1 - ``threshold``, the rest by a parabola that goes on from it."""
    linear = steps // 2
    slope = threshold / max(linear, 1)
    rest = steps - linear
    curve = (1 - threshold - slope * rest) / rest**2 if linear else 1.0
    fallen = [slope * step + curve * max(step - linear, 0) ** 2 for step in range(steps)]
    return [*(torch.tensor([1 - each for each in fallen]) * sampling.sigmas[-1]).tolist(), 0.0]


def _kl_optimal(sampling: Sampling, steps: int) -> list[float]:
    """Equal steps of the level's arctangent."""
    if steps < 2:
        raise ValueError(
            f"scheduler='kl_optimal': got steps={steps}; expected at least 2, for it divides by steps - 1; raise steps."
        )
    share = torch.arange(steps) / (steps - 1)
    low, high = math.atan(float(sampling.sigmas[0])), math.atan(float(sampling.sigmas[-1]))
    return [*(share * low + (1 - share) * high).tan().tolist(), 0.0]


SCHEDULERS: dict[str, Callable[[Sampling, int], list[float]]] = {
    "normal": _normal,
    "sgm_uniform": _sgm_uniform,
    "simple": _simple,
    "karras": _karras,
    "exponential": _exponential,
    "ddim_uniform": _ddim_uniform,
    "beta": _beta,
    "linear_quadratic": _linear_quadratic,
    "kl_optimal": _kl_optimal,
}


def schedule_sigmas(sampling: Sampling, scheduler: str, steps: int) -> Tensor:
    """Return the noise levels of a run.

    Args:
        sampling: the model's schedule and prediction type.
        scheduler: a name in ``SCHEDULERS``.
        steps: number of steps.

    Returns:
        [steps + 1] float32, descending, ending in 0. ``ddim_uniform`` gives a few more where ``steps`` does not divide
        1000, and ``beta`` fewer where steps are so many that some fall on one timestep, as in ComfyUI.

    Raises:
        ValueError: the scheduler is unknown here, or there are no steps.
    """
    if scheduler not in SCHEDULERS:
        raise ValueError(
            f"scheduler={scheduler!r} is not built headless; choose one of {', '.join(SCHEDULERS)}."
        )
    if steps < 1:
        raise ValueError(f"steps={steps} must be at least 1; raise steps.")
    return torch.tensor(SCHEDULERS[scheduler](sampling, steps), dtype=torch.float32)


def run_sigmas(
    sampling: Sampling, scheduler: str, steps: int, denoise: float = 1.0, *, skip_a_level: bool = False
) -> Tensor:
    """Return the noise levels of a run that starts part of the way down: the last ``steps`` of ``steps / denoise``.

    Args:
        sampling: the model's schedule and prediction type.
        scheduler: a name in ``SCHEDULERS``.
        steps: number of steps.
        denoise: share of the way, 0 to 1.
        skip_a_level: True: one step more is asked for, and the last level above 0 is left out.

    Returns:
        As ``schedule_sigmas``; empty for ``denoise`` 0.

    Raises:
        ValueError: as ``schedule_sigmas``; or so little is left to do that the whole way has too many levels.
    """
    if denoise <= 0:
        return torch.zeros(0)
    asked = steps if denoise > 0.9999 else int(steps / denoise)
    if asked > MOST_LEVELS:
        raise ValueError(
            f"denoise={denoise:g} with steps={steps} is the end of a way of {asked:,} steps; expected at most "
            f"{MOST_LEVELS:,}; raise denoise, or set it to 0."
        )
    sigmas = schedule_sigmas(sampling, scheduler, asked + skip_a_level)
    if skip_a_level:
        sigmas = torch.cat([sigmas[:-2], sigmas[-1:]])
    return sigmas if denoise > 0.9999 else sigmas[-(steps + 1) :]
