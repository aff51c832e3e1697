"""Files of SDXL's keys and topology, narrow and with random weights: whole checkpoints, and motion modules."""

from __future__ import annotations

from pathlib import Path

import torch
from frameloom.headless.weights import keys
from frameloom.headless.weights.networks import build_text, build_unet, build_vae
from frameloom.models.motion.module import MotionModel, motion_size
from frameloom.tests.support.motion import as_hotshot
from frameloom.tests.support.random_demo import random_state
from frameloom.tests.support.sdxl_cases import NARROW_SDXL
from safetensors.torch import save_file

_OPEN_CLIP = {
    "text_model.embeddings.token_embedding.": "token_embedding.",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.": "ln_final.",
    "text_model.encoder.layers.": "transformer.resblocks.",
    ".self_attn.": ".attn.",
    ".layer_norm": ".ln_",
    ".mlp.fc1.": ".mlp.c_fc.",
    ".mlp.fc2.": ".mlp.c_proj.",
}


def as_open_clip(state):
    """A text encoder of transformers' with a projection, as OpenCLIP writes it: queries, keys and values stacked."""
    written = {}
    for name, value in state.items():
        key = name
        for theirs, other in _OPEN_CLIP.items():
            key = key.replace(theirs, other)
        if key.endswith(("k_proj.weight", "v_proj.weight", "k_proj.bias", "v_proj.bias")):
            continue
        if ".q_proj." in key:
            parts = [state[name.replace(".q_proj.", f".{part}_proj.")] for part in "qkv"]
            written[key.replace("q_proj.", "in_proj_")] = torch.cat(parts)
        elif key == "text_projection.weight":
            written["text_projection"] = value.T
        else:
            written[key] = value
    return written | {"logit_scale": torch.tensor(4.6)}


def sdxl_state(size=NARROW_SDXL, seed=0):
    """The tensors of a checkpoint of SDXL's, by its keys."""
    generator = torch.Generator().manual_seed(seed)
    larger = size.text_g
    assert larger is not None
    unet = build_unet(size.unet, larger.hidden_size)
    unet = keys.to_ldm(random_state(unet, generator), keys.unet_modules(size.unet))
    vae = keys.to_ldm(random_state(build_vae(size.vae), generator), keys.vae_modules(size.vae))
    text = random_state(build_text(size.text), generator)
    text = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in text.items()}
    parts = {
        "model.diffusion_model.": unet,
        "first_stage_model.": vae,
        "conditioner.embedders.0.transformer.": text,
        "conditioner.embedders.1.model.": as_open_clip(random_state(build_text(larger), generator)),
    }
    return {prefix + name: value for prefix, part in parts.items() for name, value in part.items()}


def write_sdxl(path: Path, size=NARROW_SDXL, seed=0, marks=()) -> Path:
    """Write a checkpoint of SDXL's, fp16, with keys beside the weights that say how it was trained."""
    state = {name: value.half().contiguous() for name, value in sdxl_state(size, seed).items()}
    save_file(state | {name: torch.zeros(0) for name in marks}, path)
    return path


def write_sdxl_lora(path: Path, size=NARROW_SDXL) -> Path:
    """Write a LoRA in kohya's keys, of layers that SD1.5's UNet has not: some for deep transformers, one for sizes."""
    generator = torch.Generator().manual_seed(3)
    coarse, context = size.unet.widths[2], size.unet.context_dim
    layers = {
        "lora_unet_input_blocks_7_1_transformer_blocks_2_attn1_to_q": (coarse, coarse),
        "lora_unet_middle_block_1_transformer_blocks_1_attn2_to_k": (coarse, context),
        "lora_unet_label_emb_0_0": (4 * size.unet.model_channels, 128 + 6 * 256),
        "lora_te2_text_model_encoder_layers_0_mlp_fc1": (512, 128),
    }
    state = {}
    for name, (out, inside) in layers.items():
        state[f"{name}.lora_up.weight"] = torch.randn(out, 4, generator=generator)
        state[f"{name}.lora_down.weight"] = torch.randn(4, inside, generator=generator) * 0.1
        state[f"{name}.alpha"] = torch.tensor(2.0)
    save_file(state, path)
    return path


def write_sdxl_motion(path: Path, size=NARROW_SDXL, *, hotshot=False) -> Path:
    """Write a motion module under AnimateDiff-SDXL's keys or HotshotXL's, that changes what it is put into."""
    generator = torch.Generator().manual_seed(4)
    state = random_state(MotionModel(motion_size(size.unet)), generator, 0.3)
    state = {name: value.contiguous() for name, value in state.items()}
    save_file(as_hotshot(state) if hotshot else state, path)
    return path
