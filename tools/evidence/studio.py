"""The demo model, headless, and the one way that evidence samples from it."""

from __future__ import annotations

from pathlib import Path

import torch
from frameloom.headless.port import HeadlessHost
from frameloom.models.edit import Edit, TemporalEdit
from frameloom.models.motion_checkpoint import read_motion_weights
from frameloom.models.motion_lora import read_motion_lora
from frameloom.training import shapes
from frameloom.training.loop import step_generator
from torch import Tensor

from .rows import SEED

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "assets" / "demo"
STEPS, CFG, SAMPLER, SCHEDULER = 12, 3.0, "ddim", "normal"
LATENT_SIDE = shapes.IMAGE_SIZE // 8


class Studio:
    """The demo model, headless, and the one way this file samples from it."""

    def __init__(self) -> None:
        self.host = HeadlessHost("cpu", ROOT, ROOT / "output", ROOT)
        self.model, self.clip, self.vae = self.host.load_demo()
        weights = read_motion_weights(ASSETS / "motion.safetensors")
        self.motion = self.host.load_motion(weights)
        self.schedule = weights.beta_schedule

    def animated(self, lora_strength: float = 0.0) -> object:
        """Return the model with the motion module, and the motion LoRA on it if its strength is not 0."""
        motion = self.motion
        if lora_strength:
            motion = motion.with_lora(read_motion_lora(ASSETS / "pan_left.safetensors"), lora_strength)
        return self.host.install(
            self.model, Edit("evidence", temporal=TemporalEdit(motion), schedule=self.schedule)
        )

    def sample(self, model: object, prompt: str, frames: int, seed: int, negative: str = "") -> Tensor:
        """Sample and decode one prompt. Returns [F, 3, H, W] in -1..1."""
        noise = torch.randn(frames, 4, LATENT_SIDE, LATENT_SIDE, generator=step_generator(SEED, seed))
        sigmas = self.host.sigmas(model, STEPS, SCHEDULER)
        return self.decode(self.denoise(model, prompt, torch.zeros_like(noise), noise, sigmas, negative))

    def denoise(
        self, model: object, prompt: str, latent: Tensor, noise: Tensor, sigmas: Tensor, negative: str = ""
    ) -> Tensor:
        """Sample over some noise levels. ``latent``, ``noise``: [F, 4, h, w]. Returns latents like them."""
        return self.host.sample(
            model,
            self.host.encode_text(self.clip, prompt)[0],
            self.host.encode_text(self.clip, negative)[0],
            {"samples": latent},
            noise=noise,
            sigmas=sigmas,
            sampler=SAMPLER,
            cfg=CFG,
        )["samples"]

    def decode(self, latent: Tensor) -> Tensor:
        """Decode latents to pictures, [F, 3, H, W] in -1..1."""
        return self.host.decode(self.vae, {"samples": latent}).movedim(-1, 1) * 2 - 1
