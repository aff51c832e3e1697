"""ComfyUI's UNet as a table of ``models.network``, and the modules that stand for the table's rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock
from torch import nn

from ....models.network.unet import Block, Layer, Place, UNetSize

_PARTS = {"input": "input_blocks", "middle": "middle_block", "output": "output_blocks"}


def size_of(network: Any) -> UNetSize | None:
    """Return the sizes of a UNet, or of a ControlNet's network; None: it is another, or has other blocks."""
    if getattr(network, "middle_block", None) is None or len(set(network.num_res_blocks)) > 1:
        return None
    residual, head = network.num_res_blocks[0], network.num_head_channels
    middle = _transformer(network.middle_block)
    if middle is None:
        return None
    size = UNetSize(
        model_channels=network.model_channels,
        channel_mult=tuple(network.channel_mult),
        context_dim=middle.transformer_blocks[0].attn2.to_k.in_features,
        num_heads=network.num_heads,
        depths=tuple(_depth(block) for block in network.input_blocks[1 :: residual + 1]),
        middle_depth=_depth(network.middle_block),
        num_res_blocks=residual,
        in_channels=network.in_channels,
    )
    if head != -1:  # a head's width stands in the place of their number
        size = replace(size, num_heads=tuple(width // head for width in size.widths))
    return size if all(_depth(block) == place.depth for place, block in blocks_in(network, size)) else None


def blocks_in(network: Any, size: UNetSize) -> Iterator[tuple[Place, nn.Module]]:
    """Yield the block of each row of a network's table; a ControlNet has no way up."""
    for place in size.places:
        part, number = place.block
        blocks = getattr(network, _PARTS[part], None)
        if blocks is not None:
            yield place, blocks if part == "middle" else blocks[number]


def modules_in(network: Any, size: UNetSize) -> Iterator[tuple[Place, nn.Module]]:
    """Yield what a temporal slot lies behind: the spatial transformer of its block, else the residual block."""
    for place, block in blocks_in(network, size):
        kind = SpatialTransformer if place.depth else ResBlock
        yield place, next(child for child in block.children() if isinstance(child, kind))


def layers_in(network: Any, size: UNetSize) -> Iterator[tuple[Layer, Any]]:
    """Yield the transformer blocks of a network in the order in which they run."""
    transformers: dict[Block, Any] = {place.block: module for place, module in modules_in(network, size)}
    for layer in size.layers:
        if layer.place.block in transformers:
            yield layer, transformers[layer.place.block].transformer_blocks[layer.depth]


def layers_of(unet: Any) -> Iterator[nn.Module]:
    """Yield what lies in a UNet's blocks, in the order in which it runs."""
    for block in (*unet.input_blocks, unet.middle_block, *unet.output_blocks):
        yield from block.children()


def _transformer(block: nn.Module) -> Any | None:
    return next((child for child in block.children() if isinstance(child, SpatialTransformer)), None)


def _depth(block: nn.Module) -> int:
    transformer = _transformer(block)
    return 0 if transformer is None else len(transformer.transformer_blocks)
