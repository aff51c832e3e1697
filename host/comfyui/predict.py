"""One forward pass of a model as ComfyUI would make it in a sampler, with everything that is installed on it."""

from __future__ import annotations

from typing import Any

import comfy.samplers
import torch
from torch import Tensor

from ..contract import Conditioning, Latent


class NodeGuider(comfy.samplers.CFGGuider):
    """What samples for a node of ours, which knows how many frames it wants."""


class OnePass(comfy.samplers.KSAMPLER):
    """A sampler of one forward pass from noisy latents, which no edit has repeated."""


def predict_denoised(model: Any, conditioning: Conditioning, latent: Latent, sigma: float) -> Tensor:
    """Predict the clean latents from noisy ones.

    Args:
        model: a MODEL.
        conditioning: the positive CONDITIONING; nothing is taken from it (cfg 1).
        latent: LATENT of [F, 4, H, W] float, ``latents + sigma * noise / latent_scale``: a sampler's, in its units.
        sigma: noise level.

    Returns:
        [F, 4, H, W] float32, in LATENT units.
    """
    guider, noisy = NodeGuider(model), latent["samples"]
    # Not asked, but ComfyUI hands a positive condition's GLIGEN boxes on, and divides by the number of negative ones.
    has_boxes = any("gligen" in options for _, options in conditioning)
    guider.set_conds(conditioning, conditioning if has_boxes else [])
    guider.set_cfg(1.0)

    def evaluate(denoiser: Any, x: Tensor, sigmas: Tensor, extra_args: dict[str, Any], **_: Any) -> Tensor:
        return denoiser(x, sigmas[:1].expand(x.shape[0]), **extra_args)

    sampler = OnePass(evaluate)
    # No noise is added: ComfyUI scales it by sigma and adds the latents, which hold it already.
    return guider.sample(
        torch.zeros_like(noisy), noisy, sampler, torch.tensor([sigma, 0.0]), disable_pbar=True, seed=0
    )
