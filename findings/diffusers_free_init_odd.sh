#!/usr/bin/env bash
# diffusers 0.42.1: FreeInit's low-pass filter stands off centre for odd sizes, and a part of what it keeps is thrown away.
#
# The filter is laid out from -1 in steps of 2 / size. For an even size its middle falls on frequency 0; for an odd one it
# falls between frequencies, so it weighs a frequency and its negative differently. The inverse transform is then complex
# and diffusers keeps its real part alone. 16 frames of 32 x 32 latents lose nothing; 17 frames, or 360 pixels of height
# (45 latent rows), lose a part of the clip that FreeInit is meant to hand on, without a warning.
#
# Seen on 2026-11-29, Butterworth filter with the defaults of enable_free_init, lost share of the low frequencies' size:
# 0 at 16 x 32 x 32, .30 at 17 x 32 x 32, .12 at 16 x 45 x 80.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 diffusers==0.42.1 transformers==5.24.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from diffusers import __version__
from diffusers.pipelines.free_init_utils import FreeInitMixin
from torch.fft import fftn, fftshift, ifftn, ifftshift

AXES = (-3, -2, -1)
EXPECTED = {(16, 32, 32): 0.0, (17, 32, 32): 0.30, (16, 45, 80): 0.12}

pipeline, right = FreeInitMixin(), True
for size, expected in EXPECTED.items():
    clip = torch.randn(1, 4, *size, generator=torch.Generator().manual_seed(0))
    low_pass = pipeline._get_free_init_freq_filter(clip.shape, "cpu", "butterworth", 4, 0.25, 0.25)
    kept = pipeline._apply_freq_filter(clip, torch.zeros_like(clip), low_pass)
    whole = ifftn(ifftshift(fftshift(fftn(clip, dim=AXES), dim=AXES) * low_pass, dim=AXES), dim=AXES)
    lost = float((whole - kept).abs().norm() / whole.abs().norm())
    print(f"diffusers {__version__}, {size[0]} frames of {size[1]} x {size[2]}: {lost:.3f} of the low frequencies is lost")
    right &= abs(lost - expected) < 0.02
sys.exit(0 if right else f"changed: expected {EXPECTED}")
PYTHON
