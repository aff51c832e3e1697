"""Names of the same weights in diffusers and in LDM single-file checkpoints, for the SD1.x family, both ways.

One table of module prefixes per network, made from its sizes. Conversion never changes a value, only names, and the
shape of the VAE's attention weights (1x1 convolutions in LDM).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..models.architecture import VAESize
from ..models.network.unet import UNetSize

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
TEXT_PREFIX = "cond_stage_model.transformer."

_UNET_RESIDUAL = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_VAE_RESIDUAL = {
    "norm1": "norm1",
    "conv1": "conv1",
    "norm2": "norm2",
    "conv2": "conv2",
    "conv_shortcut": "nin_shortcut",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def unet_modules(size: UNetSize) -> dict[str, str]:
    """Map each diffusers module prefix of the UNet to LDM's."""
    table = {
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
        "mid_block.attentions.0": "middle_block.1",
    }

    def residual(ours: str, ldm: str) -> None:
        table.update({f"{ours}.{name}": f"{ldm}.{other}" for name, other in _UNET_RESIDUAL.items()})

    residual("mid_block.resnets.0", "middle_block.0")
    residual("mid_block.resnets.1", "middle_block.2")
    blocks, levels = size.num_res_blocks, len(size.channel_mult)
    for level, attention in enumerate(size.depths):
        for index in range(blocks):
            block = 1 + level * (blocks + 1) + index
            residual(f"down_blocks.{level}.resnets.{index}", f"input_blocks.{block}.0")
            if attention:
                table[f"down_blocks.{level}.attentions.{index}"] = f"input_blocks.{block}.1"
        if level < levels - 1:
            table[f"down_blocks.{level}.downsamplers.0.conv"] = (
                f"input_blocks.{(level + 1) * (blocks + 1)}.0.op"
            )
    for level, attention in enumerate(reversed(size.depths)):
        for index in range(blocks + 1):
            block = level * (blocks + 1) + index
            residual(f"up_blocks.{level}.resnets.{index}", f"output_blocks.{block}.0")
            if attention:
                table[f"up_blocks.{level}.attentions.{index}"] = f"output_blocks.{block}.1"
        if level < levels - 1:
            last = level * (blocks + 1) + blocks
            table[f"up_blocks.{level}.upsamplers.0.conv"] = (
                f"output_blocks.{last}.{2 if attention else 1}.conv"
            )
    return table


def vae_modules(size: VAESize) -> dict[str, str]:
    """Map each diffusers module prefix of the autoencoder to LDM's."""
    table = {"quant_conv": "quant_conv", "post_quant_conv": "post_quant_conv"}
    levels = len(size.ch_mult)

    def residual(ours: str, ldm: str) -> None:
        table.update({f"{ours}.{name}": f"{ldm}.{other}" for name, other in _VAE_RESIDUAL.items()})

    for part in ("encoder", "decoder"):
        table |= {f"{part}.conv_in": f"{part}.conv_in", f"{part}.conv_out": f"{part}.conv_out"}
        table[f"{part}.conv_norm_out"] = f"{part}.norm_out"
        residual(f"{part}.mid_block.resnets.0", f"{part}.mid.block_1")
        residual(f"{part}.mid_block.resnets.1", f"{part}.mid.block_2")
        for name, other in _VAE_ATTENTION.items():
            table[f"{part}.mid_block.attentions.0.{name}"] = f"{part}.mid.attn_1.{other}"
    for level in range(levels):
        for index in range(size.num_res_blocks):
            residual(f"encoder.down_blocks.{level}.resnets.{index}", f"encoder.down.{level}.block.{index}")
        for index in range(size.num_res_blocks + 1):
            residual(
                f"decoder.up_blocks.{level}.resnets.{index}", f"decoder.up.{levels - 1 - level}.block.{index}"
            )
        table[f"encoder.down_blocks.{level}.downsamplers.0.conv"] = f"encoder.down.{level}.downsample.conv"
        table[f"decoder.up_blocks.{level}.upsamplers.0.conv"] = (
            f"decoder.up.{levels - 1 - level}.upsample.conv"
        )
    return table


def control_modules(size: UNetSize) -> dict[str, str]:
    """Map each diffusers module prefix of a ControlNet to LDM's: a UNet's way down, and what is its own."""
    of_unet = ("time_embedding.", "conv_in", "down_blocks.", "mid_block.")
    table = {ours: ldm for ours, ldm in unet_modules(size).items() if ours.startswith(of_unet)}
    for index in range(len(size.channel_mult) * (size.num_res_blocks + 1)):
        table[f"controlnet_down_blocks.{index}"] = f"zero_convs.{index}.0"
    table["controlnet_mid_block"] = "middle_block_out.0"
    hint = ["conv_in", *(f"blocks.{index}" for index in range(6)), "conv_out"]
    for index, name in enumerate(hint):
        table[f"controlnet_cond_embedding.{name}"] = f"input_hint_block.{2 * index}"
    return table


def rename(state: Mapping[str, Tensor], table: Mapping[str, str]) -> dict[str, Tensor]:
    """Rename every key by the longest prefix of the table that it begins with.

    Raises:
        KeyError: a key has no prefix in the table.
    """
    longest_first = sorted(table, key=len, reverse=True)
    renamed = {}
    for key, value in state.items():
        prefix = next((prefix for prefix in longest_first if key.startswith(prefix + ".")), None)
        if prefix is None:
            raise KeyError(key)
        renamed[table[prefix] + key[len(prefix) :]] = value
    return renamed


def _inverse(table: Mapping[str, str]) -> dict[str, str]:
    return {ldm: ours for ours, ldm in table.items()}


def unet_to_ldm(state: Mapping[str, Tensor], size: UNetSize) -> dict[str, Tensor]:
    """Rename a diffusers UNet's weights to LDM's, without a prefix."""
    return rename(state, unet_modules(size))


def unet_from_ldm(state: Mapping[str, Tensor], size: UNetSize) -> dict[str, Tensor]:
    """Rename an LDM UNet's weights to diffusers'."""
    return rename(state, _inverse(unet_modules(size)))


def vae_to_ldm(state: Mapping[str, Tensor], size: VAESize) -> dict[str, Tensor]:
    """Rename a diffusers autoencoder's weights to LDM's, without a prefix."""
    renamed = rename(state, vae_modules(size))
    return {
        key: value[..., None, None] if _is_attention_weight(key) else value for key, value in renamed.items()
    }


def vae_from_ldm(state: Mapping[str, Tensor], size: VAESize) -> dict[str, Tensor]:
    """Rename an LDM autoencoder's weights to diffusers'."""
    flat = {key: value.flatten(1) if _is_attention_weight(key) else value for key, value in state.items()}
    return rename(flat, _inverse(vae_modules(size)))


def _is_attention_weight(key: str) -> bool:
    return ".attn_1." in key and key.endswith(".weight") and not key.endswith(".norm.weight")
