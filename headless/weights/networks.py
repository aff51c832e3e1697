"""Build diffusers' and transformers' networks from plain sizes. No weights, no files, no network access."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from ...models.network.sizes import TextSize, VAESize
from ...models.network.unet import UNetSize

MEASURES = 6
"""Numbers that SDXL's UNet reads: height and width of a picture, top and left of its cut, height and width aimed at."""
_MEASURE_WIDTH = 256  # of each of them, embedded


TextNetwork = CLIPTextModel | CLIPTextModelWithProjection


def build_unet(size: UNetSize, pooled: int = 0) -> UNet2DConditionModel:
    """Build a UNet of SD1.x's or SDXL's topology with random weights.

    Args:
        size: sizes of the UNet.
        pooled: width of the pooled text that SDXL's UNet reads beside the tokens; 0: this one reads none.
    """
    heads: Any = size.num_heads  # diffusers annotates a tuple of one, and calls it attention_head_dim
    depths: Any = tuple(max(1, depth) for depth in size.depths)  # the last is the middle block's too
    more: dict[str, Any] = {}
    if pooled:
        more = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": _MEASURE_WIDTH,
            "projection_class_embeddings_input_dim": added_width(pooled),
            "use_linear_projection": True,
        }
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
        transformer_layers_per_block=depths,
        **more,
    )


def added_width(pooled: int) -> int:
    """Return how wide pooled text of a width and the embedded measures are, side by side."""
    return pooled + MEASURES * _MEASURE_WIDTH


def pooled_width(unet: UNet2DConditionModel) -> int:
    """Return how wide the pooled text is that a UNet reads; 0: it reads none."""
    width: int | None = unet.config["projection_class_embeddings_input_dim"]
    return width - added_width(0) if width else 0


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


def build_text(size: TextSize) -> TextNetwork:
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
        hidden_act="gelu" if size.is_open_clip else "quick_gelu",
    )
    network = (CLIPTextModelWithProjection if size.is_open_clip else CLIPTextModel)(config)
    # What no file holds, and what torch.device("meta") leaves without numbers.
    positions = torch.arange(size.max_tokens, device="cpu")[None]
    text_transformer(network).embeddings.register_buffer("position_ids", positions, persistent=False)
    return network


def text_transformer(network: TextNetwork) -> Any:
    """Return the module with the layers of a text encoder, which releases of transformers have at other places."""
    return getattr(network, "text_model", network)
