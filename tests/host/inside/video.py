"""Small random video transformers of core's own classes, and one step of sampling with them."""

from __future__ import annotations

from typing import Any

import torch
from frameloom.tests.host.inside.tiny_models import MODELS, build

STRIDE, LATENTS = {"LTX-Video": 8}, 5  # latent frames of MODELS


def stride_of(family: str) -> int:
    """Return how many frames a latent frame of a family stands for, as its papers have it."""
    return STRIDE.get(family, 4)


def frames_of(family: str, latents: int = LATENTS) -> int:
    """Return the frames of a clip of so many latent frames."""
    return stride_of(family) * (latents - 1) + 1


def with_mask(conditions: Any, family: str) -> Any:
    """Return conditions as a family's text encoder gives them: LTX's with a mask, HunyuanVideo's with a vector."""

    def more(tokens: torch.Tensor) -> dict[str, Any]:
        if family == "LTX-Video":
            return {"attention_mask": torch.ones(1, tokens.shape[1], dtype=torch.long)}
        return {"pooled_output": torch.zeros(1, 64)} if family == "HunyuanVideo" else {}

    return [[tokens, {**options, **more(tokens)}] for tokens, options in conditions]


def sample_video(
    port: Any, model: Any, prompts: Any, family: str, steps: int = 1, cfg: float = 1.0, **more: Any
) -> Any:
    """Sample a clip from the same noise; returns its latents, [C, T, H, W]."""
    shape = more.pop("shape", MODELS[family][2])
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    latent = {"samples": torch.zeros(shape)}
    sides = prompts, more.pop("negative", prompts)
    return port.sample(
        model, *sides, latent, noise=noise, sigmas=port.sigmas(model, steps, "simple"), sampler="euler", cfg=cfg, **more
    )["samples"][0]  # fmt: skip


__all__ = ["LATENTS", "build", "frames_of", "sample_video", "stride_of", "with_mask"]
