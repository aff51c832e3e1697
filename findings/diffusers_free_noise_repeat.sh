#!/usr/bin/env bash
# diffusers 0.42.1: FreeNoise's noise_type="repeat_context" repeats nothing; it is the same as "random".
#
# The noise of context_length frames should be drawn and repeated to the clip's end. The number of frames to draw is
# chosen by a comparison of the context's length, a number, with the text "repeat_context", so noise for the whole clip is
# drawn and cut to itself. A clip made with either setting and one seed is the same, without a warning.
#
# Seen on 2026-11-29: frames 16 to 31 of 32 differ from frames 0 to 15, and both settings give equal latents.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 diffusers==0.42.1 transformers==5.24.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from diffusers import AnimateDiffPipeline, DDIMScheduler, MotionAdapter, UNet2DConditionModel, __version__

FRAMES, CONTEXT = 32, 16
LEVELS = {"block_out_channels": (32, 64), "norm_num_groups": 32}

torch.manual_seed(0)
unet = UNet2DConditionModel(
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    layers_per_block=1,
    sample_size=8,
    cross_attention_dim=32,
    attention_head_dim=4,
    **LEVELS,
)
adapter = MotionAdapter(motion_layers_per_block=1, motion_num_attention_heads=4, motion_norm_num_groups=32,
                        block_out_channels=LEVELS["block_out_channels"], use_motion_mid_block=False)
pipeline = AnimateDiffPipeline(None, None, None, unet, adapter, DDIMScheduler())


def noise(noise_type: str) -> torch.Tensor:
    """Return a clip's first latents, [1, 4, FRAMES, 8, 8]."""
    pipeline.enable_free_noise(context_length=CONTEXT, context_stride=4, noise_type=noise_type)
    generator = torch.Generator().manual_seed(0)
    return pipeline.prepare_latents(1, 4, FRAMES, 64, 64, torch.float32, torch.device("cpu"), generator)


repeated, random = noise("repeat_context"), noise("random")
recurs = torch.equal(repeated[:, :, CONTEXT:], repeated[:, :, :CONTEXT])
print(f"diffusers {__version__}, repeat_context: the second half is the first again: {recurs}; "
      f"equal to random: {torch.equal(repeated, random)}")
sys.exit(0 if not recurs and torch.equal(repeated, random) else "changed: repeat_context is no longer random")
PYTHON
