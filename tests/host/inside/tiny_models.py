"""Models of many families, with few and random weights: core's own classes throughout.

A model is built as core builds it once it has recognised a file: a configuration of ``comfy.supported_models`` makes
it, of sizes that stand here. So latents, noise schedule, prompts and arguments are those of the family.
"""

from __future__ import annotations

import importlib
from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.sdxl_clip
import comfy.supported_models
import comfy.supported_models_base
import pytest
import torch

TOKENS = 64  # width of the demo model's prompts, which DiTs here read

UNET = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 32, "num_res_blocks": [2] * 4,
    "channel_mult": [1, 2, 2, 2], "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0], "transformer_depth_middle": 1,
    "transformer_depth_output": [1] * 9 + [0] * 3, "use_spatial_transformer": True, "num_heads": 2,
    "num_head_channels": -1, "use_checkpoint": False, "legacy": False, "context_dim": 768, "adm_in_channels": None,
    "use_linear_in_transformer": False, "use_temporal_resblock": False, "use_temporal_attention": False,
}  # fmt: skip
XL = UNET | {
    "channel_mult": [1, 2, 4], "num_res_blocks": [2] * 3, "transformer_depth": [0, 0, 2, 2, 2, 2],
    "transformer_depth_middle": 2, "transformer_depth_output": [0, 0, 0, 2, 2, 2, 2, 2, 2], "context_dim": TOKENS,
    "num_classes": "sequential", "adm_in_channels": 2816,
}  # fmt: skip
WAN = {
    "image_model": "wan2.1", "model_type": "t2v", "dim": 128, "num_heads": 4, "text_dim": TOKENS, "ffn_dim": 256,
    "num_layers": 1, "out_dim": 16, "in_dim": 16,
}  # fmt: skip
FLUX = {
    "image_model": "flux", "in_channels": 16, "out_channels": 16, "vec_in_dim": TOKENS, "context_in_dim": TOKENS,
    "hidden_size": 128, "mlp_ratio": 2.0, "num_heads": 1, "depth": 1, "depth_single_blocks": 1, "patch_size": 2,
    "axes_dim": [16, 56, 56], "theta": 10000, "qkv_bias": True, "guidance_embed": False, "txt_ids_dims": [],
}  # fmt: skip
HUNYUAN = FLUX | {
    "image_model": "hunyuan_video", "patch_size": [1, 2, 2], "theta": 256, "byt5": False, "meanflow": False,
    "use_cond_type_embedding": False, "vision_in_dim": None, "meanflow_sum": False,
}  # fmt: skip
del HUNYUAN["txt_ids_dims"]
LTX = {
    "image_model": "ltxv", "num_layers": 1, "attention_head_dim": 32, "cross_attention_dim": 128,
    "num_attention_heads": 4, "caption_channels": TOKENS,
}  # fmt: skip
COG = {
    "image_model": "cogvideox", "num_attention_heads": 1, "attention_head_dim": 64, "num_layers": 1,
    "text_embed_dim": TOKENS, "time_embed_dim": 64, "use_rotary_positional_embeddings": True,
}  # fmt: skip

# Ours -> core's configuration, its network's sizes, and the shape of its latents: of five frames, or of one picture.
MODELS: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "Wan": ("WAN21_T2V", WAN, (1, 16, 5, 8, 8)),
    "Wan, image to video": ("WAN21_I2V", WAN | {"in_dim": 36}, (1, 16, 5, 8, 8)),
    "Wan 2.2 5B": ("WAN22_T2V", WAN | {"in_dim": 48, "out_dim": 48}, (1, 48, 5, 8, 8)),
    "LTX-Video": ("LTXV", LTX, (1, 128, 5, 8, 8)),
    "HunyuanVideo": ("HunyuanVideo", HUNYUAN, (1, 16, 5, 8, 8)),
    "CogVideoX": ("CogVideoX_T2V", COG, (1, 16, 5, 8, 8)),
    "Stable Video Diffusion": (
        "SVD_img2vid",
        UNET | {
            "model_channels": 64, "in_channels": 8, "context_dim": 1024, "num_classes": "sequential",
            "adm_in_channels": 768,
            "use_temporal_resblock": True, "use_temporal_attention": True, "video_kernel_size": [3, 1, 1],
            "extra_ff_mix_layer": True, "merge_strategy": "learned_with_images", "merge_factor": 0.0,
        },
        (1, 4, 8, 8),
    ),
    "Flux": ("Flux", FLUX, (1, 16, 8, 8)),
    "SDXL": ("SDXL", XL, (1, 4, 8, 8)),
    "Stable Diffusion 1.x": ("SD15", UNET | {"context_dim": TOKENS}, (1, 4, 8, 8)),
    "Stable Diffusion 1.x (inpainting)": ("SD15", UNET | {"in_channels": 9, "context_dim": TOKENS}, (1, 4, 8, 8)),
    "Stable Diffusion 1.x (instruct-pix2pix)": (
        "SD15_instructpix2pix", UNET | {"in_channels": 8, "context_dim": TOKENS}, (1, 4, 8, 8),
    ),
    "Wan VACE": (
        "WAN21_Vace", WAN | {"model_type": "vace", "vace_layers": 1, "vace_in_dim": 96}, (1, 16, 5, 8, 8),
    ),
    "Stable Diffusion 2.x": ("SD20", UNET | {"model_channels": 64, "context_dim": 1024}, (1, 4, 8, 8)),
}  # fmt: skip
VIDEO = list(MODELS)[: list(MODELS).index("Flux")]


def build(name: str) -> Any:
    """Return one of MODELS as a MODEL; skips one that this ComfyUI has not."""
    kind, sizes, _ = MODELS[name]
    return build_of(kind, sizes)


def build_of(kind: str, sizes: dict[str, Any], marks: dict[str, Any] | None = None) -> Any:
    """Return a MODEL of a configuration of core's with other sizes; skips one that this ComfyUI has not.

    ``marks`` are tensors of a checkpoint by which core tells what the model predicts.
    """
    if not hasattr(comfy.supported_models, kind):
        pytest.skip(f"this ComfyUI has no {kind}")
    config = getattr(comfy.supported_models, kind)(dict(sizes))
    config.set_inference_dtype(torch.float32, None)
    model = config.get_model(marks or {}, "")
    generator = torch.Generator().manual_seed(0)
    for parameter, value in model.diffusion_model.named_parameters():
        is_norm = "norm" in parameter and parameter.endswith("weight")
        value.copy_(is_norm + 0.05 * torch.randn(value.shape, generator=generator))
    device, rest = comfy.model_management.get_torch_device(), comfy.model_management.unet_offload_device()
    return comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=rest)


def build_sdxl() -> tuple[Any, Any]:
    """Return an SDXL and its two text encoders, with CLIP's own tokenizers and vocabulary, as MODEL and CLIP."""
    sizes = {
        "hidden_size": TOKENS // 2,
        "intermediate_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
    }
    target = comfy.supported_models_base.ClipTarget(
        comfy.sdxl_clip.SDXLTokenizer, comfy.sdxl_clip.SDXLClipModel
    )
    options = {"clip_l_model_config": sizes, "clip_g_model_config": sizes, "dtype": torch.float32}
    clip = comfy.sd.CLIP(target, parameters=1_000_000, model_options=options)
    model = build_of("SDXL", XL | {"adm_in_channels": TOKENS // 2 + 6 * 256})
    generator = torch.Generator().manual_seed(1)
    for network in (clip.cond_stage_model, model.model.diffusion_model):
        for name, value in network.named_parameters():
            inputs = 100 if value.dim() < 2 else 1 if "embedding" in name else value[0].numel()
            is_norm = "norm" in name and name.endswith("weight")
            value.copy_(is_norm + torch.randn(value.shape, generator=generator) / inputs**0.5)
    return model, clip


def text_encoder(module: str, name: str, *settings: Any) -> Any:
    """Return a CLIP of a family, whose weights are on no device: for its class alone."""
    make = getattr(importlib.import_module(f"comfy.{module}"), name)
    clip = comfy.sd.CLIP(no_init=True)
    clip.cond_stage_model = (make(*settings) if not isinstance(make, type) else make)(
        device="meta", dtype=torch.float32
    )
    return clip
