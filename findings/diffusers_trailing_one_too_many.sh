#!/usr/bin/env bash
# diffusers 0.42.1: with timestep_spacing "trailing", 61 steps are 62 timesteps, the last of which is -1.
#
# "trailing" is the spacing for few steps and for zero-terminal-SNR models. Timesteps are laid out by numpy's arange from
# 1000 down to 0 in steps of 1000 / N, without the end. For some N rounding makes arange count one step more, which lies
# within 1e-11 of 0; rounded and lowered by 1 it is timestep -1. The model is then asked once more than was said, at a time
# that it was never trained at, and the scheduler looks up its noise level from the wrong end of its table.
#
# Seen on 2026-11-30: of 1 to 200 steps at 61, 103, 121 and 122, with DDIM, DDPM, Euler, UniPC and DPM-Solver++ alike.
# With a model that always names the noise that was added, DDIM ends near the clean latents at 60 and at 62 steps, .13 and
# .02 of their norm away, and at 61 steps 19.2 times their norm away.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 diffusers==0.42.1 transformers==5.24.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
    __version__,
)

KINDS = (DDIMScheduler, DDPMScheduler, EulerDiscreteScheduler, UniPCMultistepScheduler, DPMSolverMultistepScheduler)


def timesteps(kind, steps):
    scheduler = kind(timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    return scheduler.timesteps.tolist()


right = True
for kind in KINDS:
    odd = [steps for steps in range(1, 201) if len(timesteps(kind, steps)) != steps]
    negative = [steps for steps in range(1, 201) if min(timesteps(kind, steps)) < 0]
    print(f"diffusers {__version__}, {kind.__name__}: one timestep too many at {odd}; 61 steps end in {timesteps(kind, 61)[-3:]}")
    right &= 61 in odd and odd == negative

generator = torch.Generator().manual_seed(0)
clean, noise = torch.randn(2, 1, 4, 32, 32, generator=generator)
for steps, is_back in ((60, True), (61, False), (62, True)):
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(steps)
    state = scheduler.add_noise(clean, noise, scheduler.timesteps[:1])
    for at in scheduler.timesteps:
        state = scheduler.step(noise, int(at), state).prev_sample
    away = float((state - clean).norm() / clean.norm())
    print(f"{steps} steps with a model that names the noise that was added: {away:.3f} from the clean latents")
    right &= (away < 1) == is_back
sys.exit(0 if right else "changed")
PYTHON
