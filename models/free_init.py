"""FreeInit: sample a clip again from noise whose coarse, slow part comes from the clip that was drawn before.

A model was trained on clips that shine through the highest noise level a little, and starts from pure noise, which no
clip shines through; so its frames agree less than they could. Each further run starts from the low frequencies, in
space and time, of the last clip under the first run's noise, and from the high ones of fresh noise.

Source: FreeInit (Wu et al. 2023), https://arxiv.org/abs/2312.07537, section 4 and algorithm 1.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from .edits.run import Once, Start
from .noise import draw_noise

FilterName = Literal["butterworth", "gaussian", "ideal", "ideal_released"]
_AXES = (0, 2, 3)  # frames, rows, columns of [F, C, H, W]


@dataclass(frozen=True, slots=True)
class NoiseReinit:
    """Sample again from noise that the last clip shines through; an ``Edit``'s ``run``.

    Frequencies are in cycles by the highest that frames and pixels can hold: 1 is a change from each to the next.

    Attributes:
        iterations: runs after the first; 0 leaves sampling as it is.
        filter: which frequencies come from the last clip. ``butterworth`` (the authors' choice) and ``gaussian`` fall
            off smoothly; ``ideal`` cuts at the stop frequency; ``ideal_released`` cuts where the authors' code and
            diffusers do, at the square root of twice the stop frequency.
        spatial: stop frequency in a picture, above 0.
        temporal: stop frequency over frames, above 0.
        order: of the Butterworth filter, 1 or more; higher is steeper.
        coarse_to_fine: take fewer steps in earlier runs, ``n / runs`` of them in the n-th.
    """

    iterations: int = 2
    filter: FilterName = "butterworth"
    spatial: float = 0.25
    temporal: float = 0.25
    order: int = 4
    coarse_to_fine: bool = False

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: one is out of its range, or the filter is unknown.
        """
        if self.filter not in get_args(FilterName):
            raise ValueError(f"filter={self.filter!r} is unknown; expected one of {get_args(FilterName)}.")
        for name, least in (("iterations", 0), ("order", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)}; expected {least} or more; raise it.")
        for name in ("spatial", "temporal"):
            if getattr(self, name) <= 0:
                raise ValueError(
                    f"{name} stop frequency is {getattr(self, name)}; expected more than 0; raise it, or set "
                    "iterations to 0 to keep nothing of the clip before."
                )

    def low_pass(self, frames: int, height: int, width: int, device: torch.device | None = None) -> Tensor:
        """Return the share of each frequency that comes from the last clip.

        It stands at the transform's own frequencies, so the mixed noise is real for odd sizes too. For even sizes it is
        diffusers' filter, shifted back.

        Args:
            frames: F.
            height: H, of the latents.
            width: W.
            device: where to make it.

        Returns:
            [F, 1, H, W] float32 in 0..1, in the order of ``torch.fft.fftn``.
        """
        along = [2 * torch.fft.fftfreq(size, device=device) for size in (frames, height, width)]
        time, rows, columns = torch.meshgrid(*along, indexing="ij")
        squared = ((self.spatial / self.temporal * time) ** 2 + rows**2 + columns**2)[:, None]
        match self.filter:
            case "butterworth":
                return 1 / (1 + (squared / self.spatial**2) ** self.order)
            case "gaussian":
                return (-squared / (2 * self.spatial**2)).exp()
            case "ideal":
                return (squared <= self.spatial**2).float()
            case "ideal_released":
                return (squared <= 2 * self.spatial).float()

    def mix(self, slow: Tensor, fresh: Tensor) -> Tensor:
        """Return noise with the low frequencies of one tensor and the high ones of another.

        Args:
            slow: [F, C, H, W] float32.
            fresh: [F, C, H, W] float32.

        Returns:
            [F, C, H, W] float32.
        """
        frames, _, height, width = slow.shape
        low = torch.fft.fftn(slow - fresh, dim=_AXES) * self.low_pass(frames, height, width, slow.device)
        return fresh + torch.fft.ifftn(low, dim=_AXES).real

    def schedules(self, sigmas: Tensor) -> list[Tensor]:
        """Return the noise levels of each run, [steps + 1]; those of a coarse one are every so many of the last's.

        Args:
            sigmas: [steps + 1] descending, of a plain run.
        """
        steps, runs = len(sigmas) - 1, self.iterations + 1
        if not self.coarse_to_fine:
            return [sigmas] * runs
        counts = [max(1, steps * (number + 1) // runs) for number in range(runs)]
        return [sigmas[torch.linspace(0, steps, count + 1).round().long()] for count in counts]

    def sample(self, once: Once, start: Start, sigmas: Tensor) -> Tensor:
        """Return a clip, [F, C, H, W]: that of the last run.

        Raises:
            ValueError: a run that is to be repeated has no noise of its own, or does not end at noise level 0.

        Randomness:
            Fresh noise depends on the first run's noise and the number of the run.
        """
        noise, latent = start.noise, start.latent
        if self.iterations == 0:
            return once(noise, sigmas, lambda step: step)
        if float(sigmas[-1]) > 0 or not noise.any():
            got = f"that stops at level {float(sigmas[-1]):.3g}" if noise.any() else "without noise"
            raise ValueError(
                f"Free Init: got a run {got}; expected one from its own noise down to level 0, whose clip it can start "
                "from again; give a sampler that takes part of the steps the model from before Free Init."
            )
        sigma = float(sigmas[0])
        scale = (1 + sigma**2) ** 0.5 if sigma >= start.highest * (1 - 1e-5) else sigma
        seed = int.from_bytes(
            hashlib.blake2b(noise.cpu().numpy().tobytes(), digest_size=8).digest(), "little"
        )
        schedules = self.schedules(sigmas)
        steps, total = len(sigmas) - 1, sum(len(levels) - 1 for levels in schedules)
        first, clip, done = noise, latent, 0
        for number, levels in enumerate(schedules):
            if number:
                fresh = start.arrange(draw_noise(seed + number, range(len(noise)), noise.shape[1:]))
                first = self.mix((clip - latent + sigma * noise) / scale, fresh.to(noise))
            clip = once(first, levels, lambda step, done=done: (done + step) * steps // total)
            done += len(levels) - 1
        return clip
