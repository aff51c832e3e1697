"""The bundled demo model, built with ComfyUI's own constructors, so that core nodes and other packs see any SD model.

ComfyUI recognises checkpoints by their sizes and would not know this one, so its sizes are given by hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.clip_model
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.sd1_clip
import comfy.supported_models
import comfy.supported_models_base
import comfy.utils
import folder_paths
import torch
from torch import Tensor

from ....models.errors import CheckpointError
from ....models.files.weight_file import open_weights
from ....models.network.sizes import DEMO
from ...bundled import DEMO_MODEL, DEMO_TOKENIZER

State = dict[str, Tensor]


class DemoConfig(comfy.supported_models.SD15):
    """SD1.5 at the demo's sizes, in v prediction."""

    unet_config = {
        **comfy.supported_models.SD15.unet_config,
        "model_channels": DEMO.unet.model_channels,
        "context_dim": DEMO.unet.context_dim,
    }
    unet_extra_config = {"num_heads": DEMO.unet.num_heads, "num_head_channels": -1}
    sampling_settings = {
        "beta_schedule": "linear",
        "linear_start": DEMO.beta_start,
        "linear_end": DEMO.beta_end,
    }

    def model_type(self, state_dict: State, prefix: str = "") -> comfy.model_base.ModelType:
        """Return what the UNet predicts."""
        return comfy.model_base.ModelType.V_PREDICTION


class DemoTokenizer(comfy.sd1_clip.SDTokenizer):
    """CLIP's tokenizer over the demo's own vocabulary."""

    def __init__(self, embedding_directory: Any = None, tokenizer_data: Any = None) -> None:
        super().__init__(
            tokenizer_path=str(DEMO_TOKENIZER),
            embedding_directory=embedding_directory,
            embedding_size=DEMO.text.hidden_size,
            tokenizer_data=tokenizer_data or {},
        )


class DemoPromptTokenizer(comfy.sd1_clip.SD1Tokenizer):
    """The tokenizer as a CLIP holds it."""

    def __init__(self, embedding_directory: Any = None, tokenizer_data: Any = None) -> None:
        super().__init__(
            embedding_directory=embedding_directory,
            tokenizer_data=tokenizer_data or {},
            tokenizer=DemoTokenizer,
        )


class DemoTextModel(comfy.clip_model.CLIPTextModel):
    """CLIP's text transformer with a vocabulary of its own size; ComfyUI's constructor knows CLIP's alone."""

    def __init__(self, config: dict[str, Any], dtype: Any, device: Any, operations: Any) -> None:
        super().__init__(config, dtype, device, operations)
        size = DEMO.text
        self.set_input_embeddings(
            operations.Embedding(size.vocabulary, size.hidden_size, dtype=dtype, device=device)
        )


class DemoTextEncoder(comfy.sd1_clip.SDClipModel):
    """Sizes and special tokens of the demo's text encoder."""

    def __init__(self, device: Any = "cpu", dtype: Any = None, model_options: Any = None) -> None:
        size = DEMO.text
        config = {
            "hidden_size": size.hidden_size,
            "intermediate_size": 4 * size.hidden_size,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.heads,
            "max_position_embeddings": size.max_tokens,
            "eos_token_id": size.end_token,
            "hidden_act": "quick_gelu",
        }
        super().__init__(
            device=device,
            dtype=dtype,
            textmodel_json_config=config,
            model_class=DemoTextModel,
            special_tokens={"start": size.start_token, "end": size.end_token, "pad": size.end_token},
            return_projected_pooled=False,
            model_options=model_options or {},
        )


class DemoPromptEncoder(comfy.sd1_clip.SD1ClipModel):
    """The text encoder as a CLIP holds it."""

    def __init__(self, device: Any = "cpu", dtype: Any = None, model_options: Any = None) -> None:
        super().__init__(
            device=device, dtype=dtype, model_options=model_options or {}, clip_model=DemoTextEncoder
        )


def load_demo(path: Path = DEMO_MODEL) -> tuple[Any, comfy.sd.CLIP, comfy.sd.VAE]:
    """Build the demo model.

    Args:
        path: safetensors in LDM's key layout, of ``sizes.DEMO``'s sizes.

    Returns:
        MODEL, CLIP and VAE, under ComfyUI's memory management.

    Raises:
        CheckpointError: the file is not there, or is damaged.
    """
    if not path.exists():
        raise CheckpointError(
            f"demo model: {path.name} is missing from the pack's assets/demo; expected it with the pack; reinstall "
            "Frameloom, or make it with `make demo-model`."
        )
    file = open_weights(path)
    file.load(file.shapes)  # ComfyUI, which loads it below, would not say what is wrong with it
    return load_demo_unet(path), _load_clip(path), _load_vae(path)


def load_demo_unet(path: Path, disable_dynamic: bool = False) -> comfy.model_patcher.ModelPatcher:
    """Build the UNet's patcher; ComfyUI calls it again when it wants a fresh one (``cached_patcher_init``)."""
    state = _part(path, "model.diffusion_model.")
    size, device = DEMO.unet, comfy.model_management.get_torch_device()
    depths = {
        way: [place.depth for place in size.places if place.block[0] == way] for way in ("input", "output")
    }
    parameters = sum(tensor.numel() for tensor in state.values())
    config = DemoConfig(
        {
            **DemoConfig.unet_config,
            "image_size": 32,  # of no effect; every SD config has it
            "in_channels": size.in_channels,
            "out_channels": 4,
            "num_res_blocks": [size.num_res_blocks] * len(size.channel_mult),
            "channel_mult": list(size.channel_mult),
            "transformer_depth": depths["input"],
            "transformer_depth_middle": size.middle_depth,
            "transformer_depth_output": depths["output"][::-1],  # the constructor takes the last one first
            "use_spatial_transformer": True,
            "use_checkpoint": False,
            "legacy": False,
            "use_temporal_resblock": False,
        }
    )
    dtype = comfy.model_management.unet_dtype(
        model_params=parameters, supported_dtypes=config.supported_inference_dtypes
    )
    cast = comfy.model_management.unet_manual_cast(dtype, device, config.supported_inference_dtypes)
    config.set_inference_dtype(dtype, cast)
    model = config.get_model(
        state, "", device=comfy.model_management.unet_inital_load_device(parameters, dtype)
    )
    plain, core = comfy.model_patcher.ModelPatcher, comfy.model_patcher.CoreModelPatcher
    patcher = (plain if disable_dynamic else core)(
        model, load_device=device, offload_device=comfy.model_management.unet_offload_device()
    )
    model.load_model_weights(state, "", assign=patcher.is_dynamic())
    patcher.cached_patcher_init = (load_demo_unet, (path,))
    return patcher


def _load_clip(path: Path, disable_dynamic: bool = False) -> comfy.sd.CLIP:
    state = _part(path, "cond_stage_model.", "clip_l.")
    # SD never uses the projection, but ComfyUI's class has one, and absent weights would be uninitialised memory.
    state["clip_l.transformer.text_projection.weight"] = torch.eye(DEMO.text.hidden_size)
    clip = comfy.sd.CLIP(
        comfy.supported_models_base.ClipTarget(DemoPromptTokenizer, DemoPromptEncoder),
        embedding_directory=folder_paths.get_folder_paths("embeddings"),
        parameters=sum(tensor.numel() for tensor in state.values()),
        state_dict=state,
        disable_dynamic=disable_dynamic,
    )
    clip.patcher.cached_patcher_init = _load_patcher, (_load_clip, path)
    return clip


def _load_vae(path: Path, disable_dynamic: bool = False) -> comfy.sd.VAE:
    del disable_dynamic
    size = DEMO.vae
    levels = {
        "double_z": True,
        "z_channels": size.z_channels,
        "resolution": 256,  # of no effect
        "in_channels": 3,
        "out_ch": 3,
        "ch": size.ch,
        "ch_mult": list(size.ch_mult),
        "num_res_blocks": size.num_res_blocks,
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    config = {"params": {"ddconfig": levels, "embed_dim": size.z_channels}}
    vae = comfy.sd.VAE(sd=_part(path, "first_stage_model."), config=config)
    vae.patcher.cached_patcher_init = _load_patcher, (_load_vae, path)
    return vae


def _load_patcher(load: Any, path: Path, **options: Any) -> comfy.model_patcher.ModelPatcher:
    return load(path, **options).patcher


def _part(path: Path, prefix: str, replacement: str = "") -> State:
    """Return the tensors under a prefix, renamed."""
    state = comfy.utils.load_torch_file(str(path), safe_load=True)
    return comfy.utils.state_dict_prefix_replace(state, {prefix: replacement}, filter_keys=True)
