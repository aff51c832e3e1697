"""Samplers of CFG++: the guided answer, and noise as the answer without guidance has it.

Each is a function of a ``Walk`` and noisy latents, [F, C, H, W], and returns clean ones.

Source: CFG++, https://arxiv.org/abs/2406.08070, on the samplers of the same names.
"""

from __future__ import annotations

from torch import Tensor

from .ode import res_step
from .walk import Walk, glide, middle, split


def euler(walk: Walk, noisy: Tensor, *, ancestral: bool = False) -> Tensor:
    """Euler's step; ``ancestral``: to a lower level, and noise up from there."""
    draw = walk.white(noisy)
    for step, here, there in walk:
        clean = walk.clean(step, noisy)
        down, up = split(here, there) if ancestral else (there, 0)
        noisy = _renoised(walk, noisy, clean, here, down)
        if ancestral and there > 0:
            noisy = noisy + draw(here, there) * up
    return noisy


def dpmpp_2m(walk: Walk, noisy: Tensor) -> Tensor:
    """One look a step, and the last one without guidance remembered."""
    earlier: Tensor | None = None
    for step, here, there in walk:
        clean = walk.clean(step, noisy)
        ahead = _renoised(walk, noisy, clean, here, there)
        if earlier is not None and there > 0:
            share = (here / there).log() / (walk.sigmas[step - 1] / here).log() / 2
            ahead = ahead + (1 - there / here) * share * (clean - earlier)
        noisy, earlier = ahead, walk.unguided()
    return noisy


def dpmpp_2s_ancestral(walk: Walk, noisy: Tensor) -> Tensor:
    """The answer in the middle of a step to a lower level, and noise up from there.

    As ComfyUI has it, the second look's answer without guidance is taken from the first's with it.
    """
    draw = walk.white(noisy)
    for step, here, there in walk:
        clean = walk.clean(step, noisy)
        down, up = split(here, there)
        if down == 0:
            noisy = clean
            continue
        halfway = middle(here, down)
        point = glide(noisy + clean - walk.unguided(), clean, here, halfway)
        second = walk.denoise(point, halfway)
        noisy = glide(noisy + clean - walk.unguided(), second, here, down) + draw(here, there) * up
    return noisy


def res_multistep(walk: Walk, noisy: Tensor, *, ancestral: bool = False) -> Tensor:
    """One look a step, and the last one without guidance remembered, weighed by an exponential integrator."""
    draw = walk.white(noisy)
    earlier: Tensor | None = None
    fell = walk.sigmas[0]
    for step, here, there in walk:
        clean = walk.clean(step, noisy)
        down, up = split(here, there) if ancestral else (there, 0)
        if earlier is None or down == 0:
            noisy = _renoised(walk, noisy, clean, here, down)
        else:
            levels = walk.sigmas[step - 1], fell, here, down
            noisy = res_step(noisy + clean - walk.unguided(), walk.unguided(), earlier, levels)
        if up > 0:
            noisy = noisy + draw(here, there) * up
        earlier, fell = walk.unguided(), down
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


def _renoised(walk: Walk, noisy: Tensor, clean: Tensor, here: Tensor, there: Tensor) -> Tensor:
    """Return the guided answer with the noise that is left by the one without guidance."""
    return clean + (noisy - walk.unguided()) / here * there
