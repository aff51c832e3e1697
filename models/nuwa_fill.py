"""One local job of NUWA-XL's recursion on a frozen model: draw the frames between two that are given.

The paper trains a masked model for this: a motion module with a mask adapter is one. With it or without, the given
frames are kept at their place at every noise level, as inpainting keeps a part of a picture (along time here), and a
motion module draws the others towards them:

- noise: neighbouring frames start from noise that turns from one end's into the other's;
- resampling: a step is taken, undone by noise and taken again, so that new frames come to agree with the given ones.
  RePaint (Lugmayr et al. 2022), https://arxiv.org/abs/2201.09865, algorithm 1;
- or the frames start from a cross-fade, part of the way down. SDEdit (Meng et al. 2021),
  https://arxiv.org/abs/2108.01073, along time.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from .noise import draw_noise
from .nuwa_tree import Job

Start = Literal["turned noise", "own noise", "cross-fade"]
# (latents [L, C, H, W], noise of unit variance, like them, sigmas) -> latents; the mask of given frames is its own.
Sample = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Filling:
    """How the frames between two are drawn.

    Attributes:
        start: turned noise: from noise that turns from one end's into the other's; own noise: every frame from its
            own; cross-fade: from a mixture of both ends, noisy as far as ``denoise`` says.
        correlation: of turned noise, the share of its variance that turns; the rest is a frame's own.
        resample_rounds: how often each of the first steps is taken; 1: once, without resampling.
        resample_share: of the steps, in which they are.
        denoise: of a cross-fade: share of the steps that are taken.

    Raises:
        ValueError: one is outside its range.
    """

    start: Start = "turned noise"
    correlation: float = 0.7
    resample_rounds: int = 2
    resample_share: float = 0.4
    denoise: float = 0.75

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.start not in get_args(Start):
            raise ValueError(f"start={self.start!r} is unknown; expected one of {get_args(Start)}.")
        for name in ("correlation", "resample_share", "denoise"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)}; expected 0 to 1; set it to a share.")
        if self.resample_rounds < 1:
            raise ValueError(
                f"resample_rounds={self.resample_rounds}; expected 1 or more; 1 takes every step once."
            )

    def first_step(self, steps: int) -> int:
        """Return the step that sampling starts from, of ``steps``."""
        return min(round((1 - self.denoise) * steps), steps - 1) if self.start == "cross-fade" else 0

    def resampled(self, steps: int) -> int:
        """Return how many steps are taken several times, from the first one that is taken."""
        return (
            round(self.resample_share * (steps - self.first_step(steps))) if self.resample_rounds > 1 else 0
        )

    def count_steps(self, steps: int) -> int:
        """Return how many steps a job takes in all."""
        return steps - self.first_step(steps) + (self.resample_rounds - 1) * self.resampled(steps)


def fill_between(
    job: Job, ends: Tensor, filling: Filling, *, seed: int, sigmas: Tensor, unit: float, sample: Sample
) -> Tensor:
    """Draw the frames of a job.

    Args:
        job: which.
        ends: [2, C, H, W] latents of its first and its last frame.
        filling: how.
        seed: of all jobs' noise.
        sigmas: [steps + 1] descending noise levels.
        unit: standard deviation, in the latents' units, of noise of sigma 1.
        sample: takes steps, and keeps the ends at each level's noise.

    Returns:
        [L, C, H, W] on the ends' device; the first and the last are the ends, bit for bit.

    Randomness:
        Depends on (seed, level, absolute frame number) only, so neither on the order of jobs nor on where they run.
    """
    length, steps = len(job.frame_ids), len(sigmas) - 1
    own = job_noise(seed, job, ends.shape[1:]).to(ends)
    noise = turn_noise(own, filling.correlation) if filling.start == "turned noise" else own
    latents = _cross_fade(ends, length)
    if filling.start != "cross-fade":
        latents[1:-1] = 0
    kept = torch.cat([own[:1], torch.zeros_like(own[1:-1]), own[-1:]])  # noise of frames that are given
    first = filling.first_step(steps)
    again = first + filling.resampled(steps)
    for step in range(first, again):
        jump = unit * math.sqrt(float(sigmas[step]) ** 2 - float(sigmas[step + 1]) ** 2)
        for number in range(filling.resample_rounds):
            if number:
                more = job_noise(seed, job, ends.shape[1:], step, number).to(ends)
                latents = _with_ends(latents + jump * more, ends)
            latents = _with_ends(sample(latents, noise, sigmas[step : step + 2]), ends)
            noise = kept
    if again < steps:
        latents = sample(latents, noise, sigmas[again:])
    return _with_ends(latents, ends)


def job_noise(seed: int, job: Job, shape: Sequence[int], *draw: int) -> Tensor:
    """Draw noise for the frames of a job, [L, C, H, W] on the CPU, by (seed, level, frame number), and by the draw."""
    text = ",".join(map(str, (seed, job.level, *draw)))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return draw_noise(int.from_bytes(digest, "little"), job.frame_ids, shape)


def turn_noise(own: Tensor, correlation: float) -> Tensor:
    """Return noise that turns from the first frame's to the last's; each frame is standard normal.

    With r the correlation, frame f of L is sqrt(r) (cos(a) e_first + sin(a) e_last) + sqrt(1 - r) e_f, where a goes
    from 0 to pi/2. The ends are their own.

    Args:
        own: [L, ...] standard normal, independent.
        correlation: r, 0 to 1.
    """
    angle = torch.linspace(0, math.pi / 2, len(own), dtype=own.dtype, device=own.device)
    angle = angle.view(-1, *[1] * (own.dim() - 1))
    turned = (
        correlation**0.5 * (angle.cos() * own[:1] + angle.sin() * own[-1:]) + (1 - correlation) ** 0.5 * own
    )
    return _with_ends(turned, own[[0, -1]])


def _cross_fade(ends: Tensor, length: int) -> Tensor:
    part = torch.linspace(0, 1, length, dtype=ends.dtype, device=ends.device).view(-1, 1, 1, 1)
    return _with_ends(torch.lerp(ends[:1], ends[1:], part), ends)


def _with_ends(frames: Tensor, ends: Tensor) -> Tensor:
    return torch.cat([ends[:1], frames[1:-1].to(ends), ends[1:]])
