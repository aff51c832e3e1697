"""A UNet of SDXL's shape with few and random weights, motion modules for it, and what diffusers makes of them."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel
from diffusers.pipelines.deprecated.text_to_video_synthesis.pipeline_text_to_video_zero_sdxl import (
    CrossFrameAttnProcessor,
)
from einops import rearrange
from frameloom.models.motion.checkpoint import MotionWeights, to_diffusers
from frameloom.models.motion.module import MotionModel, motion_size
from frameloom.models.network.unet import UNetSize
from frameloom.models.video.schedules import ANIMATEDIFF_SDXL
from torch import Tensor, nn

SIZE = UNetSize(
    32, (1, 2, 4), context_dim=64, num_heads=(1, 1, 2), depths=(0, 2, 2), middle_depth=2
)  # of width 64
FRAMES, SIDE = 5, 8
PICTURE = (64, 64, 0, 0, 64, 64)  # height and width, crop's top and left, target's height and width


class NormOver(nn.Module):
    """A group norm whose statistics go over each frame of a clip, or over all of them."""

    def __init__(self, norm: nn.GroupNorm, frames: int) -> None:
        super().__init__()
        self.norm, self.frames = norm, frames

    def forward(self, hidden: Tensor) -> Tensor:
        if hidden.dim() == 5:  # a clip, that diffusers would norm as a whole
            frames = rearrange(hidden, "b c f h w -> (b f) c h w")
            return rearrange(self.norm(frames), "(b f) c h w -> b c f h w", f=hidden.shape[2])
        clip = rearrange(hidden, "(b f) c h w -> b c f h w", f=self.frames)
        return rearrange(self.norm(clip), "b c f h w -> (b f) c h w")


def random_module() -> MotionWeights:
    """Return a motion module of AnimateDiff-SDXL's kind."""
    torch.manual_seed(1)
    size = motion_size(SIZE)
    state = {key: value.detach() for key, value in MotionModel(size).state_dict().items()}
    for key, value in state.items():
        if key.endswith("proj_out.weight"):
            value.normal_(std=0.05)  # else it starts as nothing
    return MotionWeights("xl.safetensors", "animatediff_sdxl", size, state, ANIMATEDIFF_SDXL)


@torch.no_grad()
def reference() -> dict[str, Tensor]:
    """Return weights, an input, and what diffusers answers at timestep 500: still, and moved by either kind."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=SIZE.widths,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 2),
        attention_head_dim=SIZE.num_heads,
        cross_attention_dim=SIZE.context_dim,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    ).eval()
    module = random_module()
    given: dict[str, Any] = {
        "noisy": torch.randn(FRAMES, 4, SIDE, SIDE),
        "tokens": torch.randn(FRAMES, 7, SIZE.context_dim),
        "pooled": torch.randn(1, 1280),
    }
    extra = {"text_embeds": given["pooled"], "time_ids": torch.tensor([PICTURE], dtype=torch.float32)}
    each = {name: value.expand(FRAMES, -1) for name, value in extra.items()}
    found = {"still": unet(given["noisy"], 500, given["tokens"], added_cond_kwargs=each).sample}
    processors = unet.attn_processors
    unet.set_attn_processor(CrossFrameAttnProcessor(batch_size=1))
    found["crossed"] = unet(given["noisy"], 500, given["tokens"], added_cond_kwargs=each).sample
    unet.set_attn_processor(processors)
    for kind in ("animatediff_sdxl", "hotshotxl"):
        state, config = to_diffusers(module)
        adapter = MotionAdapter(**config)
        adapter.load_state_dict(state, strict=False)
        moving = UNetMotionModel.from_unet2d(unet, adapter).eval()
        moving.add_embedding.load_state_dict(
            unet.add_embedding.state_dict()
        )  # which from_unet2d leaves random
        if kind == "hotshotxl":
            for name, each in list(moving.named_modules()):
                if ".motion_modules." in name and isinstance(getattr(each, "norm", None), nn.GroupNorm):
                    each.norm = NormOver(each.norm, FRAMES)
                if ".resnets." in f".{name}" and hasattr(each, "norm1"):
                    each.norm1, each.norm2 = NormOver(each.norm1, FRAMES), NormOver(each.norm2, FRAMES)
            moving.conv_norm_out = NormOver(moving.conv_norm_out, FRAMES)
        clip = rearrange(given["noisy"], "f c h w -> 1 c f h w")
        answer = moving(clip, 500, given["tokens"], added_cond_kwargs=extra).sample
        found[kind] = rearrange(answer, "1 c f h w -> f c h w").contiguous()
    weights = {f"unet.{key}": value for key, value in unet.state_dict().items()}
    return given | found | weights | {f"motion.{key}": value for key, value in module.state.items()}
