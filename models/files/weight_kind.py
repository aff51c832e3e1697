"""Say what a weight file is from its keys and shapes, and what to do with it where it was not asked for.

One ordered table of rules serves every loader: the first rule that holds wins. Nothing is loaded for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal

from ..errors import CheckpointError

Shapes = Mapping[str, tuple[int, ...]]
Kind = Literal[
    "no_tensors", "gligen", "control_lora",
    "cameractrl", "motionctrl_cmcm", "motionctrl_omcm", "hotshotxl", "motion_lora", "transformer_lora", "sdxl_lora",
    "domain_adapter", "sd_lora", "sparsectrl_rgb", "sparsectrl_scribble", "fancyvideo", "pia", "animatelcm_i2v",
    "sdxl_motion", "motion",
    "controlnet", "transformer_controlnet", "hunyuan_video", "wan", "ltx", "cogvideox", "mochi", "sd3", "flux",
    "image_transformer", "t2v_unet", "svd", "sdxl_refiner", "sdxl_checkpoint", "sd2_checkpoint", "sd_checkpoint",
    "ip_adapter", "embedding", "upscaler", "t2i_adapter", "video_vae", "vae", "clip_vision", "text_encoder", "gpt2",
    "language_model", "sdxl_unet", "unet", "unknown",
]  # fmt: skip

_CHECKPOINT = "put it into checkpoints and load it as a checkpoint"
_LORA_PLACE = "put it into loras and add it to MODEL with a LoRA loader"
_SPARSE = "put it into controlnet and load it with Load SparseCtrl; it goes beside a v3 module (v3_sd15_mm)"
_SDXL_MODULE = "load it with Load Motion Module, and apply it to an SDXL model"
_VIDEO_MODEL = "it makes video without a motion module; put it into diffusion_models and load it in ComfyUI"
_IMAGE_MODEL = "put it into diffusion_models and load it in ComfyUI; AnimateDiff needs an SD1.5 model"

# What each kind is called, and what to do with a file of it.
_WORDS: dict[Kind, tuple[str, str]] = {
    "no_tensors": ("a file without tensors", "download it again"),
    "gligen": ("GLIGEN's layers", "put it into gligen and load it with Load GLIGEN Model"),
    "control_lora": (
        "a Control-LoRA, a ControlNet that needs its base model's weights",
        "choose a whole ControlNet for SD1.5, or use it in ComfyUI",
    ),
    "cameractrl": (
        "CameraCtrl's camera encoder",
        "load AnimateDiff's v3 module, which it was trained with, and choose this file in Apply CameraCtrl",
    ),
    "motionctrl_cmcm": (
        "MotionCtrl's camera module (CMCM)",
        "load AnimateDiff's v3 module, and choose this file in MotionCtrl Camera behind it",
    ),
    "motionctrl_omcm": (
        "MotionCtrl's object adapter (OMCM)",
        "MotionCtrl's objects aren't supported; choose AnimateDiff v3",
    ),
    "hotshotxl": ("a HotshotXL module for SDXL", _SDXL_MODULE),
    "motion_lora": ("a motion LoRA", "load a motion module and add this with Load Motion LoRA"),
    "transformer_lora": ("a LoRA of a transformer model (Flux, SD3, Wan, LTX and others)", "choose a LoRA for SD1.5"),
    "sdxl_lora": ("a LoRA of SDXL", "choose a LoRA for SD1.5"),
    "domain_adapter": ("AnimateDiff's domain adapter, a LoRA of the base model", _LORA_PLACE),
    "sd_lora": ("a LoRA of the base model", _LORA_PLACE),
    "sparsectrl_rgb": ("a SparseCtrl network for pictures (rgb)", _SPARSE),
    "sparsectrl_scribble": ("a SparseCtrl network for sketches (scribble)", _SPARSE),
    "fancyvideo": (
        "a FancyVideo module (9-channel input, embeddings of fps and motion)",
        "FancyVideo isn't supported; choose AnimateDiff v1, v2 or v3 for SD1.5",
    ),
    "pia": ("a PIA module (9-channel input)", "load it with Load Motion Module, and give it a picture by PIA Picture"),
    "animatelcm_i2v": (
        "AnimateLCM's image-to-video module (AnimateLCM-I2V)",
        "load it with Load Motion Module, and give it a picture by AnimateLCM Picture",
    ),
    "sdxl_motion": ("an AnimateDiff module for SDXL", _SDXL_MODULE),
    "motion": ("an AnimateDiff motion module", "load it with Load Motion Module"),
    "controlnet": ("a ControlNet", "put it into controlnet and load it with a ControlNet loader"),
    "transformer_controlnet": (
        "a ControlNet for a transformer model (SD3, Flux, Qwen)",
        "choose a ControlNet for SD1.5",
    ),
    "hunyuan_video": ("a HunyuanVideo model", _VIDEO_MODEL),
    "wan": ("a Wan video model", _VIDEO_MODEL),
    "ltx": ("an LTX video model", _VIDEO_MODEL),
    "cogvideox": ("a CogVideoX model", _VIDEO_MODEL),
    "mochi": ("a Mochi video model", _VIDEO_MODEL),
    "sd3": ("a Stable Diffusion 3 model", _IMAGE_MODEL),
    "flux": ("a Flux model", _IMAGE_MODEL),
    "image_transformer": ("a transformer model for pictures (PixArt, Qwen-Image, Lumina or another)", _IMAGE_MODEL),
    "t2v_unet": ("a ModelScope text-to-video model", "choose a model for SD1.5"),
    "svd": ("a Stable Video Diffusion model", _CHECKPOINT),
    "sdxl_refiner": ("an SDXL refiner", _CHECKPOINT),
    "sdxl_checkpoint": ("a whole SDXL checkpoint", _CHECKPOINT),
    "sd2_checkpoint": ("a whole Stable Diffusion 2 checkpoint", _CHECKPOINT),
    "sd_checkpoint": ("a whole Stable Diffusion checkpoint", _CHECKPOINT),
    "ip_adapter": ("an IP-Adapter", "use it in ComfyUI with a node pack for IP-Adapters"),
    "embedding": ("a textual inversion (embedding)", "put it into embeddings and name it in a prompt"),
    "upscaler": ("a network that enlarges pictures", "put it into upscale_models and load it there"),
    "t2i_adapter": ("a T2I-Adapter", "choose a ControlNet for SD1.5, or use it in ComfyUI"),
    "video_vae": ("a VAE of a video model", "put it into vae and load it with a VAE loader in ComfyUI"),
    "vae": ("a VAE", "put it into vae and load it with a VAE loader"),
    "clip_vision": ("an image encoder (CLIP vision)", "put it into clip_vision and load it there"),
    "text_encoder": ("a text encoder", "put it into text_encoders and load it with a CLIP loader"),
    "gpt2": ("a GPT-2 model", "put a layout prior into layout_priors and choose it in Layout Prior"),
    "language_model": (
        "the weights of a language model",
        "put its folder, with config.json and tokenizer, into llm and choose it in Local LLM",
    ),
    "sdxl_unet": ("a UNet of SDXL", "choose another file"),
    "unet": ("a UNet without motion modules", "choose another file"),
    "unknown": ("of no kind we know", "choose another file"),
}  # fmt: skip

# What trainers put around the keys of one file; pickles have it as dicts, which `weight_file` opens.
_AROUND = re.compile(
    r"^(?:(?:module|state_dict|controlnet|pose_encoder_state_dict|attention_processor_state_dict|omcm_state_dict"
    r"|lora_state_dict)\.)+"
)
# Beside weights in the files of some families, and no weights of theirs.
_MARKERS = ("animatediff_config", "FancyVideo")
_SLOT = re.compile(r"(^|[._])motion_modules[._]")
_LEVEL = re.compile(r"(?:^|[._])down_blocks[._](\d+)[._]")
_LORA = re.compile(
    r"lora_(unet|te|te1|te2)_|[._]lora[._](down|up)\.|_lora\.(down|up)\.|\.lora_[AB](\.|$)|\.lora_(down|up|mid)\."
    r"|\.(hada_w[12]|hada_t[12]|lokr_w[12]|lokr_t2|oft_diag|oft_blocks|boft|dora_scale)"
)
_TRANSFORMER_LORA = re.compile(
    r"double_blocks|single_blocks|single_transformer_blocks|joint_blocks|token_refiner|lora_transformer_"
    r"|^(?:transformer|diffusion_model)\.(?:blocks|transformer_blocks|layers)\.|^lora_unet_blocks_"
)
_DEEP = re.compile(r"(?:attentions|blocks)[._]\d+(?:[._]\d+)?[._]transformer_blocks[._][1-9]")
_VARIANTS = {
    "hada_w": "LoHa",
    "lokr_w": "LoKr",
    "oft_diag": "OFT",
    "oft_blocks": "OFT",
    "boft": "BOFT",
    "dora_scale": "DoRA",
    "lora_mid": "LoCon",
}
# Parts of keys that only a file of numbers in another form has -> that form.
_QUANTISED = {
    ".quant_state.bitsandbytes": "bitsandbytes, 4 bits",
    ".SCB": "bitsandbytes, 8 bits",
    ".wscales": "SVDQuant",
    ".qzeros": "GPTQ or AWQ",
    ".weight_packed": "compressed-tensors",
    ".weight._data": "Quanto",
    ".comfy_quant": "ComfyUI's own format",
    ".scale_weight": "scaled float8",
    ".weight_scale": "scaled float8",
    "scaled_fp8": "scaled float8",
}


def bare_key(key: str) -> str:
    """Return a key without what trainers put around all keys of a file.

    Examples:
        >>> bare_key("pose_encoder_state_dict.module.encoder_conv_in.bias")
        'encoder_conv_in.bias'
    """
    return _AROUND.sub("", key)


class _Keys:
    """A file's keys, without what stands around all of them."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = {bare_key(key): shape for key, shape in shapes.items() if key not in _MARKERS}
        self.slots = [key for key in self.shapes if _SLOT.search(key)]
        self.is_lora = any(_LORA.search(key) for key in self.shapes)

    def has(self, *parts: str) -> bool:
        """Tell whether a key contains one of these."""
        return any(part in key for key in self.shapes for part in parts)

    def begins(self, *parts: str) -> bool:
        """Tell whether a key begins with one of these."""
        return any(key.startswith(parts) for key in self.shapes)

    def ends(self, *parts: str) -> bool:
        """Tell whether a key ends with one of these."""
        return any(key.endswith(parts) for key in self.shapes)

    def matches(self, pattern: re.Pattern[str]) -> bool:
        """Tell whether a pattern is found in a key."""
        return any(pattern.search(key) for key in self.shapes)

    def inputs(self, name: str) -> list[int]:
        """Return the input channels of every convolution whose key ends so."""
        return [shape[1] for key, shape in self.shapes.items() if key.endswith(name) and len(shape) == 4]

    @property
    def levels(self) -> int:
        """Return the highest level that has a slot on the way down, or -1."""
        found = [int(match.group(1)) for key in self.slots if (match := _LEVEL.search(key))]
        return max(found, default=-1)


def _is_embedding(keys: _Keys) -> bool:
    named = {"emb_params", "*", "clip_l", "clip_g"} & keys.shapes.keys()
    return bool(named) and all(len(shape) == 2 for shape in keys.shapes.values())


def _is_volume(keys: _Keys, *names: str) -> bool:
    return any(key.endswith(names) and len(shape) == 5 for key, shape in keys.shapes.items())


_DIFFUSION = "model.diffusion_model."
# The first that holds wins.
_RULES: tuple[tuple[Kind, Callable[[_Keys], bool]], ...] = (
    ("no_tensors", lambda k: not k.shapes),
    ("gligen", lambda k: k.has(".fuser.") and not k.has(_DIFFUSION)),
    ("control_lora", lambda k: "lora_controlnet" in k.shapes),
    ("cameractrl", lambda k: k.has(".processor.qkv_merge.") or k.begins("encoder_conv_in.", "encoder_down_")),
    ("motionctrl_cmcm", lambda k: k.has(".cc_projection.")),
    ("motionctrl_omcm", lambda k: 128 in k.inputs("conv_in.weight") and k.begins("body.") and k.has(".block1.")),
    ("hotshotxl", lambda k: k.has("temporal_attentions.", "pos_encoder.positional_encoding")),
    ("motion_lora", lambda k: k.is_lora and bool(k.slots)),
    ("motion_lora", lambda k: k.begins("mask_encoder.", "picture_encoder.") and not k.slots),
    ("transformer_lora", lambda k: k.is_lora and k.matches(_TRANSFORMER_LORA)),
    ("sdxl_lora", lambda k: k.is_lora and (k.begins("lora_te2_", "text_encoder_2.") or k.matches(_DEEP))),
    ("domain_adapter", lambda k: k.is_lora and k.has(".processor.to_q_lora.")),
    ("sd_lora", lambda k: k.is_lora),
    ("sparsectrl_rgb", lambda k: bool(k.slots) and k.ends("controlnet_cond_embedding.weight")),
    ("sparsectrl_scribble", lambda k: bool(k.slots) and k.has("controlnet_cond_embedding.")),
    ("controlnet", lambda k: k.has("controlnet_cond_embedding.")),
    ("fancyvideo", lambda k: k.ends("fps_embedding.linear.weight", "motion_embedding.linear.weight")),
    ("pia", lambda k: bool(k.slots) and 9 in k.inputs("conv_in.weight")),
    ("animatelcm_i2v", lambda k: bool(k.slots) and k.begins("img_encoder.")),
    ("sdxl_motion", lambda k: k.levels == 2),
    ("motion", lambda k: bool(k.slots)),
    ("controlnet", lambda k: k.has("input_hint_block.", "control_model.", "controlnet_down_blocks.")),
    ("transformer_controlnet", lambda k: k.has("controlnet_blocks.", "control_blocks.", "after_proj_list.")),
    ("hunyuan_video", lambda k: k.has("individual_token_refiner.", "context_embedder.token_refiner.")),
    ("wan", lambda k: k.ends("head.modulation") or _is_volume(k, "patch_embedding.weight")),
    ("cogvideox", lambda k: k.ends("blocks.0.norm1.linear.weight") and k.has("text_proj.")),
    ("cogvideox", lambda k: k.has("mixins.patch_embed.")),
    ("mochi", lambda k: k.ends("t5_yproj.weight") or k.has("time_embed.pooler.")),
    ("ltx", lambda k: k.ends("patchify_proj.weight", "time_embed.emb.timestep_embedder.linear_1.bias")),
    ("sd3", lambda k: k.has("joint_blocks.0.") or (k.has(".attn.add_k_proj.") and k.has("pos_embed.proj."))),
    ("flux", lambda k: k.has("double_blocks.0.", "single_transformer_blocks.0.")),
    (
        "image_transformer",
        lambda k: k.has("double_layers.0.", "txt_norm.", "cap_embedder.", "adaln_single.", "caption_projection.")
        or k.ends("t_block.1.weight"),
    ),
    ("t2v_unet", lambda k: k.has(".temopral_conv.", "temp_convs.0.", ".temp_attentions.0.")),
    ("svd", lambda k: k.has(".time_stack.", ".temporal_transformer_blocks.")),
    ("sdxl_refiner", lambda k: k.begins("conditioner.embedders.0.model.") and not k.begins("conditioner.embedders.1.")),
    ("sdxl_checkpoint", lambda k: k.has(_DIFFUSION) and k.has("conditioner.embedders.")),
    ("sd2_checkpoint", lambda k: k.has(_DIFFUSION) and k.begins("cond_stage_model.model.")),
    ("sd_checkpoint", lambda k: k.has(_DIFFUSION)),
    ("ip_adapter", lambda k: k.begins("image_proj.", "ip_adapter.") or k.has(".to_k_ip.")),
    ("embedding", _is_embedding),
    ("upscaler", lambda k: k.begins("conv_first.", "layers.0.residual_group.") or k.has(".rdb1.", ".RDB1.")),
    ("t2i_adapter", lambda k: k.begins("adapter.body.0.", "body.0.in_conv.", "body.0.block1.", "body.0.body.")),
    ("video_vae", lambda k: _is_volume(k, "encoder.conv_in.conv.weight", "decoder.conv_in.conv.weight")),
    ("video_vae", lambda k: _is_volume(k, "encoder.conv1.weight", "decoder.conv1.weight", "decoder.conv_in.weight")),
    ("vae", lambda k: k.begins("encoder.conv_in.", "decoder.conv_in.", "first_stage_model.")),
    ("clip_vision", lambda k: k.has("vision_model.") and not k.has("text_model.")),
    ("text_encoder", lambda k: k.has("text_model.", ".SelfAttention.")),
    ("gpt2", lambda k: k.ends("h.0.attn.c_attn.weight")),
    ("language_model", lambda k: k.ends("embed_tokens.weight")),
    ("sdxl_unet", lambda k: k.has("label_emb.0.") or (k.begins("down_blocks.") and k.has("add_embedding."))),
    ("unet", lambda k: k.has("down_blocks.0.resnets.") or k.begins("input_blocks.")),
)  # fmt: skip


def identify(shapes: Shapes) -> Kind:
    """Name the kind of a file from its keys.

    Args:
        shapes: shape of every tensor, by key.
    """
    keys = _Keys(shapes)
    for kind, holds in _RULES:
        if holds(keys):
            return kind
    return "unknown"


def expect(name: str, shapes: Shapes, kinds: tuple[Kind, ...], wanted: str) -> Kind:
    """Return the kind of a file that is one of those a loader reads.

    Args:
        name: name of the file.
        shapes: shape of every tensor, by key.
        kinds: kinds that the loader reads.
        wanted: words for these.

    Raises:
        CheckpointError: it is of another kind, or its numbers are quantised; says what it is, and what to do with it.
    """
    kind = identify(shapes)
    if kind not in kinds:
        what, remedy = _WORDS[kind]
        keys = f" (its first key is {next(iter(shapes))!r})" if kind == "unknown" else ""
        if kind.endswith("_lora") and (variant := find_variant(shapes)):
            what += f" ({variant})"
        raise CheckpointError(f"{name} is {what}{keys}; expected {wanted}; {remedy}.")
    for part, form in _QUANTISED.items():
        key = next((key for key in shapes if part in key), None)
        if key is not None:
            raise CheckpointError(
                f"{name} is quantised ({form}: it holds {key!r}); expected plain numbers in float16, bfloat16 or "
                "float32; choose a file that is not quantised."
            )
    return kind


def find_variant(shapes: Shapes) -> str:
    """Return the name of the way in which a LoRA's file differs from a plain LoRA's, or nothing."""
    return next((name for part, name in _VARIANTS.items() if any(part in key for key in shapes)), "")
