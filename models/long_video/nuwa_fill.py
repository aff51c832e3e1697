"""One local job of NUWA-XL's recursion on a frozen model: draw the frames between two that are given.

The paper trains a masked model for this: a motion module with a mask adapter is one. With it or without, the given
frames are kept at their place at every noise level, as inpainting keeps a part of a picture (along time here), and a
motion module draws the others towards them. With x_f frame f of L, e_f noise of its own, and 1 and L the given ends:

    turned noise    start from sqrt(r) (cos(a_f) e_1 + sin(a_f) e_L) + sqrt(1 - r) e_f,  a_f from 0 to pi/2
    cross-fade      start from (1 - p_f) x_1 + p_f x_L, p_f from 0 to 1, part of the way down. SDEdit (Meng et al.
                    2021), https://arxiv.org/abs/2108.01073, along time
    resampling      take a step from sigma_i to sigma_(i+1), go back by x + unit sqrt(sigma_i^2 - sigma_(i+1)^2) e, and
                    take it again, so that new frames come to agree with the given ones. RePaint (Lugmayr et al. 2022),
                    https://arxiv.org/abs/2201.09865, algorithm 1
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from ..video.noise import draw_noise, mix_seeds
from ..video.shapes import Clip, Sigmas
from .nuwa_tree import Job

Start = Literal["turned noise", "own noise", "cross-fade"]
# (latents, noise of unit variance, sigmas) -> latents; the mask of given frames is its own.
Sample = Callable[[Clip, Clip, Sigmas], Clip]


@dataclass(frozen=True)
class Filling:
    """How the frames between two are drawn."""

    start: Start = "turned noise"  # own noise: every frame from e_f
    correlation: float = 0.7  # r
    resample_rounds: int = 2  # times that each of the first steps is taken
    resample_share: float = 0.4  # share of the steps that are taken several times
    denoise: float = 0.75  # share of the steps that a cross-fade takes

    def first_step(self, steps: int) -> int:
        """Return the step that sampling starts from, of ``steps``."""
        return min(round((1 - self.denoise) * steps), steps - 1) if self.start == "cross-fade" else 0

    def resampled(self, steps: int) -> int:
        """Return how many steps are taken several times, from the first one that is taken."""
        if self.resample_rounds <= 1:
            return 0
        return round(self.resample_share * (steps - self.first_step(steps)))

    def count_steps(self, steps: int) -> int:
        """Return how many steps a job takes in all."""
        return steps - self.first_step(steps) + (self.resample_rounds - 1) * self.resampled(steps)


def fill_between(
    job: Job, ends: Clip, filling: Filling, *, seed: int, sigmas: Sigmas, unit: float, sample: Sample
) -> Clip:
    """Draw the frames of a job between two ends, which stay as they are, bit for bit.

    Noise depends on (seed, level, absolute frame number) alone, so neither on the order of jobs nor on where they run.
    Noise of sigma 1 has the standard deviation ``unit`` in the latents' units; ``sample`` takes steps, and keeps the
    ends at each level's noise.
    """
    steps, shape = len(sigmas) - 1, ends.shape[1:]
    e = job_noise(seed, job, shape).to(ends)
    noise = turn_noise(e, filling.correlation) if filling.start == "turned noise" else e
    kept = torch.cat([e[:1], torch.zeros_like(e[1:-1]), e[-1:]])  # under way: that of the given frames alone
    x = _cross_fade(ends, len(e))
    if filling.start != "cross-fade":
        x[1:-1] = 0
    first = filling.first_step(steps)
    again = first + filling.resampled(steps)
    for i in range(first, again):
        back = unit * math.sqrt(float(sigmas[i]) ** 2 - float(sigmas[i + 1]) ** 2)
        for round_ in range(filling.resample_rounds):
            if round_:
                x = _with_ends(x + back * job_noise(seed, job, shape, i, round_).to(ends), ends)
            x = _with_ends(sample(x, noise, sigmas[i : i + 2]), ends)
            noise = kept
    if again < steps:
        x = sample(x, noise, sigmas[again:])
    return _with_ends(x, ends)


def job_noise(seed: int, job: Job, shape: Sequence[int], *draw: int) -> Clip:
    """Draw e_f for the frames of a job, on the CPU, by (seed, level, frame number), and by the draw."""
    return draw_noise(mix_seeds(seed, job.level, *draw), job.frame_ids, shape)


def turn_noise(e: Clip, r: float) -> Clip:
    """Turn independent noise from the first frame's to the last's; each is standard normal, the ends are as before."""
    a = torch.linspace(0, math.pi / 2, len(e), dtype=e.dtype, device=e.device).view(-1, *[1] * (e.dim() - 1))
    turned = r**0.5 * (a.cos() * e[:1] + a.sin() * e[-1:]) + (1 - r) ** 0.5 * e
    return _with_ends(turned, e[[0, -1]])


def _cross_fade(ends: Clip, length: int) -> Clip:
    p = torch.linspace(0, 1, length, dtype=ends.dtype, device=ends.device).view(-1, 1, 1, 1)
    return _with_ends(torch.lerp(ends[:1], ends[1:], p), ends)


def _with_ends(frames: Clip, ends: Clip) -> Clip:
    return torch.cat([ends[:1], frames[1:-1].to(ends), ends[1:]])
