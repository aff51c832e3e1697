"""Every family of files is told from the others by its keys, in its authors' layout and in diffusers' own classes."""

from __future__ import annotations

import diffusers
import pytest
import torch
from frameloom.models.errors import CheckpointError
from frameloom.models.files.weight_file import open_weights
from frameloom.models.files.weight_kind import expect, identify
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.models.motion.lora import read_motion_lora
from frameloom.tests.support.motion import save, tiny_lora, tiny_state

SOME, EMBEDDING = torch.zeros(4, 4), torch.zeros(128, 32)
BLOCK = "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0"
TO_Q = "attentions.0.transformer_blocks.0.attn1.processor.to_q_lora"
UNET = "model.diffusion_model"


def some(*keys: str):
    """Tensors whose shapes tell nothing."""
    return dict.fromkeys(keys, SOME)


def conv(inputs: int, outputs: int = 32):
    return torch.zeros(outputs, inputs, 3, 3)


def module(*left_out: str, **more: torch.Tensor):
    kept = {key: value for key, value in tiny_state().items() if not any(part in key for part in left_out)}
    return kept | {f"{name.replace('__', '.')}.weight": value for name, value in more.items()}


POSES, MERGES = "pose_encoder_state_dict", "attention_processor_state_dict"
POSE = {"encoder_conv_in.weight": conv(384), "encoder_down_conv_blocks.0.0.block1.weight": conv(32)}
MERGE = {f"{BLOCK}.attention_blocks.0.processor.qkv_merge.weight": torch.zeros(32, 32)}
OBJECTS = {"conv_in.weight": conv(128), "body.0.block1.weight": conv(32)}
SPARSE = module("up_", "mid_", controlnet_cond_embedding=conv(5))
FANCY = module(conv_in=conv(9), fps_embedding__linear=EMBEDDING) | {"FancyVideo": torch.zeros(1)}
HOTSHOT = {key.replace("motion_modules", "temporal_attentions"): each for key, each in module().items()}

# What authors published, by the keys that tell it from its neighbours: kind, how an error names it, content.
FAMILIES = [
    ("no_tensors", "a file without tensors", {}),
    ("cameractrl", "CameraCtrl's camera encoder.*Apply CameraCtrl", POSE | MERGE),
    ("cameractrl", "CameraCtrl's", {POSES: POSE, MERGES: MERGE}),
    ("cameractrl", "CameraCtrl's", module() | MERGE),
    ("motionctrl_cmcm", r".*camera module \(CMCM\)", module() | some(f"{BLOCK}.cc_projection.weight")),
    ("motionctrl_omcm", r"MotionCtrl's object adapter \(OMCM\)", {"omcm_state_dict": OBJECTS}),
    ("hotshotxl", "a HotshotXL module for SDXL.*Load Motion Module.*an SDXL model", HOTSHOT),
    (
        "sparsectrl_rgb",
        r"a SparseCtrl .*rgb.*Load SparseCtrl.*v3",
        {"controlnet": SPARSE, "animatediff_config": {}},
    ),
    ("sparsectrl_scribble", r".*\(scribble\)", module("up_", controlnet_cond_embedding__conv_in=conv(4))),
    ("fancyvideo", "a FancyVideo module.*isn't supported", FANCY),
    ("pia", "a PIA module.*Load Motion Module.*PIA Picture", module("mid_", conv_in=conv(9))),
    (
        "animatelcm_i2v",
        r".*\(AnimateLCM-I2V\).*AnimateLCM Picture",
        module("pos_encoder", img_encoder__conv_in=conv(4)),
    ),
    (
        "sdxl_motion",
        "an AnimateDiff module for SDXL.*Load Motion Module.*an SDXL model",
        module("blocks.3.", "mid_"),
    ),
    ("motion", "an AnimateDiff motion module.*Load Motion Module", module()),
    ("motion_lora", "a motion LoRA;.*Load Motion LoRA", tiny_lora()),
    ("motion_lora", r"a motion LoRA \(LoHa\)", some(f"lora_unet_{BLOCK.replace('.', '_')}_to_q.hada_w1_a")),
    ("domain_adapter", "AnimateDiff's domain .*put it into loras", some(f"blocks.0.{TO_Q}.down.weight")),
    ("domain_adapter", "AnimateDiff's domain", {"lora_state_dict": some(f"mid_block.{TO_Q}.up.weight")}),
    ("sd_lora", "a LoRA of the base model;.*loras", some("lora_unet_down_blocks_0_x.lora_down.weight")),
    ("sd_lora", "a LoRA of the base model", some("unet.down_blocks.0.to_q.lora_A.weight")),
    ("sd_lora", r"a LoRA of the base model \(DoRA\)", some("lora_unet_mid_block_proj_in.dora_scale")),
    ("sd_lora", r".*\(LoKr\)", some("lycoris_mid_block_proj_in.lokr_w1")),
    ("sd_lora", r".*\(OFT\)", some("lora_unet_mid_block_proj_in.oft_blocks")),
    ("sd_lora", r".*\(LoCon\)", some("lora_unet_mid_block_conv1.lora_mid.weight")),
    ("sdxl_lora", "a LoRA of SDXL", some("lora_unet_input_blocks_4_1_transformer_blocks_1.lora_down.weight")),
    ("transformer_lora", "a LoRA of a transf", some("lora_unet_double_blocks_0_attn_qkv.lora_down.weight")),
    ("transformer_lora", "a LoRA of a transf", some("diffusion_model.blocks.0.self_attn.q.lora_A.weight")),
    ("controlnet", "a ControlNet; .*controlnet", some("controlnet_cond_embedding.conv_in.weight")),
    ("controlnet", "a ControlNet", some("control_model.input_blocks.0.0.weight")),
    ("control_lora", "a Control-LoRA, a ControlN", some("lora_controlnet", "input_hint_block.0.weight")),
    ("transformer_controlnet", "a ControlNet for a transformer", some("controlnet_blocks.0.weight")),
    ("wan", "a Wan video model.*without a motion module", some(f"{UNET}.head.modulation", f"{UNET}.x")),
    ("ltx", "an LTX video model", some(f"{UNET}.adaln_single.x", "patchify_proj.weight")),
    ("hunyuan_video", "a HunyuanVideo", some("txt_in.individual_token_refiner.x", "double_blocks.0.x")),
    ("cogvideox", "a CogVideoX", some("blocks.0.norm1.linear.weight", "patch_embed.text_proj.weight")),
    ("flux", "a Flux model", some("double_blocks.0.img_attn.qkv.weight", "img_in.weight")),
    ("sd3", "a Stable Diffusion 3 model", some(f"{UNET}.joint_blocks.0.context_block.attn.qkv.weight")),
    ("svd", "a Stable Video Diffusion model", some(f"{UNET}.input_blocks.1.1.time_stack.0.norm1.weight")),
    ("sd_checkpoint", "a whole Stable Diffusion checkpoint.*into checkpoints", some(f"{UNET}.out.2.bias")),
    ("sd2_checkpoint", ".* Diffusion 2 checkpoint", some(f"{UNET}.out.2.bias", "cond_stage_model.model.x")),
    ("sdxl_checkpoint", "a whole SDXL .*into checkpoints", some(f"{UNET}.x", "conditioner.embedders.0.x")),
    ("sdxl_refiner", "an SDXL refiner", some(f"{UNET}.out.2.bias", "conditioner.embedders.0.model.x")),
    ("ip_adapter", "an IP-Adapter", {"image_proj": some("proj"), "ip_adapter": some("1.to_k_ip.weight")}),
    ("embedding", ".*into embeddings", {"string_to_token": {"*": 265}, "string_to_param": some("*")}),
    ("upscaler", ".* enlarges", some("body.0.rdb1.conv1.weight", "conv_first.weight")),
    ("t2i_adapter", "a T2I-Adapter", some("body.0.in_conv.weight")),
    ("t2i_adapter", "a T2I-Adapter", {"conv_in.weight": conv(64), "body.0.block1.weight": conv(32)}),
    ("vae", "a VAE; .*put it into vae", {"decoder.conv_in.weight": conv(4)}),
    ("clip_vision", "an image encoder", some("vision_model.embeddings.class_embedding")),
    ("text_encoder", "a text encoder.*text_encoders", some("text_model.embeddings.position_ids")),
    ("text_encoder", "a text encoder", some("encoder.block.0.layer.0.SelfAttention.q.weight")),
    ("gpt2", "a GPT-2 model; .*choose it in Layout Prior", some("transformer.h.0.attn.c_attn.weight")),
    ("language_model", "the weights of a language .*Local LLM", some("model.embed_tokens.weight")),
    ("unet", "a UNet without motion modules", some("down_blocks.0.resnets.0.conv1.weight")),
    ("unknown", r"of no kind we know \(its first key is 'blocks.0.q'", some("blocks.0.q")),
]


@pytest.mark.parametrize(("kind", "words", "content"), FAMILIES, ids=[kind for kind, *_ in FAMILIES])
def test_a_family_is_told_and_named(tmp_path, kind, words, content):
    torch.save(content, tmp_path / "x.ckpt")
    shapes = open_weights(tmp_path / "x.ckpt").shapes
    assert identify(shapes) == kind
    with pytest.raises(CheckpointError, match=rf"^x.ckpt is {words}") as caught:
        expect("x.ckpt", shapes, (), "a pot of tea")
    assert "; expected a pot of tea; " in str(caught.value)
    assert "\n" not in str(caught.value)
    around = {f"module.{key}": shape for key, shape in shapes.items() if key != "FancyVideo"}
    assert identify(around) == kind


def test_a_loader_reads_what_it_wants_and_nothing_else(tmp_path):
    module_file = save(tmp_path / "mm.safetensors", tiny_state())
    lora_file = save(tmp_path / "lora.safetensors", tiny_lora())
    assert read_motion_weights(module_file).size.blocks == 1
    assert read_motion_lora(lora_file).pairs
    with pytest.raises(CheckpointError, match=r"^lora.safetensors is .*; expected an AnimateDiff motion mod"):
        read_motion_weights(lora_file)
    with pytest.raises(CheckpointError, match=r"^mm.safetensors is .*; expected a motion LoRA of Animate"):
        read_motion_lora(module_file)


NARROW = {"block_out_channels": (32,) * 4, "cross_attention_dim": 16}
SMALL = {"num_layers": 1, "num_attention_heads": 2, "attention_head_dim": 16}
LEVELS = {"block_out_channels": (32,) * 4}
XL = {
    "block_out_channels": (32,) * 3,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 80,
    "cross_attention_dim": 16,
}
# diffusers' classes at small sizes: class, its settings, kind.
CLASSES = [
    ("ControlNetModel", NARROW, "controlnet"),
    ("SparseControlNetModel", {**NARROW, "use_simplified_condition_embedding": True}, "sparsectrl_rgb"),
    ("SparseControlNetModel", {**NARROW, "use_simplified_condition_embedding": False}, "sparsectrl_scribble"),
    ("MotionAdapter", {**LEVELS, "conv_in_channels": 9}, "pia"),
    ("MotionAdapter", {"block_out_channels": (32,) * 3, "use_motion_mid_block": False}, "sdxl_motion"),
    ("UNetMotionModel", {**NARROW, "num_attention_heads": 8}, "motion"),
    ("UNet2DConditionModel", NARROW, "unet"),
    ("UNet2DConditionModel", XL, "sdxl_unet"),
    ("UNet3DConditionModel", {**NARROW, "attention_head_dim": 8}, "t2v_unet"),
    ("AutoencoderKL", {"block_out_channels": (32,)}, "vae"),
    ("AutoencoderKLWan", {"base_dim": 8, "z_dim": 4}, "video_vae"),
    ("AutoencoderKLHunyuanVideo", LEVELS, "video_vae"),
    ("AutoencoderKLCogVideoX", LEVELS, "video_vae"),
    ("T2IAdapter", {"channels": (32,) * 4}, "t2i_adapter"),
    ("WanTransformer3DModel", {**SMALL, "ffn_dim": 32, "text_dim": 16, "freq_dim": 16}, "wan"),
    ("LTXVideoTransformer3DModel", {**SMALL, "cross_attention_dim": 32, "caption_channels": 16}, "ltx"),
    ("CogVideoXTransformer3DModel", SMALL, "cogvideox"),
    ("HunyuanVideoTransformer3DModel",
     {**SMALL, "num_single_layers": 1, "num_refiner_layers": 1, "text_embed_dim": 16, "pooled_projection_dim": 16},
     "hunyuan_video"),
    ("MochiTransformer3DModel", {**SMALL, "num_layers": 2, "text_embed_dim": 16, "pooled_projection_dim": 32}, "mochi"),
    ("SD3Transformer2DModel",
     {**SMALL, "joint_attention_dim": 16, "caption_projection_dim": 32, "pooled_projection_dim": 16}, "sd3"),
    ("PixArtTransformer2DModel", {**SMALL, "cross_attention_dim": 32, "sample_size": 8}, "image_transformer"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "settings", "kind"), CLASSES)
def test_diffusers_own_classes_are_told_apart(name, settings, kind):
    with torch.device("meta"):
        network = getattr(diffusers, name)(**settings)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert identify(shapes) == kind


QUANTISED = {
    "bitsandbytes, 4 bits": ".quant_state.bitsandbytes__nf4",
    "bitsandbytes, 8 bits": ".SCB",
    "GPTQ or AWQ": ".qzeros",
    "scaled float8": ".scale_weight",
}


@pytest.mark.parametrize("form", QUANTISED)
def test_quantised_weights_are_named_by_their_form(form):
    shapes = dict.fromkeys([*tiny_state(), f"{BLOCK}.proj_in{QUANTISED[form]}"], (4, 4))
    with pytest.raises(CheckpointError, match=rf"^mm.safetensors is quantised \({form}: it holds"):
        expect("mm.safetensors", shapes, ("motion",), "a motion module")
