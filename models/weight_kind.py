"""Say what a weight file is from its keys and shapes, and what to do with it where it was not asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from .errors import CheckpointError

Kind = Literal[
    "motion", "motion_lora", "domain_adapter", "sd_lora", "sparsectrl", "controlnet", "control_lora",
    "transformer_controlnet", "t2i_adapter", "pia", "hotshotxl", "sdxl_motion",
    "svd", "sdxl_checkpoint", "sd_checkpoint", "unet", "vae", "text_encoder", "gligen", "gpt2", "language_model",
    "no_tensors", "unknown",
]  # fmt: skip

# What each kind is called, and what to do with a file of it.
_WORDS: dict[Kind, tuple[str, str]] = {
    "motion": ("an AnimateDiff motion module", "load it with Load Motion Module"),
    "motion_lora": ("a motion LoRA", "load a motion module and add this with Load Motion LoRA"),
    "domain_adapter": (
        "AnimateDiff's domain adapter, a LoRA of the base model",
        "put it into loras and add it to MODEL with a LoRA loader",
    ),
    "sd_lora": ("a LoRA of the base model", "put it into loras and add it to MODEL with a LoRA loader"),
    "sparsectrl": ("a SparseCtrl network", "it conditions a v3 module; choose v3_sd15_mm or another module"),
    "controlnet": ("a ControlNet", "put it into controlnet and load it with a ControlNet loader"),
    "control_lora": (
        "a Control-LoRA, a ControlNet that needs its base model's weights",
        "choose a whole ControlNet for SD1.5, or use it in ComfyUI",
    ),
    "transformer_controlnet": (
        "a ControlNet for a transformer model (SD3, Flux, Qwen)",
        "choose a ControlNet for SD1.5",
    ),
    "t2i_adapter": ("a T2I-Adapter", "choose a ControlNet for SD1.5, or use it in ComfyUI"),
    "pia": (
        "a PIA module (9-channel input)",
        "PIA isn't supported; choose AnimateDiff v1, v2 or v3 for SD1.5",
    ),
    "hotshotxl": ("a HotshotXL module for SDXL", "choose an AnimateDiff module for SD1.5"),
    "sdxl_motion": ("an AnimateDiff module for SDXL", "choose an AnimateDiff module for SD1.5"),
    "svd": ("a Stable Video Diffusion model", "put it into checkpoints and load it as a checkpoint"),
    "sdxl_checkpoint": ("a whole SDXL checkpoint", "put it into checkpoints and load it as a checkpoint"),
    "sd_checkpoint": (
        "a whole Stable Diffusion checkpoint",
        "put it into checkpoints and load it as a checkpoint",
    ),
    "unet": ("a UNet without motion modules", "choose another file"),
    "vae": ("a VAE", "put it into vae and load it with a VAE loader"),
    "text_encoder": ("a text encoder", "put it into text_encoders and load it with a CLIP loader"),
    "gpt2": ("a GPT-2 model", "put a layout prior into layout_priors and choose it in Layout Prior"),
    "language_model": (
        "the weights of a language model",
        "put its folder, with config.json and tokenizer, into llm and choose it in Local LLM",
    ),
    "gligen": ("GLIGEN's layers", "put it into gligen and load it with Load GLIGEN Model"),
    "no_tensors": ("a file without tensors", "download it again"),
    "unknown": ("of no kind we know", "choose another file"),
}

_MOTION = re.compile(r"(^|[._])motion_modules[._]")
_LORA = re.compile(
    r"lora_(unet|te|te1|te2)_|[._]lora[._](down|up)\.|_lora\.(down|up)\.|\.lora_[AB]\.|\.lora_(down|up)\."
)
_LEVEL = re.compile(r"(?:^|[._])down_blocks[._](\d+)[._]")


def identify(shapes: Mapping[str, tuple[int, ...]]) -> Kind:
    """Name the kind of a file from its keys.

    Args:
        shapes: shape of every tensor, by key.
    """
    if not shapes:
        return "no_tensors"

    def has(*parts: str) -> bool:
        return any(part in key for key in shapes for part in parts)

    if has(".fuser.") and not has("model.diffusion_model."):
        return "gligen"
    if "lora_controlnet" in shapes:
        return "control_lora"
    motion = any(_MOTION.search(key) for key in shapes)
    if has("temporal_attentions.", "pos_encoder.positional_encoding"):
        return "hotshotxl"
    if any(_LORA.search(key) for key in shapes):
        if motion:
            return "motion_lora"
        return "domain_adapter" if has(".processor.to_q_lora.") else "sd_lora"
    if has("controlnet_cond_embedding."):
        return "sparsectrl" if motion else "controlnet"
    if motion:
        return _identify_motion(shapes)
    if has("input_hint_block.", "control_model.", "controlnet_down_blocks."):
        return "controlnet"
    if has("controlnet_blocks.", "control_blocks.", "after_proj_list."):
        return "transformer_controlnet"
    if has("model.diffusion_model."):
        if has(".time_stack."):
            return "svd"
        return "sdxl_checkpoint" if has("conditioner.embedders.") else "sd_checkpoint"
    return _identify_part(shapes)


def _identify_motion(shapes: Mapping[str, tuple[int, ...]]) -> Kind:
    inputs = [shape[1] for key, shape in shapes.items() if key.endswith("conv_in.weight") and len(shape) == 4]
    if 9 in inputs:
        return "pia"
    levels = [int(found.group(1)) for key in shapes if _MOTION.search(key) and (found := _LEVEL.search(key))]
    return "sdxl_motion" if levels and max(levels) == 2 else "motion"


def _identify_part(shapes: Mapping[str, tuple[int, ...]]) -> Kind:
    """Tell the parts of a model from each other."""
    if any(key.startswith(("body.0.", "adapter.body.0.")) for key in shapes):
        return "t2i_adapter"
    if any(key.startswith(("encoder.conv_in.", "decoder.conv_in.", "first_stage_model.")) for key in shapes):
        return "vae"
    if any("text_model." in key for key in shapes):
        return "text_encoder"
    if any(key.endswith("h.0.attn.c_attn.weight") for key in shapes):
        return "gpt2"
    if any(key.endswith("embed_tokens.weight") for key in shapes):
        return "language_model"
    if any("down_blocks.0.resnets." in key or key.startswith("input_blocks.") for key in shapes):
        return "unet"
    return "unknown"


def refuse(name: str, kind: Kind, expected: str, shapes: Mapping[str, tuple[int, ...]]) -> CheckpointError:
    """Return the error that names a file for what it is.

    Args:
        name: of the file.
        kind: what ``identify`` said.
        expected: in words, what was asked for.
        shapes: of the file, for an excerpt where the kind is unknown.
    """
    what, remedy = _WORDS[kind]
    keys = f" (its first key is {next(iter(shapes))!r})" if kind == "unknown" else ""
    return CheckpointError(f"{name} is {what}{keys}; expected {expected}; {remedy}.")
