"""One zero-shot clip, as the sampler node draws it in either host; ``text2video_zero`` has diffusers draw the same."""

from __future__ import annotations

import torch
from frameloom.models.zero_shot.motion_path import translation

STEPS, CFG, FRAMES, SEED = 20, 4.0, 5, 9
STRENGTHS = (40.0, -25.0)
T0, T1 = 751, 851  # of the grid 951, 901, ..., 1
SIZE = 16


def by_node(sampler, model, prompts):
    """Return the sampler node's latents, [F, 4, H, W] in a socket's units. ``prompts``: tokens [1, L, D], two."""
    sides = [[[tokens, {}]] for tokens in prompts]
    settings = {"seed": SEED, "steps": STEPS, "cfg": CFG, "sampler_name": "ddim", "scheduler": "ddim_uniform"}
    levels = {"t0": float(T0), "t1": float(T1), "level_unit": "timestep", "chunk_size": 0}
    latent = {"samples": torch.zeros(1, 4, SIZE, SIZE)}
    return sampler.execute(model, *sides, latent, translation(FRAMES, *STRENGTHS), **settings, **levels)[0][
        "samples"
    ]
