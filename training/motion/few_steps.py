"""Teach a motion module to draw in few steps what it draws in many, with guidance: it is its own teacher.

The way from noise to a clip is cut into as many parts as the student is to take steps. From clean latents that are
noised up to the start of a part, the teacher goes to the part's end in several steps of DDIM, with guidance. The
student learns to get there in one, without. So at sampling it takes the parts' starts for its timesteps ("trailing";
ComfyUI's ``sgm_uniform``), a sampler that goes straight (``euler``), and guidance of 1.

Source: progressive distillation, Salimans and Ho 2022, https://arxiv.org/abs/2202.00512, section 3 and appendix G, of a
guided teacher, Meng et al. 2023, https://arxiv.org/abs/2210.03142, straight to the number of steps that is wanted. Lin
and Yang 2024, https://arxiv.org/abs/2403.12706, so distil AnimateDiff, with an adversary, which this has not.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.motion.few_steps import trailing
from .targets import Predict

CLEAN = -1  # the timestep at which nothing is left of the noise


@dataclass(frozen=True, slots=True)
class FewSteps:
    """Settings of the teaching.

    Attributes:
        steps: number of steps in which the student is to draw.
        teacher_steps: number of steps in which its teacher draws, all parts together.
        teacher_cfg: the teacher's guidance.
    """

    steps: int
    teacher_steps: int = 20
    teacher_cfg: float = 7.5

    def check(self, min_snr: float, *, taught: bool, gives: bool) -> None:
        """Raise ValueError if nothing can be taught so.

        Args:
            min_snr: gamma of Min-SNR weighting.
            taught: True if there is a module to begin with.
            gives: True if what learns is told which frames are given.
        """
        if not taught:
            raise ValueError(
                f"few_steps={self.steps}: got no motion module that could be the teacher; expected one that is "
                "trained; connect Load Motion Module, or set few_steps to 0."
            )
        if self.teacher_steps % self.steps or self.teacher_steps <= self.steps:
            raise ValueError(
                f"teacher_steps={self.teacher_steps} can't be shared among few_steps={self.steps}; expected a larger "
                f"multiple of it, such as {self.steps * 5}."
            )
        if gives:
            raise ValueError(
                f"few_steps={self.steps}: got a mask encoder to learn with, whose given frames a teacher would draw "
                "anew; expected a module without one, or a motion LoRA; choose another target."
            )
        if min_snr:
            raise ValueError(
                f"min_snr={min_snr} with few_steps={self.steps}: it weighs the error of noise, which is not what is "
                "learned here; expected 0."
            )


def guide(conditional: Tensor, unconditional: Tensor, cfg: float) -> Tensor:
    """Return what classifier-free guidance makes of two predictions."""
    return torch.lerp(unconditional, conditional, cfg)


def few_steps_mse(
    student: Predict,
    teacher: Predict,
    latents: Tensor,
    timesteps: Tensor,
    noise: Tensor,
    alphas_cumprod: Tensor,
    prediction_type: str,
    *,
    few: FewSteps,
) -> Tensor:
    """Return the mean squared error of the student's velocity, in float32.

    Args:
        student: function of the model that learns, with its text already bound.
        teacher: function of the model with the teacher's weights and its guidance; it runs without gradients.
        latents: [B, F, C, H, W] float. Clean latents.
        timesteps: [B] long. Start of each video's part, out of ``trailing(few.steps)``.
        noise: [B, F, C, H, W] float, unit normal.
        alphas_cumprod: [T] float. Cumulative product of the schedule's alphas.
        prediction_type: prediction type of the model, ``eps`` or ``v``.
        few: settings of the teaching.

    Returns:
        Scalar.
    """
    table = torch.cat([torch.ones_like(alphas_cumprod[:1]), alphas_cumprod])  # the first is CLEAN's

    def level(at: Tensor) -> tuple[Tensor, Tensor]:
        alpha = table[at + 1].view(-1, 1, 1, 1, 1)
        return alpha.sqrt(), (1 - alpha).sqrt()

    def mix(clean: Tensor, rest: Tensor, at: Tensor) -> Tensor:
        """Return clean latents with so much noise as there is at a timestep."""
        signal, sigma = level(at)
        return signal * clean + sigma * rest

    def split(noisy: Tensor, prediction: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        """Return the clean latents and the noise that a prediction means."""
        signal, sigma = level(at)
        if prediction_type == "v":
            return signal * noisy - sigma * prediction, sigma * noisy + signal * prediction
        return (noisy - sigma * prediction) / signal, prediction

    starts = trailing(few.steps).to(timesteps)
    ends = torch.cat([starts[1:], torch.full_like(starts[:1], CLEAN)])
    end = ends[(timesteps[:, None] == starts).int().argmax(1)]
    noisy = mix(latents, noise, timesteps)
    (signal, sigma), (end_signal, end_sigma) = level(timesteps), level(end)
    with torch.no_grad():
        state, at = noisy, timesteps
        steps = few.teacher_steps // few.steps
        for step in range(1, steps + 1):
            clean, rest = split(state, teacher(state, at).float(), at)
            at = (timesteps + (end - timesteps) * step / steps).round().long()
            state = mix(clean, rest, at)
        # One step goes from `noisy` to `state` if it sees these clean latents.
        left = end_sigma / sigma
        wanted = (state - left * noisy) / (end_signal - left * signal)
    seen, _ = split(noisy, student(noisy, timesteps).float(), timesteps)
    return ((seen - wanted) / sigma).square().mean()
