"""Wan's autoencoder on whole clips, every frame a picture of one batch: several times as fast on a CPU.

A convolution over space and time is one over space alone, whose channels are those of a frame and of the two before it.
A clip of one frame needs the last tap in time alone. What a network of diffusers does in pieces is done at once here,
with its weights; the pictures are ``channels_last``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def encode_clip(vae: Any, clip: Tensor) -> Tensor:
    """Encode clips as ``vae.encode`` does. [N, 3, F, H, W] -> [N, 32, (F + 3) / 4, H / 8, W / 8]."""
    count, encoder = len(clip), vae.encoder
    x = _convolve(encoder.conv_in, _pictures(clip), count)
    for layer in encoder.down_blocks:
        x = _residual(layer, x, count) if hasattr(layer, "conv1") else _halve(layer, x, count)
    x = _middle(encoder.mid_block, x, count)
    x = _convolve(encoder.conv_out, functional.silu(_norm(encoder.norm_out, x)), count)
    return _clips(_convolve(vae.quant_conv, x, count), count)


def decode_clip(vae: Any, latents: Tensor) -> Tensor:
    """Decode clips as ``vae.decode`` does, without its limits of -1 and 1. [N, 16, T, h, w] -> [N, 3, F, H, W]."""
    count, decoder = len(latents), vae.decoder
    x = _convolve(vae.post_quant_conv, _pictures(latents), count)
    x = _middle(decoder.mid_block, _convolve(decoder.conv_in, x, count), count)
    for block in decoder.up_blocks:
        for layer in block.resnets:
            x = _residual(layer, x, count)
        for layer in block.upsamplers or ():
            x = _double(layer, x, count)
    return _clips(_convolve(decoder.conv_out, functional.silu(_norm(decoder.norm_out, x)), count), count)


def _pictures(clip: Tensor) -> Tensor:
    """[N, C, F, H, W] -> [N * F, C, H, W]."""
    return clip.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)


def _clips(pictures: Tensor, count: int) -> Tensor:
    """[N * F, C, H, W] -> [N, C, F, H, W]."""
    return pictures.unflatten(0, (count, -1)).transpose(1, 2)


def _convolve(layer: Any, x: Tensor, count: int) -> Tensor:
    """Apply a causal convolution over space and time to frames [N * F, C, H, W]."""
    weight, edge = layer.weight, layer.weight.shape[-1] // 2
    if weight.shape[2] == 1 or len(x) == count:
        return functional.conv2d(x, weight[:, :, -1], layer.bias, padding=edge)
    frames = x.unflatten(0, (count, -1))
    nothing = torch.zeros_like(frames[:, :1])
    before = torch.cat([nothing, frames[:, :-1]], 1)
    two_before = torch.cat([nothing, before[:, :-1]], 1)
    return _join_taps(layer, [two_before, before, frames], edge)


def _join_taps(layer: Any, taps: list[Tensor], edge: int) -> Tensor:
    """Convolve the frames that three taps in time see, each [N, F, C, H, W]."""
    stacked = torch.cat(taps, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
    return functional.conv2d(stacked, layer.weight.movedim(2, 1).flatten(1, 2), layer.bias, padding=edge)


def _norm(layer: Any, x: Tensor) -> Tensor:
    return functional.normalize(x, dim=1) * (layer.scale * layer.gamma.view(-1, 1, 1))


def _residual(layer: Any, x: Tensor, count: int) -> Tensor:
    kept = (
        x if isinstance(layer.conv_shortcut, torch.nn.Identity) else _convolve(layer.conv_shortcut, x, count)
    )
    x = _convolve(layer.conv1, functional.silu(_norm(layer.norm1, x)), count)
    return kept + _convolve(layer.conv2, functional.silu(_norm(layer.norm2, x)), count)


def _middle(block: Any, x: Tensor, count: int) -> Tensor:
    """Two residual blocks with an attention between, of one head, over each frame."""
    x, attention = _residual(block.resnets[0], x, count), block.attentions[0]
    tokens = attention.to_qkv(_norm(attention.norm, x)).flatten(2).transpose(1, 2).unsqueeze(1)
    seen = functional.scaled_dot_product_attention(*tokens.chunk(3, -1))
    x = x + attention.proj(seen.squeeze(1).transpose(1, 2).reshape(x.shape))
    return _residual(block.resnets[1], x, count)


def _halve(layer: Any, x: Tensor, count: int) -> Tensor:
    """Halve space, and time where the layer does so: the first frame stays alone."""
    x = layer.resample(x)
    if layer.mode != "downsample3d" or len(x) == count:
        return x
    frames = x.unflatten(0, (count, -1))
    pairs = _join_taps(layer.time_conv, [frames[:, :-2:2], frames[:, 1:-1:2], frames[:, 2::2]], 0)
    return torch.cat([frames[:, :1], pairs.unflatten(0, (count, -1))], 1).flatten(0, 1)


def _double(layer: Any, x: Tensor, count: int) -> Tensor:
    """Double space, and time where the layer does so: the first frame stays alone."""
    if layer.mode == "upsample3d" and len(x) > count:
        frames = x.unflatten(0, (count, -1))
        pairs = _convolve(layer.time_conv, frames[:, 1:].flatten(0, 1), count)
        pairs = pairs.unflatten(1, (2, -1)).unflatten(0, (count, -1)).flatten(1, 2)
        x = torch.cat([frames[:, :1], pairs], 1).flatten(0, 1)
    return layer.resample(x)
