#!/usr/bin/env bash
# diffusers 0.42.1: a motion module's GroupNorm sees a whole clip, AnimateDiff's own sees one frame at a time.
#
# AnimateDiff's temporal transformer folds frames into the batch before its GroupNorm, so without attention no frame
# knows of another. diffusers' AnimateDiffTransformer3D norms [B, C, F, H, W] at once: one bright frame darkens all
# others even where both temporal attentions add nothing. The same file therefore gives other videos in diffusers than in
# AnimateDiff or ComfyUI, and frames cut into windows change with the frames that are beside them.
#
# Seen on 2026-11-29: 3 frames of 4 change by 1.3 times their own mean, though attention adds nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 diffusers==0.42.1 transformers==5.24.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from diffusers import __version__
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D

FRAMES = 4

torch.manual_seed(0)
motion = AnimateDiffTransformer3D(
    num_attention_heads=4,
    attention_head_dim=8,
    in_channels=32,
    norm_num_groups=8,
    positional_embeddings="sinusoidal",
    num_positional_embeddings=32,
).eval()
clip = torch.randn(FRAMES, 32, 8, 8)
brighter = clip.clone()
brighter[-1] *= 10
with torch.no_grad():
    for block in motion.transformer_blocks:
        for attention in (block.attn1, block.attn2):
            for parameter in attention.to_out[0].parameters():
                parameter.zero_()
    before, after = (motion(frames, num_frames=FRAMES)[:-1] for frames in (clip, brighter))
change = float((before - after).abs().max() / before.abs().mean())
print(f"diffusers {__version__}: the other frames change by {change:.3f} of their mean; 0 if each were normed by itself")
sys.exit(0 if change > 0.1 else "changed: frames no longer reach each other through the norm")
PYTHON
