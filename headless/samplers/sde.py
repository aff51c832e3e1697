"""Samplers that draw noise on the way: from the same start and seed, always the same way down.

Each is a function of a ``Walk`` and noisy latents, [F, C, H, W], and returns clean ones.

Source: ancestral steps as in k-diffusion; DPM-Solver++, https://arxiv.org/abs/2211.01095 (2s, sde, 2m_sde, 3m_sde);
latent consistency, https://arxiv.org/abs/2310.04378 (lcm). A step of DDPM, https://arxiv.org/abs/2006.11239, is
Euler's ancestral one in these units.
"""

from __future__ import annotations

from torch import Tensor

from .ode import dpm_2_step, res_step
from .walk import Walk, glide, middle, renoise, split


def euler_ancestral(walk: Walk, noisy: Tensor) -> Tensor:
    """Euler's step to a lower level, and noise up from there."""
    draw = walk.white(noisy)
    for step, here, there in walk:
        clean = walk.clean(step, noisy)
        down, up = split(here, there)
        if float(down) == 0:
            noisy = clean
            continue
        noisy = glide(noisy, clean, here, down) + draw(here, there) * up
    return noisy


def dpm_2_ancestral(walk: Walk, noisy: Tensor) -> Tensor:
    """The slope in the middle of a step to a lower level, and noise up from there."""
    draw = walk.white(noisy)
    for step, here, there in walk:
        clean = walk.clean(step, noisy)
        down, up = split(here, there)
        if down > 0:
            clean = dpm_2_step(walk, noisy, clean, here, down) + draw(here, there) * up
        noisy = clean
    return noisy


def dpmpp_2s_ancestral(walk: Walk, noisy: Tensor, *, plus: bool = False) -> Tensor:
    """The answer in the middle of a step to a lower level, and noise up from there; ``plus``: by CFG++.

    As ComfyUI has it, CFG++ takes the second look's answer without guidance from the first's with it.
    """
    draw = walk.white(noisy)
    for step, here, there in walk:
        clean = walk.clean(step, noisy)
        down, up = split(here, there)
        if down > 0:
            halfway = middle(here, down)
            start = noisy + clean - walk.unguided() if plus else noisy
            second = walk.denoise(glide(start, clean, here, halfway), halfway)
            start = noisy + clean - walk.unguided() if plus else noisy
            clean = glide(start, second, here, down) + draw(here, there) * up
        noisy = clean
    return noisy


def res_multistep(walk: Walk, noisy: Tensor, *, ancestral: bool = False, plus: bool = False) -> Tensor:
    """One look a step, and the last one remembered, weighed by an exponential integrator; ``plus``: by CFG++."""
    draw = walk.white(noisy)
    earlier: Tensor | None = None
    fell = walk.sigmas[0]
    for step, here, there in walk:
        clean = walk.clean(step, noisy)
        seen = walk.unguided() if plus else clean
        down, up = split(here, there) if ancestral else (there, 0)
        if earlier is not None and down > 0:
            start = noisy + clean - seen if plus else noisy
            noisy = res_step(start, seen, earlier, (walk.sigmas[step - 1], fell, here, down))
        elif plus:
            noisy = renoise(noisy, clean, seen, here, down)
        else:
            noisy = glide(noisy, clean, here, down)
        if up > 0:
            noisy = noisy + draw(here, there) * up
        earlier, fell = seen, down
    return noisy


def lcm(walk: Walk, noisy: Tensor) -> Tensor:
    """The answer, and new noise on it."""
    draw = walk.white(noisy)
    for step, here, there in walk:
        noisy = walk.clean(step, noisy)
        if there > 0:
            noisy = noisy + draw(here, there) * there
    return noisy


def dpmpp_sde(walk: Walk, noisy: Tensor, *, on_cpu: bool = True) -> Tensor:
    """The answer in the middle of a step, with the noise of one path at both looks."""
    draw = walk.brownian(noisy, on_cpu=on_cpu)
    for step, here, there in walk:
        clean = walk.clean(step, noisy)
        if there > 0:
            halfway = middle(here, there)
            down, up = split(here, halfway)
            point = glide(noisy, clean, here, down) + draw(here, halfway) * up
            clean = walk.denoise(point, halfway)
            down, up = split(here, there)
            noisy = glide(noisy, clean, here, down) + draw(here, there) * up
        else:
            noisy = clean
    return noisy


def dpmpp_2m_sde(walk: Walk, noisy: Tensor, *, heun: bool = False, on_cpu: bool = True) -> Tensor:
    """One look a step and the last one remembered, with the noise of one path."""
    draw = walk.brownian(noisy, on_cpu=on_cpu)
    earlier: Tensor | None = None
    for step, here, there in walk:
        clean = walk.clean(step, noisy)
        if there == 0:
            return clean
        noisy = _fall(noisy, clean, here, there)
        if earlier is not None:
            length, last = (here / there).log(), (walk.sigmas[step - 1] / here).log()
            weight = _bend(length) if heun else (-2 * length).expm1() / -2
            noisy = noisy + weight * length / last * (clean - earlier)
        noisy = noisy + draw(here, there) * split(here, there)[1]
        earlier = clean
    return noisy


def dpmpp_3m_sde(walk: Walk, noisy: Tensor, *, on_cpu: bool = True) -> Tensor:
    """One look a step and the last two remembered, with the noise of one path."""
    draw = walk.brownian(noisy, on_cpu=on_cpu)
    earlier: Tensor | None = None
    slope: Tensor | None = None
    for step, here, there in walk:
        clean = walk.clean(step, noisy)
        if there == 0:
            return clean
        noisy = _fall(noisy, clean, here, there)
        if earlier is not None:
            length, last = (here / there).log(), (walk.sigmas[step - 1] / here).log()
            new = (clean - earlier) / last
            noisy = noisy + _bend(length) * length * new
            if slope is not None:
                both = last + (walk.sigmas[step - 2] / walk.sigmas[step - 1]).log()
                curve = _bend(length) * last - _bend(length) / 2 + length / 2
                noisy = noisy + curve * length / both * (new - slope)
            slope = new
        noisy = noisy + draw(here, there) * split(here, there)[1]
        earlier = clean
    return noisy


def _fall(noisy: Tensor, clean: Tensor, here: Tensor, there: Tensor) -> Tensor:
    """Go down to where noise of an ancestral step is to be added."""
    return glide(noisy, clean, here, there**2 / here)


def _bend(length: Tensor) -> Tensor:
    """Return what a change of the answer by 1 in ``length`` moves the latents by; ``length`` is a logarithm's step."""
    return (-2 * length).expm1() / (2 * length) + 1
