"""Wan 2.1's transformer and autoencoder as diffusers' networks, and the names of their tensors in Wan's files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from diffusers import AutoencoderKLWan, WanTransformer3DModel

from ...models.network.sizes import VideoSize

_TRANSFORMER = (
    (r"^scale_shift_table", "head.modulation"),
    (r"^proj_out", "head.head"),
    (r"^condition_embedder\.time_embedder\.linear_1", "time_embedding.0"),
    (r"^condition_embedder\.time_embedder\.linear_2", "time_embedding.2"),
    (r"^condition_embedder\.time_proj", "time_projection.1"),
    (r"^condition_embedder\.text_embedder\.linear_1", "text_embedding.0"),
    (r"^condition_embedder\.text_embedder\.linear_2", "text_embedding.2"),
    (r"\.scale_shift_table$", ".modulation"),
    (r"\.attn1\.", ".self_attn."),
    (r"\.attn2\.", ".cross_attn."),
    (r"\.to_([qkv])\.", r".\1."),
    (r"\.to_out\.0\.", ".o."),
    (r"\.ffn\.net\.0\.proj\.", ".ffn.0."),
    (r"\.ffn\.net\.2\.", ".ffn.2."),
    (r"\.norm2\.", ".norm3."),
)
_VAE = (
    (r"\.norm1\.gamma$", ".residual.0.gamma"),
    (r"\.conv1\.(weight|bias)$", r".residual.2.\1"),
    (r"\.norm2\.gamma$", ".residual.3.gamma"),
    (r"\.conv2\.(weight|bias)$", r".residual.6.\1"),
    (r"^quant_conv", "conv1"),
    (r"^post_quant_conv", "conv2"),
    (r"^(encoder|decoder)\.conv_in", r"\1.conv1"),
    (r"^(encoder|decoder)\.norm_out", r"\1.head.0"),
    (r"^(encoder|decoder)\.conv_out", r"\1.head.2"),
    (r"\.mid_block\.resnets\.0\.", ".middle.0."),
    (r"\.mid_block\.attentions\.0\.", ".middle.1."),
    (r"\.mid_block\.resnets\.1\.", ".middle.2."),
    (r"\.down_blocks\.", ".downsamples."),
    (r"\.up_blocks\.(\d)\.resnets\.(\d)\.", lambda m: f".upsamples.{4 * int(m[1]) + int(m[2])}."),
    (r"\.up_blocks\.(\d)\.upsamplers\.0\.", lambda m: f".upsamples.{4 * int(m[1]) + 3}."),
    (r"\.conv_shortcut\.", ".shortcut."),
)


def build_transformer(size: VideoSize) -> WanTransformer3DModel:
    """Build a Wan transformer with random weights, whose tokens are single places of a latent frame."""
    return WanTransformer3DModel(
        patch_size=(1, 1, 1),
        num_attention_heads=size.heads,
        attention_head_dim=size.head_width,
        in_channels=size.in_channels,
        out_channels=size.latent_channels,
        text_dim=size.text_width,
        freq_dim=size.frequencies,
        ffn_dim=size.hidden,
        num_layers=size.layers,
    )


def build_vae(size: VideoSize) -> AutoencoderKLWan:
    """Build a Wan autoencoder with random weights."""
    return AutoencoderKLWan(base_dim=size.vae_width, z_dim=size.latent_channels)


def transformer_names(names: Iterable[str]) -> dict[str, str]:
    """Return diffusers' names of a transformer's tensors with those of Wan's files."""
    return _rename(names, _TRANSFORMER)


def vae_names(names: Iterable[str]) -> dict[str, str]:
    """Return diffusers' names of an autoencoder's tensors with those of Wan's files."""
    return _rename(names, _VAE)


def _rename(names: Iterable[str], rules: tuple[tuple[str, Any], ...]) -> dict[str, str]:
    renamed = {name: name for name in names}
    for pattern, replacement in rules:
        renamed = {name: re.sub(pattern, replacement, key) for name, key in renamed.items()}
    return renamed


def metadata(size: VideoSize) -> dict[str, str]:
    """Return the metadata of a transformer's file, from which ComfyUI reads the sizes that its tensors don't tell."""
    config = {
        "num_heads": size.heads,
        "text_dim": size.text_width,
        "freq_dim": size.frequencies,
        "out_dim": size.latent_channels,
        "patch_size": [1, 1, 1],
    }
    return {"config": json.dumps({"transformer": config})}
