#!/usr/bin/env bash
# diffusers 0.42.1: UNetMotionModel.from_unet2d leaves SDXL's add_embedding random, and AnimateDiffSDXLPipeline calls it.
#
# SDXL's UNet adds a projection of the pooled text and of six sizes to the time embedding. A motion UNet made from it
# copies every other layer, so one would expect that, with a motion adapter that adds nothing, it answers as the UNet it
# was made from. It does not: add_embedding keeps the random weights of its construction, so pooled text and sizes reach
# the network as noise, another one each time that the model is loaded. Without these conditions, as in SD1.5, the two
# are equal.
#
# Seen on 2026-11-30: answers 0.12 apart from the UNet's own, and from those of a second motion UNet of the same weights;
# 0.0000 with add_embedding copied by hand.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 diffusers==0.42.1 transformers==5.24.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel, __version__

FRAMES, WIDTHS = 3, (32, 64, 128)

torch.manual_seed(0)
unet = UNet2DConditionModel(
    block_out_channels=WIDTHS,
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    transformer_layers_per_block=(1, 2, 2),
    attention_head_dim=2,
    cross_attention_dim=64,
    addition_embed_type="text_time",
    addition_time_embed_dim=256,
    projection_class_embeddings_input_dim=2816,
).eval()
adapter = MotionAdapter(block_out_channels=WIDTHS, use_motion_mid_block=False)
for name, parameter in adapter.named_parameters():
    if "proj_out" in name:
        parameter.data.zero_()  # so that the adapter adds nothing

frames, text = torch.randn(FRAMES, 4, 8, 8), torch.randn(FRAMES, 7, 64)
given = {"text_embeds": torch.randn(1, 1280), "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]])}


@torch.no_grad()
def moving(copied=False):
    network = UNetMotionModel.from_unet2d(unet, adapter).eval()
    if copied:
        network.add_embedding.load_state_dict(unet.add_embedding.state_dict())
    return network(frames.transpose(0, 1)[None], 500, text, added_cond_kwargs=given).sample[0].transpose(0, 1)


with torch.no_grad():
    each = {name: value.expand(FRAMES, -1) for name, value in given.items()}
    still = unet(frames, 500, text, added_cond_kwargs=each).sample


def apart(one, other):
    return float((one - other).abs().max() / still.abs().max())


first, second = moving(), moving()
own, again, mended = apart(first, still), apart(first, second), apart(moving(copied=True), still)
print(f"diffusers {__version__}: {own:.2f} from the UNet, {again:.2f} from another; {mended:.4f} with it copied")
sys.exit(0 if min(own, again) > 0.01 and mended < 1e-4 else "changed: from_unet2d copies add_embedding, or fails elsewhere")
PYTHON
