"""Build diffusers' and transformers' networks from plain sizes. No weights, no files, no network access."""

from __future__ import annotations

from typing import Any

from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from ...models.network.sizes import TextSize, VAESize
from ...models.network.unet import UNetSize


def build_unet(size: UNetSize) -> UNet2DConditionModel:
    """Build a UNet of SD1.x topology with random weights."""
    heads: Any = size.num_heads  # diffusers annotates a tuple of one, and calls it attention_head_dim
    up = ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(size.depths)]
    return UNet2DConditionModel(
        in_channels=size.in_channels,
        out_channels=4,
        layers_per_block=size.num_res_blocks,
        block_out_channels=size.widths,
        down_block_types=_way_down(size),
        up_block_types=tuple(up),
        cross_attention_dim=size.context_dim,
        attention_head_dim=heads,
    )


def build_control(size: UNetSize, hint_channels: int = 3, *, pooled: bool = False) -> ControlNetModel:
    """Build a ControlNet for a UNet of SD1.x topology with random weights.

    Args:
        size: sizes of the UNet's way down.
        hint_channels: number of channels of the hints.
        pooled: True: the average over the picture is added, not the picture.
    """
    return ControlNetModel(
        in_channels=size.in_channels,
        conditioning_channels=hint_channels,
        layers_per_block=size.num_res_blocks,
        block_out_channels=size.widths,
        down_block_types=_way_down(size),
        cross_attention_dim=size.context_dim,
        attention_head_dim=size.num_heads,
        global_pool_conditions=pooled,
    )


def _way_down(size: UNetSize) -> tuple[str, ...]:
    return tuple("CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in size.depths)


def size_of(network: UNet2DConditionModel | ControlNetModel) -> UNetSize:
    """Return the sizes of a network, a ControlNet's as those of the UNet that it is for."""
    config: Any = network.config
    widths, depths = config.block_out_channels, config.transformer_layers_per_block
    heads = config.attention_head_dim  # diffusers' historical name for the number of heads
    if isinstance(depths, int):
        depths = (depths,) * len(widths)
    return UNetSize(
        model_channels=widths[0],
        channel_mult=tuple(width // widths[0] for width in widths),
        context_dim=config.cross_attention_dim,
        num_heads=heads if isinstance(heads, int) else tuple(heads),
        depths=tuple(
            depth if kind.startswith("CrossAttn") else 0
            for depth, kind in zip(depths, config.down_block_types, strict=True)
        ),
        middle_depth=depths[-1],
        num_res_blocks=config.layers_per_block,
        in_channels=config.in_channels,
    )


def build_vae(size: VAESize) -> AutoencoderKL:
    """Build an SD-layout autoencoder with random weights."""
    levels = len(size.ch_mult)
    config: dict[str, Any] = {  # diffusers annotates these as tuples of one
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "block_out_channels": size.widths,
    }
    return AutoencoderKL(**config, layers_per_block=size.num_res_blocks, latent_channels=size.z_channels)


def build_text(size: TextSize) -> CLIPTextModel:
    """Build a CLIP text encoder with random weights."""
    config = CLIPTextConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden_size,
        intermediate_size=4 * size.hidden_size,
        projection_dim=size.hidden_size,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        max_position_embeddings=size.max_tokens,
        bos_token_id=size.start_token,
        eos_token_id=size.end_token,
        pad_token_id=size.end_token,
        hidden_act="quick_gelu",
    )
    return CLIPTextModel(config)
