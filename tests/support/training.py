"""A tiny base, clips and settings to train motion on, on a real host."""

from __future__ import annotations

from dataclasses import replace

import torch
from frameloom.models.motion.checkpoint import MotionWeights
from frameloom.models.motion.mask_adapter import MASK_KEY
from frameloom.models.motion.pia import PICTURE_KEY
from frameloom.models.video.schedules import STABLE_DIFFUSION
from frameloom.tests.support.motion import tiny_weights
from frameloom.training.loop import LoopSettings
from frameloom.training.motion.latent_cache import EncodedClips as Clips
from frameloom.training.motion.lessons import learn_lora, learn_module, new_module
from frameloom.training.motion.training import MotionSettings

ADAPTERS = {"adapter": MASK_KEY, "pia adapter": PICTURE_KEY}


def moving_clips(count: int = 3, frames: int = 4, dim: int = 64) -> Clips:
    """A bright column that wanders; captions are noise, row 0 the empty one."""
    generator = torch.Generator().manual_seed(7)
    latents = 0.1 * torch.randn(count, frames, 4, 8, 8, generator=generator)
    for clip in range(count):
        for frame in range(frames):
            latents[clip, frame, :, :, (clip + frame) % 8] += 1.5
    tokens = torch.randn(count + 1, 77, dim, generator=generator)
    return Clips(latents, tokens, torch.arange(1, count + 1))


def settings(steps: int = 6, **changes: object) -> MotionSettings:
    """A short run whose checkpoints come every second step."""
    loop = LoopSettings(steps, learning_rate=1e-3, warmup=2, final_rate=1.0, ema_decay=0.5)
    return replace(MotionSettings(loop, batch=1, checkpoint_every=2), **changes)


def module_weights(width: int = 32, **size: object) -> MotionWeights:
    """A module for the demo model with random weights everywhere."""
    size = {"middle": False, **size, "width": width}
    return replace(tiny_weights("frameloom", STABLE_DIFFUSION, **size), name="start")


def lesson_of(port, model, kind: str):
    """A new module, a continued one, or a LoRA or an adapter on one, on the host's device."""
    device = port.compute_device()
    if kind == "new":
        return learn_module(new_module(port.base(model).widths, STABLE_DIFFUSION), "new", device)
    if kind == "continued":
        return learn_module(module_weights(), "continued", device)
    return learn_lora(module_weights(), 2, kind, device, encoder=ADAPTERS.get(kind))


def predict_in_training(port, model, conditioning, latent, sigma):
    """The clean latents of a training forward, as ``port.predict`` gives those of a sampling step.

    Args:
        port: a host.
        model: one that predicts velocity, as the demo model does.
        conditioning: of one prompt.
        latent: [F, 4, H, W], as ``port.predict`` takes it.
        sigma: noise level.
    """
    assert port.base(model).prediction_type == "v"
    with torch.inference_mode(False):
        unit, scale = port.noise_unit(model), (1 + sigma**2) ** 0.5
        noisy = latent.clone() / unit / scale
        timesteps = torch.full((len(latent),), port.sigma_to_timestep(model, sigma))
        tokens = conditioning[0][0].clone()
        forward = port.train_forward(model, len(latent))
        device = next(forward.unet.parameters()).device
        raw = forward(*(part.to(device) for part in (noisy, timesteps, tokens)))
        return (noisy / scale - raw.detach().to(noisy) * sigma / scale) * unit
