"""One run of a sampler from noise level to noise level, and the steps that samplers are made of.

In ComfyUI's units (``x0 + sigma * noise``) nothing scales the clean latents, so that many formulas of the papers become
one: a first-order step of DDIM, of DPM-Solver and of DPM-Solver++ are all Euler's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

# (noisy [F, C, H, W], sigma []) -> denoised [F, C, H, W]
Denoise = Callable[[Tensor, Tensor], Tensor]
# (0-based step, denoised) -> None
OnStep = Callable[[int, Tensor], None]
# (level to leave [], level to reach []) -> [F, C, H, W] of unit variance
NoiseBetween = Callable[[Tensor, Tensor], Tensor]


class Walk:
    """What a sampler is given: the model, its noise levels, a seed, and who is told of each step.

    Iterating yields the steps: number, level to leave, level to reach.
    """

    def __init__(
        self,
        denoise: Denoise,
        sigmas: Tensor,
        seed: int | None,
        on_step: OnStep,
        unguided: Callable[[], Tensor] | None = None,
    ) -> None:
        """Take what a run needs.

        Args:
            denoise: the model, guided.
            sigmas: noise levels, [steps + 1] float32 on the CPU, so that no device is waited for.
            seed: seed of the noise that is drawn on the way; None: torch's global generator.
            on_step: function that is called at each step with its number and the denoised latents.
            unguided: function that returns the last answer as it was without guidance, [F, C, H, W]; CFG++ asks for it.
        """
        self.denoise, self.sigmas, self.seed, self._on_step = denoise, sigmas, seed, on_step
        self.unguided = unguided or _not_told

    def __iter__(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield the steps."""
        for step in range(len(self.sigmas) - 1):
            yield step, self.sigmas[step], self.sigmas[step + 1]

    @property
    def steps(self) -> int:
        """Their number."""
        return len(self.sigmas) - 1

    @property
    def lowest(self) -> Tensor:
        """The lowest level above 0, []."""
        return self.sigmas[self.sigmas > 0].min()

    def clean(self, step: int, noisy: Tensor) -> Tensor:
        """Denoise at the level that a step leaves, and tell of it."""
        clean = self.denoise(noisy, self.sigmas[step])
        self.tell(step, clean)
        return clean

    def tell(self, step: int, clean: Tensor) -> None:
        """Tell of a step."""
        self._on_step(step, clean)

    def white(self, noisy: Tensor) -> NoiseBetween:
        """Return a source of new noise like ``noisy`` at each call, whatever the levels."""
        generator = None
        if self.seed is not None:
            # One more on the CPU: there the first draws of the seed itself are the starting noise.
            on_cpu = noisy.device.type == "cpu"
            generator = torch.Generator(noisy.device).manual_seed(self.seed + on_cpu)

        def draw(here: Tensor, there: Tensor) -> Tensor:
            del here, there
            return torch.randn(noisy.shape, dtype=noisy.dtype, device=noisy.device, generator=generator)

        return draw

    def brownian(self, noisy: Tensor, *, on_cpu: bool = True) -> NoiseBetween:
        """Return a source of noise like ``noisy`` that is one path through all levels: the growth of a Brownian motion.

        The path depends on the seed and the first and last level, and on the device that draws it; not on where else it
        is read. So a run of more steps is a finer look at the same path.

        Args:
            noisy: [F, C, H, W].
            on_cpu: draw on the CPU; else where ``noisy`` is.
        """
        from torchsde import BrownianTree

        seed = int(torch.randint(2**63 - 1, ())) if self.seed is None else self.seed
        zeros = torch.zeros_like(noisy, device="cpu" if on_cpu else noisy.device)
        tree: Any = None  # its calls have many types of result

        def between(here: Tensor, there: Tensor) -> Tensor:
            nonlocal tree
            if tree is None:
                tree = BrownianTree(_place(self.lowest), zeros, _place(self.sigmas.max()), entropy=seed)
            return tree(_place(there), _place(here)).to(noisy) / -(here - there).sqrt()

        return between


def _not_told() -> Tensor:
    raise ValueError("unguided: got none; expected one, for CFG++; give the sampler what tells it.")


def _place(level: Tensor) -> float:
    """Return a level as torchsde rounds it, or it warns that the first level lies beyond its end."""
    return round(float(level), 6)


def glide(noisy: Tensor, clean: Tensor, here: Tensor, there: Tensor) -> Tensor:
    """Go from one level to another as if ``clean`` were the answer at every level between them (Euler's step)."""
    return noisy + (noisy - clean) / here * (there - here)


def renoise(noisy: Tensor, clean: Tensor, unguided: Tensor, here: Tensor, there: Tensor) -> Tensor:
    """Go from one level to another by CFG++: the guided answer, with the noise that the one without guidance leaves."""
    return clean + (noisy - unguided) / here * there


def split(here: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """Return the level to go down to, and how much noise to add there to reach ``there`` (an ancestral step)."""
    up = torch.minimum(there, (there**2 * (here**2 - there**2) / here**2) ** 0.5)
    return (there**2 - up**2) ** 0.5, up


def middle(here: Tensor, there: Tensor) -> Tensor:
    """Return the level halfway between two in the logarithm."""
    return here.log().lerp(there.log(), 0.5).exp()
