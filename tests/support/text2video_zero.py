"""Text2Video-Zero by diffusers' own pipeline, from our noise: what both hosts' sampler must equal."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, DDIMScheduler
from diffusers.pipelines.deprecated.text_to_video_synthesis.pipeline_text_to_video_zero import (
    TextToVideoZeroPipeline,
)
from frameloom.models.video.noise import draw_noise
from frameloom.models.video.schedules import STABLE_DIFFUSION
from frameloom.tests.support.zero_shot_case import CFG, FRAMES, SEED, SIZE, STEPS, STRENGTHS, T0, T1


class Oracle(TextToVideoZeroPipeline):
    """diffusers' pipeline with prompts as tokens and our noise.

    Its ``forward_loop`` multiplies alphas t0 to t1 - 1, one step early: latents at t1 hold noise of level t1 - 1. The
    level is right here unless ``is_early``.
    """

    prompts: tuple[torch.Tensor, torch.Tensor]
    is_early = False

    def encode_prompt(self, *_args, **_options):
        return self.prompts

    def forward_loop(self, x_t0, t0, t1, generator):
        first = t0 if self.is_early else t0 + 1
        kept = self.scheduler.alphas[first : first + t1 - t0].prod()
        noise = draw_noise(SEED, range(1, FRAMES), x_t0.shape[1:])
        return kept.sqrt() * x_t0 + (1 - kept).sqrt() * noise


def build_pipeline(kind, unet, prediction_type="epsilon", **networks):
    """Return a pipeline of diffusers' around a UNet, with DDIM as ComfyUI has it and no text encoder."""
    scheduler = DDIMScheduler(
        beta_start=STABLE_DIFFUSION.start,
        beta_end=STABLE_DIFFUSION.end,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=True,  # as ComfyUI's last step, to sigma 0
        steps_offset=1,
        prediction_type=prediction_type,
    )
    vae = AutoencoderKL(block_out_channels=(32,) * 4, down_block_types=("DownEncoderBlock2D",) * 4)
    parts = dict.fromkeys(["text_encoder", "tokenizer", "safety_checker", "feature_extractor"]) | networks
    pipeline = kind(unet=unet, scheduler=scheduler, vae=vae, requires_safety_checker=False, **parts)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def by_diffusers(unet, prompts, prediction_type, *, is_early=False):
    """Return [F, 4, H, W] latents in the UNet's units.

    Args:
        unet: diffusers', which gets the pipeline's attention processor.
        prompts: positive and negative tokens, [1, L, D] each.
        prediction_type: diffusers' name of it.
        is_early: with the pipeline's own forward level.
    """
    pipeline = build_pipeline(Oracle, unet, prediction_type)
    pipeline.prompts, pipeline.is_early = prompts, is_early
    scheduler = pipeline.scheduler
    scheduler.set_timesteps(STEPS)
    grid = scheduler.timesteps.tolist()
    kept = float(scheduler.alphas_cumprod[grid[0]])
    with torch.no_grad():
        return pipeline(
            prompt=["given as tokens"],
            video_length=FRAMES,
            height=8 * SIZE,
            width=8 * SIZE,
            num_inference_steps=STEPS,
            guidance_scale=CFG,
            latents=draw_noise(SEED, [0], (4, SIZE, SIZE)) * (1 - kept) ** 0.5,
            motion_field_strength_x=STRENGTHS[0],
            motion_field_strength_y=STRENGTHS[1],
            output_type="latent",
            t0=STEPS - 1 - grid.index(T0),
            t1=STEPS - 1 - grid.index(T1),
        ).images
