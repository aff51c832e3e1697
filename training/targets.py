"""Noise MSE: the one objective of every diffusion model trained here.

AnimateDiff (Guo et al. 2023, https://arxiv.org/abs/2307.04725, eq. 2): the error of the predicted noise, one
timestep per video, independent noise per frame. With v prediction (Salimans and Ho 2022,
https://arxiv.org/abs/2202.00512) the target is the velocity instead.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# (noisy latents [B, F, C, H, W], timesteps [B] long) -> prediction of the same shape
Predict = Callable[[Tensor, Tensor], Tensor]


def noise_mse(
    predict: Predict,
    latents: Tensor,
    timesteps: Tensor,
    noise: Tensor,
    alphas_cumprod: Tensor,
    prediction_type: str,
) -> Tensor:
    """Return the mean squared error of one prediction.

    Args:
        predict: the model, with its text already bound.
        latents: [B, F, C, H, W] float. Clean latents.
        timesteps: [B] long, 0..T-1. One per video.
        noise: [B, F, C, H, W] float, unit normal.
        alphas_cumprod: [T] float.
        prediction_type: ``eps`` or ``v``.

    Returns:
        Scalar.

    Raises:
        ValueError: another prediction type.
    """
    if prediction_type not in ("eps", "v"):
        raise ValueError(f"prediction_type={prediction_type!r} is unknown; expected 'eps' or 'v'.")
    alpha = alphas_cumprod[timesteps].view(-1, 1, 1, 1, 1)
    signal, sigma = alpha.sqrt(), (1 - alpha).sqrt()
    noisy = signal * latents + sigma * noise
    target = noise if prediction_type == "eps" else signal * noise - sigma * latents
    return torch.nn.functional.mse_loss(predict(noisy, timesteps), target)
