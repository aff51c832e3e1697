#!/usr/bin/env bash
# diffusers 0.42.1: FreeNoise shrinks a clip's last frames where its windows do not end with the clip.
#
# FreeNoiseTransformerBlock averages what its windows say by weights. Where strides do not lead to the clip's end, one
# more window is laid there, of which the uncovered frames count alone. Their values are multiplied each by its own
# weight, but divided by the weight of the first of them. With pyramid weights (the default) the hidden states of the
# last 3 frames of 27 are multiplied by 1, 2/3 and 1/3, in every motion block. 24 and 28 frames are right, and so are 25,
# where only one frame is uncovered.
#
# Seen on 2026-11-29, context of 16 frames, stride of 4, attention and feed-forward silenced so that a block should return
# what it gets: factors 1 everywhere at 28 frames; 1, .667, .333 at the end of 27.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 diffusers==0.42.1 transformers==5.24.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from diffusers import __version__
from diffusers.models.attention import FreeNoiseTransformerBlock

EXPECTED = {27: [1.0, 0.667, 0.333], 28: [1.0, 1.0, 1.0]}

torch.manual_seed(0)
block = FreeNoiseTransformerBlock(
    dim=32,
    num_attention_heads=4,
    attention_head_dim=8,
    double_self_attention=True,
    context_length=16,
    context_stride=4,
).eval()
right = True
with torch.no_grad():
    for silenced in (block.attn1.to_out[0], block.attn2.to_out[0], block.ff.net[-1]):
        for parameter in silenced.parameters():
            parameter.zero_()
    for frames, expected in EXPECTED.items():
        hidden = torch.randn(1, frames, 32)
        factors = (block(hidden) / hidden).mean(dim=(0, 2))
        last = [round(float(factor), 3) for factor in factors[-3:]]
        print(f"diffusers {__version__}, {frames} frames: the last three are multiplied by {last}")
        right &= last == expected and bool((factors[:-3] - 1).abs().max() < 1e-4)
sys.exit(0 if right else f"changed: expected {EXPECTED}")
PYTHON
