"""Samplers of CFG++: the guided answer, and noise as the answer without guidance has it.

Each is a function of a ``Walk`` and noisy latents, [F, C, H, W], and returns clean ones.

Those of res_multistep and dpmpp_2s are beside the plain ones, as ``plus``.

Source: CFG++, https://arxiv.org/abs/2406.08070, on the samplers of the same names.
"""

from __future__ import annotations

from torch import Tensor

from .walk import Walk, renoise, split


def euler(walk: Walk, noisy: Tensor, *, ancestral: bool = False) -> Tensor:
    """Euler's step; ``ancestral``: to a lower level, and noise up from there."""
    draw = walk.white(noisy)
    for step, here, there in walk:
        clean = walk.clean(step, noisy)
        down, up = split(here, there) if ancestral else (there, 0)
        noisy = renoise(noisy, clean, walk.unguided(), here, down)
        if ancestral and there > 0:
            noisy = noisy + draw(here, there) * up
    return noisy


def dpmpp_2m(walk: Walk, noisy: Tensor) -> Tensor:
    """One look a step, and the last one without guidance remembered."""
    earlier: Tensor | None = None
    for step, here, there in walk:
        clean = walk.clean(step, noisy)
        ahead = renoise(noisy, clean, walk.unguided(), here, there)
        if earlier is not None and there > 0:
            share = (here / there).log() / (walk.sigmas[step - 1] / here).log() / 2
            ahead = ahead + (1 - there / here) * share * (clean - earlier)
        noisy, earlier = ahead, walk.unguided()
    return noisy


def gradient_estimation(walk: Walk, noisy: Tensor) -> Tensor:
    """Euler's step, and the change of the slope since the last once more."""
    last: Tensor | None = None
    for step, here, there in walk:
        clean = walk.clean(step, noisy)
        slope = (noisy - walk.unguided()) / here
        noisy = clean + slope * there
        if last is not None and there > 0:
            noisy = noisy + (slope - last) * (there - here)
        last = slope
    return noisy
