"""Names of the same weights in diffusers and in LDM single-file checkpoints, for Stable Diffusion 1.x and SDXL.

One table of modules per network, made from its sizes: diffusers' name to LDM's. Files are read and written by the same
table. diffusers' own converters know the other direction alone; what a file lacks is told in the file's own names, and
LoRAs name a network's layers in LDM's. A test holds each table against its converter. OpenCLIP's text encoder, which
stacks matrices, is read by diffusers' converter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from ...models.network.sizes import VAESize
from ...models.network.unet import UNetSize

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
TEXT_PREFIX = "cond_stage_model.transformer."
SDXL_TEXT_PREFIX = "conditioner.embedders.0.transformer."
OPEN_CLIP_PREFIX = "conditioner.embedders.1.model."

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
    """Map each diffusers module of the UNet to LDM's."""
    table = {
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0",
        "add_embedding.linear_2": "label_emb.0.2",
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
        "mid_block.attentions.0": "middle_block.1",
        **_inside("mid_block.resnets.0", "middle_block.0", _UNET_RESIDUAL),
        **_inside("mid_block.resnets.1", "middle_block.2", _UNET_RESIDUAL),
    }

    def add(block: str, index: int, ldm: str, attention: int) -> None:
        table.update(_inside(f"{block}.resnets.{index}", f"{ldm}.0", _UNET_RESIDUAL))
        if attention:
            table[f"{block}.attentions.{index}"] = f"{ldm}.1"

    length = size.num_res_blocks + 1  # a level's blocks: on the way down the last one halves the picture
    for level, down in enumerate(size.depths):
        up, begin, end = size.depths[-1 - level], level * length, (level + 1) * length
        for index in range(size.num_res_blocks):
            add(f"down_blocks.{level}", index, f"input_blocks.{begin + 1 + index}", down)
        for index in range(length):
            add(f"up_blocks.{level}", index, f"output_blocks.{begin + index}", up)
        if level < size.levels[-1]:
            table[f"down_blocks.{level}.downsamplers.0.conv"] = f"input_blocks.{end}.0.op"
            table[f"up_blocks.{level}.upsamplers.0.conv"] = f"output_blocks.{end - 1}.{1 + bool(up)}.conv"
    return table


def vae_modules(size: VAESize) -> dict[str, str]:
    """Map each diffusers module of the autoencoder to LDM's."""
    table = {"quant_conv": "quant_conv", "post_quant_conv": "post_quant_conv"}
    for part in ("encoder", "decoder"):
        table |= {f"{part}.conv_in": f"{part}.conv_in", f"{part}.conv_out": f"{part}.conv_out"}
        table[f"{part}.conv_norm_out"] = f"{part}.norm_out"
        table |= _inside(f"{part}.mid_block.resnets.0", f"{part}.mid.block_1", _VAE_RESIDUAL)
        table |= _inside(f"{part}.mid_block.resnets.1", f"{part}.mid.block_2", _VAE_RESIDUAL)
        table |= _inside(f"{part}.mid_block.attentions.0", f"{part}.mid.attn_1", _VAE_ATTENTION)
    for level in range(len(size.ch_mult)):
        down, up = f"encoder.down_blocks.{level}", f"decoder.up_blocks.{level}"
        ldm_down, ldm_up = f"encoder.down.{level}", f"decoder.up.{len(size.ch_mult) - 1 - level}"
        for index in range(size.num_res_blocks):
            table |= _inside(f"{down}.resnets.{index}", f"{ldm_down}.block.{index}", _VAE_RESIDUAL)
        for index in range(size.num_res_blocks + 1):
            table |= _inside(f"{up}.resnets.{index}", f"{ldm_up}.block.{index}", _VAE_RESIDUAL)
        table[f"{down}.downsamplers.0.conv"] = f"{ldm_down}.downsample.conv"
        table[f"{up}.upsamplers.0.conv"] = f"{ldm_up}.upsample.conv"
    return table


def control_modules(size: UNetSize) -> dict[str, str]:
    """Map each diffusers module of a ControlNet to LDM's: a UNet's way down, and what is its own."""
    of_unet = ("time_embedding.", "conv_in", "down_blocks.", "mid_block.")
    table = {ours: ldm for ours, ldm in unet_modules(size).items() if ours.startswith(of_unet)}
    for index in range(len(size.channel_mult) * (size.num_res_blocks + 1)):
        table[f"controlnet_down_blocks.{index}"] = f"zero_convs.{index}.0"
    table["controlnet_mid_block"] = "middle_block_out.0"
    hint = ["conv_in", *(f"blocks.{index}" for index in range(6)), "conv_out"]
    for index, name in enumerate(hint):
        table[f"controlnet_cond_embedding.{name}"] = f"input_hint_block.{2 * index}"
    return table


def _inside(ours: str, ldm: str, parts: Mapping[str, str]) -> dict[str, str]:
    return {f"{ours}.{name}": f"{ldm}.{other}" for name, other in parts.items()}


def ldm_names(keys: Iterable[str], table: Mapping[str, str]) -> dict[str, str]:
    """Map the names of tensors in diffusers to LDM's.

    Args:
        keys: names in diffusers.
        table: LDM's name of each module.

    Raises:
        KeyError: a tensor lies in no module of the table.
    """
    names = {}
    for key in keys:
        module, dot, _ = key.rpartition(".")
        while dot and module not in table:
            module, dot, _ = module.rpartition(".")
        if not dot:
            raise KeyError(key)
        names[key] = table[module] + key[len(module) :]
    return names


def to_ldm(state: Mapping[str, Tensor], table: Mapping[str, str]) -> dict[str, Tensor]:
    """Rename a diffusers network's weights to LDM's, without a prefix.

    LDM has the autoencoder's attention as 1x1 convolutions, so its matrices get two sides of 1.
    """
    names = ldm_names(state, table)
    return {
        names[key]: value[..., None, None] if ".attn_1." in names[key] and value.ndim == 2 else value
        for key, value in state.items()
    }
