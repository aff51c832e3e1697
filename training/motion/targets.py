"""The mean squared error of the noise: the objective of every diffusion model that is trained here.

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
    *,
    min_snr: float = 0.0,
    unknown: Tensor | None = None,
) -> Tensor:
    """Return the mean squared error of one prediction, in float32.

    Args:
        predict: function of the model, with its text already bound.
        latents: [B, F, C, H, W] float. Clean latents.
        timesteps: [B] long, 0..T-1. One per video.
        noise: [B, F, C, H, W] float, unit normal.
        alphas_cumprod: [T] float. Cumulative product of the schedule's alphas.
        prediction_type: prediction type of the model, ``eps`` or ``v``.
        min_snr: gamma of ``min_snr_weight``, by which each video's error is multiplied; 0: by nothing.
        unknown: [B, F] float. Weight of each frame in the mean; 0 for frames the model is given. None: all count.

    Returns:
        Scalar.

    Raises:
        ValueError: the prediction type is unknown.
    """
    if prediction_type not in ("eps", "v"):
        raise ValueError(f"prediction_type={prediction_type!r} is unknown; expected 'eps' or 'v'.")
    alpha = alphas_cumprod[timesteps].view(-1, 1, 1, 1, 1)
    signal, sigma = alpha.sqrt(), (1 - alpha).sqrt()
    noisy = signal * latents + sigma * noise
    target = noise if prediction_type == "eps" else signal * noise - sigma * latents
    error = (predict(noisy, timesteps).float() - target).square().mean((2, 3, 4))
    weight = torch.ones_like(error) if unknown is None else unknown
    if min_snr:
        error = error * min_snr_weight(alphas_cumprod[timesteps], prediction_type, min_snr)[:, None]
    return (weight * error).sum() / weight.sum()


def min_snr_weight(alpha: Tensor, prediction_type: str, gamma: float) -> Tensor:
    """Return Min-SNR-gamma's weight of each video's loss.

    The weight of the error of the clean latents is ``min(SNR, gamma)``, with ``SNR = alpha / (1 - alpha)``. The error
    of the noise is SNR times that of the clean latents, and the error of the velocity SNR + 1 times.

    Args:
        alpha: [B] float, 0..1. Share of signal variance at each timestep.
        prediction_type: prediction type of the model, ``eps`` or ``v``.
        gamma: largest signal-to-noise ratio that counts; the paper takes 5.

    Returns:
        [B].

    Source:
        Hang et al. 2023, https://arxiv.org/abs/2303.09556, section 3.4.
    """
    snr = alpha / (1 - alpha)
    return snr.clamp(max=gamma) / (snr if prediction_type == "eps" else snr + 1)
