"""A tiny CameraCtrl for the demo model: its weights as its authors' files have them, random everywhere."""

from __future__ import annotations

import math

import torch
from frameloom.models.network.unet import SD1
from torch import Tensor

WIDTHS = (32, 64, 64, 64)
PROCESSOR = "temporal_transformer.transformer_blocks.0.attention_blocks.0.processor.qkv_merge"


def encoder_shapes(widths=WIDTHS):
    """Shapes of the authors' encoder, by their keys: 150 of them."""
    shapes = {"encoder_conv_in.weight": (widths[0], 384, 3, 3), "encoder_conv_in.bias": (widths[0],)}
    for level, width in enumerate(widths):
        for i in range(2):
            block = f"encoder_down_conv_blocks.{level}.{i}"
            before = widths[max(level - 1, 0)]
            if i == 0 and before != width:
                shapes |= {
                    f"{block}.in_conv.weight": (width, before, 1, 1),
                    f"{block}.in_conv.bias": (width,),
                }
            shapes |= {f"{block}.block1.weight": (width, width, 3, 3), f"{block}.block1.bias": (width,)}
            shapes |= {f"{block}.block2.weight": (width, width, 1, 1), f"{block}.block2.bias": (width,)}
            block = f"encoder_down_attention_blocks.{level}.{i}"
            shapes |= {f"{block}.attention_blocks.0.to_{name}.weight": (width, width) for name in "qkv"}
            shapes |= {f"{block}.attention_blocks.0.to_out.0.weight": (width, width)}
            shapes |= {f"{block}.attention_blocks.0.to_out.0.bias": (width,)}
            shapes |= {f"{block}.attention_blocks.0.pos_encoder.pe": (1, 16, width)}
            for norm in ("norms.0", "ff_norm"):
                shapes |= {f"{block}.{norm}.weight": (width,), f"{block}.{norm}.bias": (width,)}
            shapes |= {
                f"{block}.ff.net.0.proj.weight": (8 * width, width),
                f"{block}.ff.net.0.proj.bias": (8 * width,),
            }
            shapes |= {f"{block}.ff.net.2.weight": (width, 4 * width), f"{block}.ff.net.2.bias": (width,)}
    return shapes


def merge_shapes(widths=WIDTHS):
    """Shapes of the projections, 20 with a bias each: two slots a level on the way down, three on the way up."""
    places = [place for place in SD1.places if place.part != "mid_block"]
    merges = {f"{place.slot}.{PROCESSOR}": widths[place.level] for place in places}
    weights = {f"{name}.weight": (width, width) for name, width in merges.items()}
    return weights | {f"{name}.bias": (width,) for name, width in merges.items()}


def drawn(shapes, scale=1.0, seed=0) -> dict[str, Tensor]:
    """Random tensors of these shapes, such that what a layer makes is about as large as what it is given."""
    generator = torch.Generator().manual_seed(seed)

    def values(key, shape):
        size = math.prod(shape[1:]) ** -0.5 if len(shape) > 1 and "pe" not in key.split(".") else 0.2
        return scale * size * torch.randn(shape, generator=generator) + (
            "norm" in key and key.endswith("weight")
        )

    return {key: values(key, shape) for key, shape in shapes.items()}


def tiny_camera(scale=1.0, seed=0, widths=WIDTHS) -> dict[str, Tensor]:
    """The whole of it, flat as AnimateDiff-Evolved's file; ``scale`` is of the projections."""
    return drawn(encoder_shapes(widths), seed=seed) | drawn(merge_shapes(widths), scale, seed + 1)
