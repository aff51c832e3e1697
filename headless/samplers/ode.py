"""Samplers that draw no noise: from the same start, always the same way down.

Each is a function of a ``Walk`` and noisy latents, [F, C, H, W], and returns clean ones.

Source: Karras et al. 2022, https://arxiv.org/abs/2206.00364 (Euler, Heun); DPM-Solver, https://arxiv.org/abs/2206.00927;
DPM-Solver++, https://arxiv.org/abs/2211.01095; UniPC, https://arxiv.org/abs/2302.04867; PNDM,
https://arxiv.org/abs/2202.09778 (ipndm); DEIS, https://arxiv.org/abs/2204.13902; exponential Runge-Kutta,
https://arxiv.org/abs/2308.02157 (res_multistep); gradient estimation, https://openreview.net/pdf?id=o2ND9v0CeK; Heun++
as in ComfyUI.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from .walk import Walk, glide, middle

# Points of an integral over a step. Gauss's rule is exact for the polynomials of lms and close to 1e-7 for deis'.
_POINTS, _SHARES = np.polynomial.legendre.leggauss(16)


def euler(walk: Walk, noisy: Tensor) -> Tensor:
    """One look a step."""
    for step, here, there in walk:
        noisy = glide(noisy, walk.clean(step, noisy), here, there)
    return noisy


def heun(walk: Walk, noisy: Tensor) -> Tensor:
    """The mean of the slopes at both ends of a step."""
    for step, here, there in walk:
        clean = walk.clean(step, noisy)
        ahead = glide(noisy, clean, here, there)
        if there > 0:
            slopes = (noisy - clean) / here + (ahead - walk.denoise(ahead, there)) / there
            ahead = noisy + slopes / 2 * (there - here)
        noisy = ahead
    return noisy


def heunpp2(walk: Walk, noisy: Tensor) -> Tensor:
    """A mean of the slopes at up to three levels; those ahead count by how noisy they are."""
    for step, here, there in walk:
        levels = walk.sigmas[step : step + min(3, walk.steps - step) + 1]
        point, clean = noisy, walk.clean(step, noisy)
        mean = slope = first = (point - clean) / here
        for before, level in itertools.pairwise(levels[:-1]):
            point = point + slope * (level - before)
            slope = (point - walk.denoise(point, level)) / level
            mean = mean + level / ((len(levels) - 1) * walk.sigmas[0]) * (slope - first)
        noisy = noisy + mean * (there - here)
    return noisy


def dpm_2(walk: Walk, noisy: Tensor) -> Tensor:
    """The slope in the middle of a step."""
    for step, here, there in walk:
        clean = walk.clean(step, noisy)
        noisy = dpm_2_step(walk, noisy, clean, here, there) if there > 0 else glide(noisy, clean, here, there)
    return noisy


def dpm_2_step(walk: Walk, noisy: Tensor, clean: Tensor, here: Tensor, there: Tensor) -> Tensor:
    """Go from one level to another, above 0, by the slope in their middle."""
    halfway = middle(here, there)
    point = glide(noisy, clean, here, halfway)
    return noisy + (point - walk.denoise(point, halfway)) / halfway * (there - here)


def dpmpp_2m(walk: Walk, noisy: Tensor) -> Tensor:
    """One look a step, and the last one remembered."""
    earlier: Tensor | None = None
    for step, here, there in walk:
        clean = walk.clean(step, noisy)
        start, stop = here.log().neg(), there.log().neg()
        stride = stop - start
        target = clean
        if earlier is not None and float(there) != 0:
            ratio = (start - walk.sigmas[step - 1].log().neg()) / stride
            target = (1 + 1 / (2 * ratio)) * clean - 1 / (2 * ratio) * earlier
        noisy = stop.neg().exp() / start.neg().exp() * noisy - (-stride).expm1() * target
        earlier = clean
    return noisy


# (levels from the current one back, level to reach) -> what each slope counts, from the current one back
_Weigh = Callable[[Sequence[float], float], Sequence[float]]


def remembering(order: int, weigh: _Weigh) -> Callable[[Walk, Tensor], Tensor]:
    """Return a sampler that adds up the slopes of its last ``order`` looks."""

    def run(walk: Walk, noisy: Tensor) -> Tensor:
        levels, slopes = walk.sigmas.tolist(), []
        for step, here, there in walk:
            clean = walk.clean(step, noisy)
            slopes = [(noisy - clean) / here, *slopes][:order]
            weights = weigh(levels[step::-1][:order], levels[step + 1])
            total = sum(weight * slope for weight, slope in zip(weights, slopes, strict=True))
            noisy = noisy + total if there > 0 else clean
        return noisy

    return run


def equal_strides(levels: Sequence[float], there: float) -> list[float]:
    """Weigh slopes by Adams and Bashforth, as if all steps were equally long (ipndm)."""
    tables = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]]
    return [weight * (there - levels[0]) for weight in tables[len(levels) - 1]]


def own_strides(levels: Sequence[float], there: float) -> list[float]:
    """Weigh slopes by the polynomial of the level through them (lms)."""
    return _integrals(levels, levels[0], there, lambda level: level)


def own_times(levels: Sequence[float], there: float) -> list[float]:
    """Weigh slopes by the polynomial of the time through them (deis)."""
    return _integrals([_time(each) for each in levels], levels[0], there, _time)


def doubled_change(levels: Sequence[float], there: float) -> list[float]:
    """Weigh two slopes by twice the change between them (gradient_estimation)."""
    stride = there - levels[0]
    return [2 * stride, -stride] if len(levels) == 2 else [stride]


def _integrals(
    nodes: Sequence[float], here: float, there: float, place: Callable[[float], float]
) -> list[float]:
    """Integrate over a step the polynomials that are 1 at one node and 0 at the others.

    Args:
        nodes: places at which slopes are known, in the variable of the polynomials.
        here: level that the step leaves.
        there: level that it reaches.
        place: function that turns a level into that variable.
    """
    centre, half = (here + there) / 2, (there - here) / 2
    points = np.array([place(centre + half * point) for point in _POINTS])

    def integral(node: float) -> float:
        factors = [(points - other) / (node - other) for other in nodes if other != node]
        return half * float((_SHARES * np.prod(factors, axis=0)).sum())

    return [integral(node) for node in nodes]


def _time(sigma: float, lowest: float = 0.002, highest: float = 80.0, first: float = 1e-3) -> float:
    """Return the time of a level in the variance-preserving process that goes from ``lowest`` to ``highest``."""
    low, high = math.log1p(lowest**2), math.log1p(highest**2)
    slope = 2 * (low / first - high) / (first - 1)
    start = high - slope / 2
    return (math.sqrt(start**2 + 2 * slope * math.log1p(sigma**2)) - start) / slope


def res_step(
    noisy: Tensor, clean: Tensor, earlier: Tensor, levels: tuple[Tensor, Tensor, Tensor, Tensor]
) -> Tensor:
    """Go down one step of res_multistep.

    Args:
        noisy: [F, C, H, W]. Noisy latents.
        clean: [F, C, H, W]. The answer to them.
        earlier: [F, C, H, W]. The answer before.
        levels: noise levels: of the earlier answer; to which the last step went down; to leave; to reach, above 0.
    """
    before, fell, here, there = (-math.log(float(level)) for level in levels)
    stride = there - here
    first = math.expm1(-stride) / -stride
    second = (first - 1) / -stride
    share = second * stride / (before - fell)
    return math.exp(-stride) * noisy + stride * ((first - share) * clean + share * earlier)


def dpm_fast(walk: Walk, noisy: Tensor) -> Tensor:
    """As many looks as steps, three to a stride; stops at the lowest level above 0."""
    looks = walk.steps
    count = looks // 3 + 1
    orders = [3] * (count - 2) + [2, 1] if looks % 3 == 0 else [3] * (count - 1) + [looks % 3]
    times = torch.linspace(*_ends(walk), count + 1)
    for step, order in enumerate(orders):
        stride = _Stride(walk, noisy, times[step], times[step + 1])
        walk.tell(step, stride.clean)
        noisy = stride.reach(order)
    return noisy


def dpm_adaptive(walk: Walk, noisy: Tensor) -> Tensor:
    """Strides as long as the error allows, whatever the number of steps; stops at the lowest level above 0."""
    time, stop = _ends(walk)
    length, taken, before = 0.05, 0, noisy
    while time < stop - 1e-5:
        stride = _Stride(walk, noisy, time, torch.minimum(stop, time + length))
        rough, fine = stride.reach(2, third=True), stride.reach(3)
        allowed = (0.05 * torch.maximum(rough.abs(), before.abs())).clamp(min=0.0078)
        error = float(((rough - fine) / allowed).square().mean().sqrt())
        factor = 1 + math.atan((error + 1e-8) ** (-1 / 3) - 1)
        if factor >= 0.81:
            noisy, before, time = fine, rough, stride.stop
        length *= factor
        walk.tell(taken, stride.clean)
        taken += 1
    return noisy


def _ends(walk: Walk) -> tuple[Tensor, Tensor]:
    """Return the negative logarithms of the first level and of the lowest above 0."""
    return walk.sigmas[0].log().neg(), walk.lowest.log().neg()


class _Stride:
    """A stride of DPM-Solver between the negative logarithms of two levels. Its looks are shared by its orders."""

    def __init__(self, walk: Walk, noisy: Tensor, start: Tensor, stop: Tensor) -> None:
        self.stop = stop
        self._walk, self._noisy, self._start, self._length = walk, noisy, start, stop - start
        self._here, self._there = start.neg().exp(), stop.neg().exp()
        self.clean = walk.denoise(noisy, self._here)
        self._slope = (noisy - self.clean) / self._here
        self._changes: dict[float, Tensor] = {}

    def reach(self, order: int, *, third: bool = False) -> Tensor:
        """Return the latents at its end, by 1 to 3 looks; the second is at a half of it, or at a third."""
        straight = self._noisy + self._slope * (self._there - self._here)
        if order == 1:
            return straight
        if order == 2:
            part = 1 / 3 if third else 1 / 2
            return straight + self._change(part) / (2 * part) * (self._there - self._here)
        return straight - self._there * 3 / 2 * self._bend(self._length) * self._change(2 / 3)

    def _change(self, part: float) -> Tensor:
        """Return how the slope has changed a part of the way on."""
        if part not in self._changes:
            length = part * self._length
            level = (self._start + length).neg().exp()
            point = self._noisy + self._slope * (level - self._here)
            if part > 1 / 2:
                point = point - level * 2 * self._bend(length) * self._change(1 / 3)
            self._changes[part] = (point - self._walk.denoise(point, level)) / level - self._slope
        return self._changes[part]

    @staticmethod
    def _bend(length: Tensor) -> Tensor:
        return length.expm1() / length - 1


# ComfyUI's last level in place of 0, whose logarithm uni_pc can't take.
_UNI_PC_LAST = 0.001


def uni_pc(walk: Walk, noisy: Tensor, *, second_kind: bool = False) -> Tensor:
    """Predict the end of a step from the looks before, then correct it by the look there."""
    sigmas = walk.sigmas.clone()
    sigmas[-1] = sigmas[-1] if sigmas[-1] > 0 else _UNI_PC_LAST
    order = min(3, walk.steps - 1)
    known = [(sigmas[0], walk.clean(0, noisy))]
    for step in range(1, walk.steps + 1):
        used = known[-min(order, walk.steps + 1 - step) :]
        predict = _Prediction(noisy, used, sigmas[step], second_kind=second_kind)
        if step == walk.steps:
            return predict.noisy
        clean = walk.denoise(predict.noisy, sigmas[step])
        noisy = predict.corrected(clean)
        known = [*known, (sigmas[step], clean)][-order:]
        walk.tell(step, clean)
    return noisy


class _Prediction:
    """The end of one step of UniPC."""

    def __init__(
        self, noisy: Tensor, known: Sequence[tuple[Tensor, Tensor]], there: Tensor, *, second_kind: bool
    ) -> None:
        """Predict.

        Args:
            noisy: [F, C, H, W].
            known: levels and the answers at them, [F, C, H, W]; the last is the one that the step leaves.
            there: level to reach.
            second_kind: B(h) = e^h - 1 in place of h.
        """
        here, self._clean = known[-1]
        stride = math.log(float(there) / float(here))
        places = [math.log(float(here) / float(level)) / -stride for level, _ in known[-2::-1]]
        self._changes = [
            (clean - self._clean) / place for place, (_, clean) in zip(places, known[-2::-1], strict=True)
        ]
        self._scale = math.expm1(stride) if second_kind else stride
        phi, factorial, wanted = math.expm1(stride) / stride - 1, 1, []
        for power in range(1, len(known) + 1):
            wanted.append(phi * factorial / self._scale)
            factorial *= power + 1
            phi = phi / stride - 1 / factorial
        powers = np.vander([*places, 1.0], increasing=True).T
        self._shares = [0.5] if len(known) == 1 else np.linalg.solve(powers, wanted).tolist()
        ahead = [0.5] if len(known) == 2 else np.linalg.solve(powers[:-1, :-1], wanted[:-1]).tolist()
        self._straight = glide(noisy, self._clean, here, there)
        self.noisy = self._moved(self._changes, ahead)

    def corrected(self, clean: Tensor) -> Tensor:
        """Return the end of the step by the answer to its prediction."""
        return self._moved([*self._changes, clean - self._clean], self._shares)

    def _moved(self, changes: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
        total = sum(share * change for share, change in zip(shares, changes, strict=True))
        return self._straight - self._scale * total
