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

SOME = torch.zeros(4, 4)
SLOT = "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0"
NINE, EMBEDDING = torch.zeros(32, 9, 3, 3), torch.zeros(128, 32)


def conv(inputs: int, outputs: int = 32):
    return torch.zeros(outputs, inputs, 3, 3)


def with_slots(*left_out: str, **more):
    return {
        key: value for key, value in tiny_state().items() if not any(part in key for part in left_out)
    } | {name.replace("__", "."): value for name, value in more.items()}


POSE = {"encoder_conv_in.weight": conv(384), "encoder_down_conv_blocks.0.0.block1.weight": conv(32)}
MERGE = {f"{SLOT}.processor.qkv_merge.weight": torch.zeros(32, 32)}

# What authors published, with the keys that tell it from its neighbours -> its kind and how an error names it.
FAMILIES = {
    "CameraCtrl, pruned": (POSE | MERGE, "cameractrl", "is CameraCtrl's camera encoder.*isn't supported"),
    "CameraCtrl, original": (
        {"pose_encoder_state_dict": POSE, "attention_processor_state_dict": MERGE, "epoch": 3},
        "cameractrl",
        "is CameraCtrl's camera encoder",
    ),
    "CameraCtrl with the module's slots": (with_slots() | MERGE, "cameractrl", "is CameraCtrl's"),
    "MotionCtrl, camera": (
        with_slots()
        | {f"{SLOT.removesuffix('.attention_blocks.0')}.cc_projection.weight": torch.zeros(32, 44)},
        "motionctrl_cmcm",
        r"is MotionCtrl's camera module \(CMCM\)",
    ),
    "MotionCtrl, objects": (
        {"omcm_state_dict": {"conv_in.weight": conv(128), "body.0.block1.weight": conv(32)}},
        "motionctrl_omcm",
        r"is MotionCtrl's object adapter \(OMCM\)",
    ),
    "T2I-Adapter": (
        {"conv_in.weight": conv(64), "body.0.block1.weight": conv(32)},
        "t2i_adapter",
        "is a T2I-Adapter",
    ),
    "HotshotXL": (
        {key.replace("motion_modules", "temporal_attentions"): value for key, value in tiny_state().items()},
        "hotshotxl",
        "is a HotshotXL module for SDXL",
    ),
    "SparseCtrl, rgb": (
        {
            "controlnet": with_slots("up_", "mid_", controlnet_cond_embedding__weight=conv(5)),
            "animatediff_config": {},
        },
        "sparsectrl_rgb",
        r"is a SparseCtrl network for pictures \(rgb\)",
    ),
    "SparseCtrl, scribble": (
        with_slots("up_", "mid_", controlnet_cond_embedding__conv_in__weight=conv(4, 16)),
        "sparsectrl_scribble",
        r"is a SparseCtrl network for sketches \(scribble\)",
    ),
    "FancyVideo": (
        with_slots(conv_in__weight=NINE, fps_embedding__linear__weight=EMBEDDING, FancyVideo=torch.zeros(1)),
        "fancyvideo",
        "is a FancyVideo module.*isn't supported",
    ),
    "PIA": (with_slots("mid_", conv_in__weight=NINE), "pia", "is a PIA module"),
    "AnimateLCM-I2V": (
        with_slots("pos_encoder", img_encoder__conv_in__weight=conv(4)),
        "animatelcm_i2v",
        r"is AnimateLCM's image-to-video module \(AnimateLCM-I2V\).*its image encoder isn't supported",
    ),
    "AnimateDiff for SDXL": (
        with_slots("blocks.3.", "mid_"),
        "sdxl_motion",
        "is an AnimateDiff module for SDXL",
    ),
    "motion LoRA": (tiny_lora(), "motion_lora", "is a motion LoRA"),
    "motion LoHa": (
        {f"lora_unet_{SLOT.replace('.', '_')}_to_q.hada_w1_a": SOME},
        "motion_lora",
        r"is a motion LoRA \(LoHa\)",
    ),
    "domain adapter": (
        {"down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight": SOME},
        "domain_adapter",
        "is AnimateDiff's domain adapter",
    ),
    "CameraCtrl's LoRA of the base": (
        {
            "lora_state_dict": {
                "mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.up.weight": SOME
            }
        },
        "domain_adapter",
        "is AnimateDiff's domain adapter, a LoRA of the base model",
    ),
    "DoRA": (
        {"lora_unet_mid_block_attentions_0_proj_in.dora_scale": SOME},
        "sd_lora",
        r"is a LoRA of the base model \(DoRA\)",
    ),
    "LoKr": ({"lycoris_mid_block_attentions_0_proj_in.lokr_w1": SOME}, "sd_lora", r"\(LoKr\)"),
    "OFT": ({"lora_unet_mid_block_attentions_0_proj_in.oft_blocks": SOME}, "sd_lora", r"\(OFT\)"),
    "LoCon": ({"lora_unet_mid_block_resnets_0_conv1.lora_mid.weight": SOME}, "sd_lora", r"\(LoCon\)"),
    "LoRA of SDXL": (
        {"lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q.lora_down.weight": SOME},
        "sdxl_lora",
        "is a LoRA of SDXL",
    ),
    "LoRA of Flux": (
        {"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": SOME},
        "transformer_lora",
        "is a LoRA of a transformer model",
    ),
    "LoRA of Wan": (
        {"diffusion_model.blocks.0.self_attn.q.lora_A.weight": SOME},
        "transformer_lora",
        "is a LoRA of a transformer model",
    ),
    "Wan": (
        {
            "model.diffusion_model.head.modulation": SOME,
            "model.diffusion_model.blocks.0.self_attn.q.weight": SOME,
        },
        "wan",
        "is a Wan video model.*without a motion module",
    ),
    "LTX": (
        {
            "model.diffusion_model.adaln_single.emb.timestep_embedder.linear_1.bias": SOME,
            "patchify_proj.weight": SOME,
        },
        "ltx",
        "is an LTX video model",
    ),
    "HunyuanVideo": (
        {
            "txt_in.individual_token_refiner.blocks.0.norm1.weight": SOME,
            "double_blocks.0.img_attn.qkv.weight": SOME,
        },
        "hunyuan_video",
        "is a HunyuanVideo model",
    ),
    "CogVideoX": (
        {"blocks.0.norm1.linear.weight": SOME, "patch_embed.text_proj.weight": SOME},
        "cogvideox",
        "is a CogVideoX model",
    ),
    "Flux": ({"double_blocks.0.img_attn.qkv.weight": SOME, "img_in.weight": SOME}, "flux", "is a Flux model"),
    "SD3": (
        {"model.diffusion_model.joint_blocks.0.context_block.attn.qkv.weight": SOME},
        "sd3",
        "is a Stable Diffusion 3 model",
    ),
    "SD2": (
        {"model.diffusion_model.out.2.bias": SOME, "cond_stage_model.model.ln_final.weight": SOME},
        "sd2_checkpoint",
        "is a whole Stable Diffusion 2 checkpoint",
    ),
    "SDXL's refiner": (
        {"model.diffusion_model.out.2.bias": SOME, "conditioner.embedders.0.model.ln_final.weight": SOME},
        "sdxl_refiner",
        "is an SDXL refiner",
    ),
    "IP-Adapter": (
        {"image_proj": {"proj.weight": SOME}, "ip_adapter": {"1.to_k_ip.weight": SOME}},
        "ip_adapter",
        "is an IP-Adapter",
    ),
    "embedding": (
        {"string_to_token": {"*": 265}, "string_to_param": {"*": torch.zeros(2, 768)}, "name": "x"},
        "embedding",
        r"is a textual inversion \(embedding\).*put it into embeddings",
    ),
    "upscaler": (
        {"body.0.rdb1.conv1.weight": conv(64), "conv_first.weight": conv(3)},
        "upscaler",
        "enlarges",
    ),
    "VAE alone": ({"decoder.conv_in.weight": conv(4)}, "vae", "is a VAE"),
    "image encoder": (
        {"vision_model.embeddings.class_embedding": SOME},
        "clip_vision",
        "is an image encoder",
    ),
    "T5": ({"encoder.block.0.layer.0.SelfAttention.q.weight": SOME}, "text_encoder", "is a text encoder"),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_named_before_it_is_loaded(tmp_path, name):
    content, kind, message = FAMILIES[name]
    torch.save(content, tmp_path / "x.ckpt")
    assert identify(open_weights(tmp_path / "x.ckpt").shapes) == kind
    read = read_motion_weights if kind != "motion_lora" else lambda path: expect_module(open_weights(path))
    with pytest.raises(CheckpointError, match=rf"^x.ckpt .*{message}") as caught:
        read(tmp_path / "x.ckpt")
    assert "\n" not in str(caught.value)
    if all(isinstance(value, torch.Tensor) for value in content.values()):
        state = {f"module.{key}": value for key, value in content.items() if key != "FancyVideo"}
        assert identify(open_weights(save(tmp_path / "x.safetensors", state)).shapes) == kind


def expect_module(file):
    expect(file.name, file.shapes, ("motion",), "an AnimateDiff motion module for SD1.5")


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
    ("MotionAdapter", LEVELS, "motion"),
    ("MotionAdapter", {**LEVELS, "use_motion_mid_block": False}, "motion"),
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
def test_quantised_weights_are_named_by_their_form(tmp_path, form):
    key = next(iter(tiny_state())) + QUANTISED[form]
    path = save(tmp_path / "mm.safetensors", tiny_state() | {key: torch.zeros(1, dtype=torch.uint8)})
    with pytest.raises(CheckpointError, match=rf"^mm.safetensors is quantised \({form}: it holds"):
        read_motion_weights(path)


def test_what_a_loader_wants_passes(tmp_path):
    assert read_motion_weights(save(tmp_path / "mm.safetensors", tiny_state())).size.blocks == 1
    assert read_motion_lora(save(tmp_path / "lora.safetensors", tiny_lora())).pairs
