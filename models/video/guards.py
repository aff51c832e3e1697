"""Stop a run whose numbers are wrong, rather than save it."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import HostError, PredictionError


def check_prediction(prediction: Tensor, *, step: int, sigma: float, frames: int) -> None:
    """Raise PredictionError, which says where and in what dtype, unless a prediction is finite.

    One reduction on the prediction's device and one read of a flag; the rest only when it fails.

    Args:
        prediction: [B*F, C, H, W] float. One model call's output.
        step: 0-based step of the sampler.
        sigma: noise level of the call.
        frames: frames per video in the call.
    """
    if torch.isfinite(prediction).all():
        return
    bad = ~torch.isfinite(prediction)
    hit = [int(index) % frames for index in bad.flatten(1).any(1).nonzero().flatten()]
    raise PredictionError(
        f"prediction has {int(bad.sum())} of {bad.numel()} values NaN or infinite at step {step}, sigma {sigma:.4g}, "
        f"in {len(set(hit))} of {frames} frames (first: {min(hit)}), dtype {prediction.dtype}; expected finite "
        "numbers; run in a wider dtype (fp32 or bf16), lower cfg or the motion strength, or check the weights."
    )


def check_frames(frames: Tensor, what: str, first: int = 0) -> None:
    """Raise PredictionError, which says which, unless every frame is finite. Takes no memory beside the frames.

    Args:
        frames: [F, ...] float. Latents or pictures.
        what: name of what they are, for the message.
        first: number of the first of them.
    """
    low, high = torch.aminmax(frames.flatten(1), dim=1)
    bad = [int(frame) for frame in (~(torch.isfinite(low) & torch.isfinite(high))).nonzero().flatten()]
    if bad:
        raise PredictionError(
            f"{what}: got NaN or infinity in {len(bad)} of {len(frames)} frames (first: frame {first + bad[0]}), dtype "
            f"{frames.dtype}; expected finite numbers; run the model or the VAE in a wider dtype (bf16 or fp32)."
        )


def check_sampled(latents: Tensor) -> None:
    """Raise PredictionError unless all is finite that a sampler made of answers that were.

    Args:
        latents: [F, C, H, W] float. The end of a run.
    """
    if torch.isfinite(latents).all():
        return
    bad = (~torch.isfinite(latents)).flatten(1).any(1)
    raise PredictionError(
        f"sampled latents: got NaN or infinity in {int(bad.sum())} of {len(bad)} frames, though every answer of the "
        "model was finite; expected finite numbers; guidance or the sampler made them: look at cfg and at the noise "
        "that sampling began with, or choose another sampler."
    )


def check_schedule(live: Tensor, wanted: Tensor, name: str) -> None:
    """Raise HostError unless the model samples on the schedule it was given, but for rounding.

    ComfyUI can leave a patched schedule on the model, or take it away, when patched and plain clones alternate
    (https://github.com/comfyanonymous/ComfyUI/issues/16490).

    Args:
        live: [T] float. Sigmas of the model that is about to run.
        wanted: [T] float. Sigmas that were asked for.
        name: name of the schedule, for the message.
    """
    wanted = wanted.to(live)
    if live.shape == wanted.shape and torch.allclose(live, wanted, rtol=1e-3, atol=1e-4):
        return
    raise HostError(
        f"beta schedule: the model runs with {len(live)} sigmas up to {live.max():.3f}, expected {name}'s "
        f"{len(wanted)} up to {wanted.max():.3f}; remove any node behind ours that changes the model's sampling, or, "
        "if there is none, the host has mixed up two copies of one model (ComfyUI issue 16490): unload models (Free "
        "model and node cache) and queue again."
    )
