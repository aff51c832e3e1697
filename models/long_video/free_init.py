"""FreeInit: sample a clip again from noise whose coarse, slow part comes from the clip that was drawn before.

A model was trained on clips that shine through the highest noise level a little, and starts from pure noise, which no
clip shines through; so its frames agree less than they could. With e_0 the first run's noise, x_n the clip that run n
drew, z_n fresh noise, F the Fourier transform over frames, rows and columns, and H a low-pass filter, run n starts from

    e_n = z_n + F^-1 H F (y - z_n),    y = (x_(n-1) - x + sigma e_0) / scale

that is, from the low frequencies of the last clip under e_0, and the high ones of z_n. A run begins at x + scale e, x
being 0 for text-to-video. With d^2 = ((s/t) f_t)^2 + f_y^2 + f_x^2, s and t the stop frequencies in space and in time,
and frequencies in cycles by the highest that frames and pixels can hold, 1 being a change from each to the next:

    butterworth    H = 1 / (1 + (d^2 / s^2)^q)     the authors' choice         ideal             H = 1 where d^2 <= s^2
    gaussian       H = exp(-d^2 / (2 s^2))                                     ideal_released    H = 1 where d^2 <= 2 s

The last cuts where the authors' code and diffusers do.

Source: FreeInit (Wu et al. 2023), https://arxiv.org/abs/2312.07537, section 4 and algorithm 1.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ..edits.run import Once, Start
from ..video.noise import draw_noise
from ..video.shapes import Clip, Sigmas

FilterName = Literal["butterworth", "gaussian", "ideal", "ideal_released"]
_fft: Any = torch.fft  # its functions have no types
_AXES = (0, 2, 3)  # frames, rows, columns of [F, C, H, W]


@dataclass(frozen=True, slots=True)
class NoiseReinit:
    """Sample again from noise that the last clip shines through; an ``Edit``'s ``run``."""

    iterations: int = 2  # runs after the first; 0 leaves sampling as it is
    filter: FilterName = "butterworth"  # H
    spatial: float = 0.25  # s, above 0
    temporal: float = 0.25  # t, above 0
    order: int = 4  # q, 1 or more; higher is steeper
    coarse_to_fine: bool = False  # fewer steps in earlier runs: n / runs of them in the n-th

    def low_pass(self, frames: int, height: int, width: int, device: torch.device | None = None) -> Tensor:
        """Return H, [F, 1, H, W] float32 in 0..1, at the frequencies of ``torch.fft.fftn``.

        So the mixed noise is real for odd sizes too. For even sizes it is diffusers' filter, shifted back.
        """
        along: list[Tensor] = [2 * _fft.fftfreq(size, device=device) for size in (frames, height, width)]
        f_t, f_y, f_x = torch.meshgrid(*along, indexing="ij")
        s, t = self.spatial, self.temporal
        d2 = ((s / t * f_t) ** 2 + f_y**2 + f_x**2)[:, None]
        match self.filter:
            case "butterworth":
                return 1 / (1 + (d2 / s**2) ** self.order)
            case "gaussian":
                return (-d2 / (2 * s**2)).exp()
            case "ideal":
                return (d2 <= s**2).float()
            case "ideal_released":
                return (d2 <= 2 * s).float()

    def mix(self, y: Clip, z: Clip) -> Clip:
        """Return z + F^-1 H F (y - z): noise with the low frequencies of y and the high ones of z, float32."""
        frames, _, height, width = y.shape
        low: Tensor = _fft.fftn(y - z, dim=_AXES) * self.low_pass(frames, height, width, y.device)
        return z + _fft.ifftn(low, dim=_AXES).real

    def schedules(self, sigmas: Sigmas) -> list[Sigmas]:
        """Return the noise levels of each run; those of a coarse one are every so many of the last's."""
        steps, runs = len(sigmas) - 1, self.iterations + 1
        if not self.coarse_to_fine:
            return [sigmas] * runs
        counts = [max(1, steps * (number + 1) // runs) for number in range(runs)]
        return [sigmas[torch.linspace(0, steps, count + 1).round().long()] for count in counts]

    def sample(self, once: Once, start: Start, sigmas: Sigmas) -> Clip:
        """Return the clip of the last run; z_n depends on the first run's noise and on n."""
        e_0, x = start.noise, start.latent
        if self.iterations == 0:
            return once(e_0, sigmas, lambda step: step)
        check_run(e_0, sigmas)
        sigma = float(sigmas[0])
        scale = (1 + sigma**2) ** 0.5 if sigma >= start.highest * (1 - 1e-5) else sigma
        digest = hashlib.blake2b(e_0.cpu().numpy().tobytes(), digest_size=8).digest()
        seed = int.from_bytes(digest, "little")
        schedules = self.schedules(sigmas)
        steps, total = len(sigmas) - 1, sum(len(levels) - 1 for levels in schedules)
        e, x_n, done = e_0, x, 0
        for n, levels in enumerate(schedules):
            if n:
                z = start.arrange(draw_noise(seed + n, range(len(e_0)), e_0.shape[1:])).to(e_0)
                e = self.mix((x_n - x + sigma * e_0) / scale, z)
            x_n = once(e, levels, lambda step, done=done: (done + step) * steps // total)
            done += len(levels) - 1
        return x_n


def check_run(noise: Clip, sigmas: Sigmas) -> None:
    """Check that a run can be repeated.

    Raises:
        ValueError: it has no noise of its own, or does not end at noise level 0.
    """
    if float(sigmas[-1]) > 0 or not noise.any():
        got = f"that stops at level {float(sigmas[-1]):.3g}" if noise.any() else "without noise"
        raise ValueError(
            f"Free Init: got a run {got}; expected one from its own noise down to level 0, whose clip it can start "
            "from again; give a sampler that takes part of the steps the model from before Free Init."
        )
