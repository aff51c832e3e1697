"""The samplers by ComfyUI's names, step for step what ComfyUI does.

No library has them with ComfyUI's numbers. k-diffusion, which ComfyUI's grew from, has a third of the names (no lcm,
uni_pc or deis), reads no seed for its Brownian paths, and brings wandb and clean-fid along; diffusers' schedulers count
in whole timesteps of their own tables. So the steps are written here, a few lines each, and compared with ComfyUI by
the name: docs/samplers.md. Brownian paths are torchsde's, as ComfyUI's are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from . import cfg_pp, ode, sde
from .walk import Walk


@dataclass(frozen=True)
class Sampler:
    """What a SAMPLER socket carries.

    Attributes:
        name: ComfyUI's name.
        function: function that goes from noisy to clean latents, [F, C, H, W], along a walk.
        fresh_mask_noise: True: parts that a mask keeps get other noise than the rest.
        skips_a_level: KSampler asks the scheduler for one step more and leaves its last level above 0 out.
        stops_above_0: True: it ends at the lowest level above 0, so that a last step to 0 is none.
        fewest_steps: least number of steps in which it can do anything.
        needs_unguided: True: it needs the answer without guidance too, also at a scale of 1.
    """

    name: str
    function: Callable[[Walk, Tensor], Tensor]
    fresh_mask_noise: bool = False
    skips_a_level: bool = False
    stops_above_0: bool = False
    fewest_steps: int = 1
    needs_unguided: bool = False

    def run(self, walk: Walk, noisy: Tensor) -> Tensor:
        """Go from noisy to clean latents, [F, C, H, W].

        Args:
            walk: run of the sampler.
            noisy: [F, C, H, W].

        Raises:
            ValueError: there are too few steps.
        """
        if walk.steps == 0:
            return noisy
        fewest = self.fewest_steps + (self.stops_above_0 and float(walk.sigmas[-1]) == 0)
        if walk.steps < fewest:
            raise ValueError(
                f"sampler_name={self.name!r}: got {walk.steps} step; expected at least {fewest}, or it would return "
                "its noise; raise steps, or choose euler."
            )
        return self.function(walk, noisy)


def _sde(name: str, function: Callable[..., Tensor]) -> list[Sampler]:
    """Return a sampler of a Brownian path that the CPU draws, and the one whose path the model's device draws."""
    return [Sampler(name, function), Sampler(f"{name}_gpu", partial(function, on_cpu=False))]


SAMPLERS: dict[str, Sampler] = {
    sampler.name: sampler
    for sampler in (
        Sampler("euler", ode.euler),
        Sampler("euler_ancestral", sde.euler_ancestral),
        Sampler("heun", ode.heun),
        Sampler("heunpp2", ode.heunpp2),
        Sampler("dpm_2", ode.dpm_2, skips_a_level=True),
        Sampler("dpm_2_ancestral", sde.dpm_2_ancestral, skips_a_level=True),
        Sampler("lms", ode.remembering(4, ode.own_strides)),
        Sampler("dpm_fast", ode.dpm_fast, stops_above_0=True),
        Sampler("dpm_adaptive", ode.dpm_adaptive, stops_above_0=True),
        Sampler("dpmpp_2s_ancestral", sde.dpmpp_2s_ancestral),
        *_sde("dpmpp_sde", sde.dpmpp_sde),
        Sampler("dpmpp_2m", ode.dpmpp_2m),
        *_sde("dpmpp_2m_sde", sde.dpmpp_2m_sde),
        *_sde("dpmpp_2m_sde_heun", partial(sde.dpmpp_2m_sde, heun=True)),
        *_sde("dpmpp_3m_sde", sde.dpmpp_3m_sde),
        Sampler("ddpm", sde.euler_ancestral),
        Sampler("lcm", sde.lcm),
        Sampler("ipndm", ode.remembering(4, ode.equal_strides)),
        Sampler("deis", ode.remembering(3, ode.own_times)),
        Sampler("res_multistep", sde.res_multistep),
        Sampler("res_multistep_ancestral", partial(sde.res_multistep, ancestral=True)),
        Sampler("gradient_estimation", ode.remembering(2, ode.doubled_change)),
        # In sigma units ddim without noise is Euler; ComfyUI's differs only under a mask.
        Sampler("ddim", ode.euler, fresh_mask_noise=True),
        Sampler("uni_pc", ode.uni_pc, skips_a_level=True, fewest_steps=2),
        Sampler("uni_pc_bh2", partial(ode.uni_pc, second_kind=True), skips_a_level=True, fewest_steps=2),
    )
}


SAMPLERS |= {
    name: Sampler(name, function, needs_unguided=True)
    for name, function in (
        ("euler_cfg_pp", cfg_pp.euler),
        ("euler_ancestral_cfg_pp", partial(cfg_pp.euler, ancestral=True)),
        ("dpmpp_2s_ancestral_cfg_pp", partial(sde.dpmpp_2s_ancestral, plus=True)),
        ("dpmpp_2m_cfg_pp", cfg_pp.dpmpp_2m),
        ("res_multistep_cfg_pp", partial(sde.res_multistep, plus=True)),
        ("res_multistep_ancestral_cfg_pp", partial(sde.res_multistep, ancestral=True, plus=True)),
        ("gradient_estimation_cfg_pp", cfg_pp.gradient_estimation),
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
