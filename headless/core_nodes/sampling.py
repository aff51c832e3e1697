"""Nodes that sample, and what they are given: noise, guiders, samplers, noise levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from ...host import api
from ...models.edits.active import find_notes
from ...models.edits.call import Plan
from ..engine.denoise import sample
from ..engine.guidance import CFG, Conditioning, DualCFG, Guidance
from ..engine.noise import NoNoise, SeededNoise, draw_noise
from ..samplers.sigmas import run_sigmas
from ..samplers.table import SAMPLERS, Sampler, find_sampler
from ..v3 import io
from ..v3.core_node import CoreNode
from ..weights.model import Model

Latent = dict[str, Any]
# Notes of EmptyLatentImage that a sampler uses up.
_CONSUMED = ("downscale_ratio_spacial", "downscale_ratio_temporal")


@dataclass(frozen=True)
class Guider:
    """What a GUIDER socket carries: a model, what to draw and what not, and how strongly."""

    model: Model
    guidance: Guidance

    def run(
        self, noise: Tensor, sampler: Sampler, sigmas: Tensor, latent: Latent, seed: int
    ) -> tuple[Latent, Latent]:
        """Denoise a latent with a progress bar; returns it, and the last step's estimate of the clean one."""
        host = api.port()
        plan = Plan(
            len(latent["samples"]),
            timesteps=tuple(self.model.sampling.timestep(sigma) for sigma in sigmas[:-1]),
            sampler=sampler.name,
            cfg=self.guidance.scale if isinstance(self.guidance, CFG) else None,
            size=(latent["samples"].shape[-2], latent["samples"].shape[-1]),
        )
        find_notes(self.model.edits, plan)
        bar = host.progress(max(1, len(sigmas) - 1))
        samples, clean = sample(
            self.model,
            noise,
            self.guidance,
            sampler=sampler,
            sigmas=sigmas,
            latent=latent["samples"],
            mask=latent.get("noise_mask"),
            seed=seed,
            on_step=lambda step, _clean: bar.update(step + 1),
            check_interrupt=host.check_interrupt,
        )
        kept = {key: value for key, value in latent.items() if key not in _CONSUMED}
        return kept | {"samples": samples}, latent | {"samples": clean}


class _NamedSampler(CoreNode):
    """A node that is told the name of a sampler."""

    @classmethod
    def validate_inputs(cls, sampler_name: str | None) -> bool | str:
        """Say which of ComfyUI's names there are here; None, a link's, is told when the node runs."""
        is_built = sampler_name is None or sampler_name in SAMPLERS
        return is_built or f"expected a sampler_name built headless: {', '.join(SAMPLERS)}"


class KSampler(_NamedSampler):
    """The whole of sampling in one node."""

    @classmethod
    def execute(
        cls,
        model: Model,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        positive: Conditioning,
        negative: Conditioning,
        latent_image: Latent,
        denoise: float,
    ) -> io.NodeOutput:
        """Sample."""
        sampler = find_sampler(sampler_name)
        sigmas = run_sigmas(model.sampling, scheduler, steps, denoise, skip_a_level=sampler.skips_a_level)
        noise = draw_noise(latent_image["samples"], seed, latent_image.get("batch_index"))
        guider = Guider(model, CFG(positive, negative, cfg))
        return io.NodeOutput(guider.run(noise, sampler, sigmas, latent_image, seed)[0])


class KSamplerAdvanced(_NamedSampler):
    """A part of the steps of a run."""

    @classmethod
    def execute(
        cls,
        model: Model,
        add_noise: Literal["enable", "disable"],
        noise_seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        positive: Conditioning,
        negative: Conditioning,
        latent_image: Latent,
        start_at_step: int,
        end_at_step: int,
        return_with_leftover_noise: Literal["enable", "disable"],
    ) -> io.NodeOutput:
        """Sample from one step to another."""
        sampler = find_sampler(sampler_name)
        sigmas = run_sigmas(model.sampling, scheduler, steps, skip_a_level=sampler.skips_a_level)
        if end_at_step < len(sigmas) - 1:
            sigmas = sigmas[: end_at_step + 1]
            if return_with_leftover_noise == "disable":
                sigmas[-1] = 0
        sigmas = sigmas[start_at_step:] if start_at_step < len(sigmas) - 1 else sigmas[:0]
        source = SeededNoise(noise_seed) if add_noise == "enable" else NoNoise()
        guider = Guider(model, CFG(positive, negative, cfg))
        noise = source.generate_noise(latent_image)
        return io.NodeOutput(guider.run(noise, sampler, sigmas, latent_image, noise_seed)[0])


class SamplerCustom(CoreNode):
    """Sampling by a sampler and noise levels of one's own, guided by two prompts."""

    @classmethod
    def execute(
        cls,
        model: Model,
        add_noise: bool,
        noise_seed: int,
        cfg: float,
        positive: Conditioning,
        negative: Conditioning,
        sampler: Sampler,
        sigmas: Tensor,
        latent_image: Latent,
    ) -> io.NodeOutput:
        """Sample."""
        noise = SeededNoise(noise_seed) if add_noise else NoNoise()
        guider = Guider(model, CFG(positive, negative, cfg))
        drawn = noise.generate_noise(latent_image)
        return io.NodeOutput(*guider.run(drawn, sampler, sigmas, latent_image, noise_seed))


class SamplerCustomAdvanced(CoreNode):
    """Sampling put together from its parts."""

    @classmethod
    def execute(
        cls,
        noise: Any,
        guider: Guider,
        sampler: Sampler,
        sigmas: Tensor,
        latent_image: Latent,
    ) -> io.NodeOutput:
        """Sample."""
        drawn = noise.generate_noise(latent_image)
        return io.NodeOutput(*guider.run(drawn, sampler, sigmas, latent_image, noise.seed))


class RandomNoise(CoreNode):
    """The noise of a seed."""

    @classmethod
    def execute(cls, noise_seed: int) -> io.NodeOutput:
        """Make it."""
        return io.NodeOutput(SeededNoise(noise_seed))


class DisableNoise(CoreNode):
    """No noise."""

    @classmethod
    def execute(cls) -> io.NodeOutput:
        """Make none."""
        return io.NodeOutput(NoNoise())


class CFGGuider(CoreNode):
    """Guidance by a positive and a negative prompt."""

    @classmethod
    def execute(
        cls, model: Model, positive: Conditioning, negative: Conditioning, cfg: float
    ) -> io.NodeOutput:
        """Put it together."""
        return io.NodeOutput(Guider(model, CFG(positive, negative, cfg)))


class DualCFGGuider(CoreNode):
    """Guidance by three prompts: from the negative to the second, and on to the first."""

    @classmethod
    def execute(
        cls,
        model: Model,
        cond1: Conditioning,
        cond2: Conditioning,
        negative: Conditioning,
        cfg_conds: float,
        cfg_cond2_negative: float,
        style: Literal["regular", "nested"],
    ) -> io.NodeOutput:
        """Put it together."""
        nested = style == "nested"
        guidance = DualCFG(cond1, cond2, negative, cfg_conds, cfg_cond2_negative, nested)
        return io.NodeOutput(Guider(model, guidance))


class KSamplerSelect(_NamedSampler):
    """A sampler by name."""

    @classmethod
    def execute(cls, sampler_name: str) -> io.NodeOutput:
        """Find it."""
        return io.NodeOutput(find_sampler(sampler_name))


class BasicScheduler(CoreNode):
    """Noise levels by the name of a scheduler."""

    @classmethod
    def execute(cls, model: Model, scheduler: str, steps: int, denoise: float) -> io.NodeOutput:
        """Work them out."""
        return io.NodeOutput(run_sigmas(model.sampling, scheduler, steps, denoise))


class SplitSigmas(CoreNode):
    """Noise levels cut in two; both parts have the level at the cut."""

    @classmethod
    def execute(cls, sigmas: Tensor, step: int) -> io.NodeOutput:
        """Cut them."""
        return io.NodeOutput(sigmas[: step + 1], sigmas[step:])


class FlipSigmas(CoreNode):
    """Noise levels from the last to the first: a sampler goes from clean latents to noise; it can't begin at 0."""

    @classmethod
    def execute(cls, sigmas: Tensor) -> io.NodeOutput:
        """Turn them round."""
        flipped = sigmas.flip(0)
        if len(flipped) and flipped[0] == 0:
            flipped[0] = 0.0001
        return io.NodeOutput(flipped)
