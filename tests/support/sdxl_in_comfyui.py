"""A narrow SDXL in ComfyUI, by core's own classes: they convert the file, tokenize and encode; only sizes are given."""

from __future__ import annotations

import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import comfy.utils
import torch
from frameloom.tests.support.sdxl_cases import NARROW_SDXL


def _unet(size):
    ways = {
        way: [place.depth for place in size.places if place.block[0] == way] for way in ("input", "output")
    }
    return {
        "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": size.model_channels,
        "num_res_blocks": [2] * 3, "channel_mult": list(size.channel_mult), "transformer_depth": ways["input"],
        "transformer_depth_middle": size.middle_depth, "transformer_depth_output": ways["output"][::-1],
        "use_spatial_transformer": True, "use_linear_in_transformer": True, "context_dim": size.context_dim,
        "use_checkpoint": False, "legacy": False, "use_temporal_resblock": False, "use_temporal_attention": False,
        "num_classes": "sequential", "adm_in_channels": NARROW_SDXL.text_g.hidden_size + 6 * 256,
    }  # fmt: skip


def _text(size):
    return {
        "hidden_size": size.hidden_size, "intermediate_size": 4 * size.hidden_size, "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
    }  # fmt: skip


def load_sdxl(path):
    """MODEL, CLIP and VAE of a file."""
    state = comfy.utils.load_torch_file(str(path), safe_load=True)
    config = comfy.supported_models.SDXL(_unet(NARROW_SDXL.unet))
    config.set_inference_dtype(torch.float32, None)
    device, prefix = comfy.model_management.get_torch_device(), "model.diffusion_model."
    model = config.get_model(state, prefix, device=device)
    model.load_model_weights(dict(state), prefix)
    text = {
        f"clip_{letter}_model_config": _text(size) for letter, size in zip("lg", _encoders(), strict=True)
    }
    clip = comfy.sd.CLIP(
        config.clip_target(), state_dict=config.process_clip_state_dict(dict(state)), model_options=text
    )
    vae, size = {"first_stage_model.": ""}, NARROW_SDXL.vae
    levels = {
        "double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": size.ch,
        "ch_mult": list(size.ch_mult), "num_res_blocks": size.num_res_blocks, "attn_resolutions": [], "dropout": 0.0,
    }  # fmt: skip
    vae = comfy.sd.VAE(
        sd=comfy.utils.state_dict_prefix_replace(dict(state), vae, filter_keys=True),
        config={"params": {"ddconfig": levels, "embed_dim": 4}},
    )
    patcher = comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=device)
    return patcher, clip, vae


def _encoders():
    return NARROW_SDXL.text, NARROW_SDXL.text_g
