"""Samplers in ComfyUI's sigma units, step for step what ComfyUI does: euler, euler_ancestral, ddim, dpmpp_2m.

A sampler is a function of a denoiser and the first noisy latents; it knows nothing of models or conditions.

Source: Karras et al. 2022, https://arxiv.org/abs/2206.00364 (Euler); DPM-Solver++, https://arxiv.org/abs/2211.01095;
ancestral steps as in k-diffusion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

# (noisy [F, C, H, W], sigma []) -> denoised [F, C, H, W]
Denoise = Callable[[Tensor, Tensor], Tensor]
# (0-based step, denoised) -> None
OnStep = Callable[[int, Tensor], None]


class SamplerFunction(Protocol):
    """A sampler's loop."""

    def __call__(
        self, denoise: Denoise, noisy: Tensor, sigmas: Tensor, seed: int | None, on_step: OnStep
    ) -> Tensor:
        """Go from noisy to clean latents, [F, C, H, W], along ``sigmas``: [steps + 1] float32 on the CPU."""
        ...


@dataclass(frozen=True)
class Sampler:
    """What a SAMPLER socket carries.

    Attributes:
        name: ComfyUI's name.
        run: its function.
        fresh_mask_noise: kept parts of a masked run are noised by other noise than the rest.
    """

    name: str
    run: SamplerFunction
    fresh_mask_noise: bool = False


def _euler(denoise: Denoise, noisy: Tensor, sigmas: Tensor, seed: int | None, on_step: OnStep) -> Tensor:
    del seed
    for step in range(len(sigmas) - 1):
        clean = denoise(noisy, sigmas[step])
        on_step(step, clean)
        noisy = noisy + (noisy - clean) / sigmas[step] * (sigmas[step + 1] - sigmas[step])
    return noisy


def _euler_ancestral(
    denoise: Denoise, noisy: Tensor, sigmas: Tensor, seed: int | None, on_step: OnStep
) -> Tensor:
    generator = None
    if seed is not None:
        # One more on the CPU: there the first draws of the seed itself are the starting noise.
        generator = torch.Generator(noisy.device).manual_seed(seed + (noisy.device.type == "cpu"))
    for step in range(len(sigmas) - 1):
        clean = denoise(noisy, sigmas[step])
        on_step(step, clean)
        here, there = sigmas[step], sigmas[step + 1]
        up = torch.minimum(there, (there**2 * (here**2 - there**2) / here**2) ** 0.5)
        down = (there**2 - up**2) ** 0.5
        if float(down) == 0:
            noisy = clean
            continue
        drawn = torch.randn(noisy.shape, dtype=noisy.dtype, device=noisy.device, generator=generator)
        noisy = noisy + (noisy - clean) / here * (down - here) + drawn * up
    return noisy


def _dpmpp_2m(denoise: Denoise, noisy: Tensor, sigmas: Tensor, seed: int | None, on_step: OnStep) -> Tensor:
    del seed
    earlier: Tensor | None = None
    for step in range(len(sigmas) - 1):
        clean = denoise(noisy, sigmas[step])
        on_step(step, clean)
        here, there = sigmas[step].log().neg(), sigmas[step + 1].log().neg()
        stride = there - here
        target = clean
        if earlier is not None and float(sigmas[step + 1]) != 0:
            ratio = (here - sigmas[step - 1].log().neg()) / stride
            target = (1 + 1 / (2 * ratio)) * clean - 1 / (2 * ratio) * earlier
        noisy = there.neg().exp() / here.neg().exp() * noisy - (-stride).expm1() * target
        earlier = clean
    return noisy


# In sigma units ddim without noise is Euler; ComfyUI's differs only under a mask.
SAMPLERS: dict[str, Sampler] = {
    sampler.name: sampler
    for sampler in (
        Sampler("euler", _euler),
        Sampler("euler_ancestral", _euler_ancestral),
        Sampler("dpmpp_2m", _dpmpp_2m),
        Sampler("ddim", _euler, fresh_mask_noise=True),
    )
}


def find_sampler(name: str) -> Sampler:
    """Return a sampler by ComfyUI's name.

    Raises:
        ValueError: it is not built here.
    """
    if name not in SAMPLERS:
        raise ValueError(f"sampler_name={name!r} is not built headless; choose one of {', '.join(SAMPLERS)}.")
    return SAMPLERS[name]
