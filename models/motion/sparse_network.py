"""SparseCtrl's network: the way down of a Stable Diffusion UNet, with temporal layers, beside the UNet it controls.

What the UNet denoises does not go in. With c a frame's picture and m a mask of it, 1 where a picture is given and 0,
as c, where none is,

    h = conv_in(0) + E([c; m])

goes through residual blocks, spatial transformers and temporal ones; a 1x1 convolution of the output of each block, and
of the middle's, is added to the same place of the UNet. E is one convolution for c in latents (rgb), and a small net of
three halvings for c in pixels (scribble).

Owns the network and its key layout, which is its authors' and diffusers'; temporal layers are ``module``'s.

Source: SparseCtrl (Guo et al. 2023), https://arxiv.org/abs/2311.16933, sections 3.2 and 3.3; its published code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import silu

from ..edits.edit import Time
from ..network.layers import Attend, FeedForward, attend
from ..network.unet import SD1, UNetSize
from ..video.shapes import Hidden, Tokens
from .mixing import Mixing
from .module import MotionSize, NormScope, TemporalTransformer

LATENT_CHANNELS, PICTURE_CHANNELS = 4, 3
MAX_FRAMES = 32  # of positional encodings, which most files leave out
SKETCH_WIDTHS = (16, 32, 96, 256)  # widths of what E makes of pixels, at each halving

Slot = Callable[[str, Hidden], Hidden]
"""Runs a temporal slot, by its name."""


@dataclass(frozen=True, slots=True)
class SparseSize:
    """Sizes of a SparseCtrl network.

    Attributes:
        unet: sizes of the UNet that it is for.
        channels: channels of a given picture: 4 for latents, 3 for pixels.
        max_frames: frames its positional encodings hold.
    """

    unet: UNetSize = SD1
    channels: int = LATENT_CHANNELS
    max_frames: int = MAX_FRAMES

    @property
    def reads_latents(self) -> bool:
        """Whether it was trained on the VAE's latents (rgb), and not on pictures (scribble)."""
        return self.channels == LATENT_CHANNELS

    @property
    def motion(self) -> MotionSize:
        """Sizes of its temporal layers: one self-attention each, on the way down alone."""
        slots = {slot: width for slot, width in self.unet.slots.items() if slot.startswith("down_blocks.")}
        return MotionSize(slots, self.max_frames, attentions=1)


class SparseControl(nn.Module):
    """The network.

    State:
        conv_in, controlnet_cond_embedding, time_embedding, down_blocks.{i}.{resnets, attentions, motion_modules,
        downsamplers}, mid_block.{resnets, attentions}, controlnet_down_blocks.{0..11}, controlnet_mid_block.
    """

    def __init__(
        self,
        size: SparseSize,
        *,
        norm_scope: NormScope = "frame",
        operations: Any = nn,
        attend: Attend = attend,
        **factory: Any,
    ) -> None:
        """Build the layers.

        Args:
            size: sizes of the network.
            norm_scope: scope of temporal norms, as ``TemporalTransformer`` has it.
            operations: namespace with Conv2d, Linear, LayerNorm and GroupNorm.
            attend: attention function.
            factory: ``dtype`` and ``device`` for the layers.
        """
        super().__init__()
        self.size, unet = size, size.unet
        make = _Layers(operations, attend, factory)
        widths, last = unet.widths, unet.widths[-1]
        self.conv_in = make.conv(LATENT_CHANNELS, widths[0])
        self.controlnet_cond_embedding = (
            make.conv(size.channels + 1, widths[0])
            if size.reads_latents
            else _SketchEmbedding(size.channels + 1, widths[0], make)
        )
        self.time_embedding = _TimeEmbedding(widths[0], make)
        temporal = partial(
            TemporalTransformer, size=size.motion, norm_scope=norm_scope, operations=operations, attend=attend
        )
        self.down_blocks = nn.ModuleList(
            _Down(unet, level, make, partial(temporal, **factory)) for level in unet.levels
        )
        self.mid_block = _Middle(unet, make)
        made = [widths[0], *(width for block in self.down_blocks for width in cast("_Down", block).made)]
        self.controlnet_down_blocks = nn.ModuleList(make.conv(width, width, 1) for width in made)
        self.controlnet_mid_block = make.conv(last, last, 1)

    def embed(self, given: Tensor, mask: Tensor) -> Hidden:
        """Return h for pictures, [N, 4, H, W] in latents or [N, 3, 8 H, 8 W] in pixels, and a number [N] for each m."""
        held = mask[:, None, None, None].expand(-1, 1, *given.shape[-2:])
        embedded = self.controlnet_cond_embedding(torch.cat([given, held.to(given)], dim=1))
        nothing = embedded.new_zeros(1, LATENT_CHANNELS, *embedded.shape[-2:])
        return self.conv_in(nothing) + embedded

    def forward(self, hidden: Hidden, timestep: float, tokens: Tokens, slot: Slot) -> list[Hidden]:
        """Return what is added to each skip of the UNet, the shallowest first, and last what is added to its middle.

        Args:
            hidden: h of each picture.
            timestep: timestep of training, 0 to 999.
            tokens: prompt, with a row for each picture.
            slot: function that runs a temporal slot on hidden states of all frames.
        """
        time = self.time_embedding(timestep, hidden)
        made = [hidden]
        for block in self.down_blocks:
            made += block(made[-1], time, tokens, slot)
        middle = self.mid_block(made[-1], time, tokens)
        added = [zero(each) for zero, each in zip(self.controlnet_down_blocks, made, strict=True)]
        return [*added, self.controlnet_mid_block(middle)]

    def run_slot(self, slot: str, hidden: Hidden, frames: int, time: Time | None, rows: int = 0) -> Hidden:
        """Run a temporal slot on clips of so many frames; the rest as ``TemporalTransformer`` has it."""
        transformer = cast("TemporalTransformer", self.get_submodule(f"{slot}.temporal_transformer"))
        return hidden + transformer(hidden, frames, Mixing(time), rows)


@dataclass(frozen=True)
class _Layers:
    """Makes a host's layers."""

    operations: Any
    attend: Attend
    factory: dict[str, Any]

    def conv(self, inside: int, out: int, kernel: int = 3, stride: int = 1) -> nn.Module:
        padding = kernel // 2
        return self.operations.Conv2d(inside, out, kernel, stride=stride, padding=padding, **self.factory)

    def linear(self, inside: int, out: int, *, bias: bool = True) -> nn.Module:
        return self.operations.Linear(inside, out, bias=bias, **self.factory)

    def group_norm(self, width: int, eps: float) -> nn.Module:
        return self.operations.GroupNorm(32, width, eps=eps, **self.factory)

    def layer_norm(self, width: int) -> nn.Module:
        return self.operations.LayerNorm(width, **self.factory)


class _SketchEmbedding(nn.Module):
    """E for pictures: [N, C, 8 H, 8 W] -> [N, D, H, W]."""

    def __init__(self, channels: int, width: int, make: _Layers) -> None:
        super().__init__()
        first, last = SKETCH_WIDTHS[0], SKETCH_WIDTHS[-1]
        self.conv_in = make.conv(channels, first)
        steps = pairwise(SKETCH_WIDTHS)
        self.blocks = nn.ModuleList(
            layer
            for inside, out in steps
            for layer in (make.conv(inside, inside), make.conv(inside, out, stride=2))
        )
        self.conv_out = make.conv(last, width)

    def forward(self, pictures: Tensor) -> Tensor:
        hidden = silu(self.conv_in(pictures))
        for block in self.blocks:
            hidden = silu(block(hidden))
        return self.conv_out(hidden)


class _TimeEmbedding(nn.Module):
    """A timestep as a vector: cosines, then sines, through two layers."""

    def __init__(self, width: int, make: _Layers) -> None:
        super().__init__()
        self.width = width
        self.linear_1, self.linear_2 = make.linear(width, 4 * width), make.linear(4 * width, 4 * width)

    def forward(self, timestep: float, like: Tensor) -> Tensor:
        half = self.width // 2
        rate = torch.exp(-math.log(10_000) * torch.arange(half, device=like.device) / half)
        angles = timestep * rate[None]
        waves = torch.cat([angles.cos(), angles.sin()], dim=-1).to(like.dtype)
        return self.linear_2(silu(self.linear_1(waves)))


class _Residual(nn.Module):
    """A residual block: [N, C, H, W], time [1, 4 W] -> [N, D, H, W]."""

    def __init__(self, inside: int, out: int, time: int, make: _Layers) -> None:
        super().__init__()
        self.norm1, self.conv1 = make.group_norm(inside, 1e-5), make.conv(inside, out)
        self.time_emb_proj = make.linear(time, out)
        self.norm2, self.conv2 = make.group_norm(out, 1e-5), make.conv(out, out)
        self.conv_shortcut = make.conv(inside, out, 1) if inside != out else None

    def forward(self, hidden: Hidden, time: Tensor) -> Hidden:
        change = self.conv1(silu(self.norm1(hidden))) + self.time_emb_proj(silu(time))[..., None, None]
        change = self.conv2(silu(self.norm2(change)))
        return change + (hidden if self.conv_shortcut is None else self.conv_shortcut(hidden))


class _Attention(nn.Module):
    def __init__(self, width: int, context: int, heads: int, make: _Layers) -> None:
        super().__init__()
        self.heads, self.attend = heads, make.attend
        self.to_q = make.linear(width, width, bias=False)
        self.to_k, self.to_v = (make.linear(context, width, bias=False) for _ in range(2))
        self.to_out = nn.ModuleList([make.linear(width, width)])

    def forward(self, tokens: Tokens, context: Tokens) -> Tokens:
        read = self.attend(self.to_q(tokens), self.to_k(context), self.to_v(context), self.heads)
        return self.to_out[0](read)


class _Block(nn.Module):
    """Self-attention, cross-attention and a gated feed-forward, each behind a norm."""

    def __init__(self, width: int, context: int, heads: int, make: _Layers) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (make.layer_norm(width) for _ in range(3))
        self.attn1 = _Attention(width, width, heads, make)
        self.attn2 = _Attention(width, context, heads, make)
        self.ff = FeedForward(width, make.operations, **make.factory)

    def forward(self, tokens: Tokens, context: Tokens) -> Tokens:
        normal = self.norm1(tokens)
        tokens = tokens + self.attn1(normal, normal)
        tokens = tokens + self.attn2(self.norm2(tokens), context)
        return tokens + self.ff(self.norm3(tokens))


class _Transformer(nn.Module):
    """A spatial transformer."""

    def __init__(self, width: int, depth: int, heads: int, context: int, make: _Layers) -> None:
        super().__init__()
        self.norm = make.group_norm(width, 1e-6)
        self.proj_in, self.proj_out = make.conv(width, width, 1), make.conv(width, width, 1)
        self.transformer_blocks = nn.ModuleList(_Block(width, context, heads, make) for _ in range(depth))

    def forward(self, hidden: Hidden, context: Tokens) -> Hidden:
        inside = self.proj_in(self.norm(hidden))
        tokens = rearrange(inside, "n c h w -> n (h w) c")
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        out = rearrange(tokens, "n (h w) c -> n c h w", h=hidden.shape[-2]).contiguous()
        return hidden + self.proj_out(out)


class _Down(nn.Module):
    """A level of the way down; ``made`` are the widths of what it makes."""

    def __init__(
        self, unet: UNetSize, level: int, make: _Layers, temporal: Callable[[int], nn.Module]
    ) -> None:
        super().__init__()
        width, depth, count = unet.widths[level], unet.depths[level], unet.num_res_blocks
        before = unet.widths[max(level - 1, 0)]
        self.slots = [f"down_blocks.{level}.motion_modules.{number}" for number in range(count)]
        inside = [before, *[width] * (count - 1)]
        time = 4 * unet.model_channels
        self.resnets = nn.ModuleList(_Residual(each, width, time, make) for each in inside)
        if depth:
            heads = unet.heads[level]
            self.attentions = nn.ModuleList(
                _Transformer(width, depth, heads, unet.context_dim, make) for _ in range(count)
            )
        self.motion_modules = nn.ModuleList(
            nn.ModuleDict({"temporal_transformer": temporal(width)}) for _ in range(count)
        )
        is_last = level == unet.levels[-1]
        if not is_last:
            down = nn.ModuleDict({"conv": make.conv(width, width, stride=2)})
            self.downsamplers = nn.ModuleList([down])
        self.made = [width] * (count + (not is_last))

    def forward(self, hidden: Hidden, time: Tensor, tokens: Tokens, slot: Slot) -> list[Hidden]:
        made: list[Hidden] = []
        for number, residual in enumerate(self.resnets):
            hidden = residual(hidden, time)
            if hasattr(self, "attentions"):
                hidden = self.attentions[number](hidden, tokens)
            hidden = slot(self.slots[number], hidden)
            made.append(hidden)
        if hasattr(self, "downsamplers"):
            made.append(cast("nn.ModuleDict", self.downsamplers[0])["conv"](hidden))
        return made


class _Middle(nn.Module):
    def __init__(self, unet: UNetSize, make: _Layers) -> None:
        super().__init__()
        width, heads = unet.widths[-1], unet.heads[-1]
        self.resnets = nn.ModuleList(_Residual(width, width, 4 * unet.model_channels, make) for _ in range(2))
        self.attentions = nn.ModuleList(
            [_Transformer(width, unet.middle_depth, heads, unet.context_dim, make)]
        )

    def forward(self, hidden: Hidden, time: Tensor, tokens: Tokens) -> Hidden:
        hidden = self.attentions[0](self.resnets[0](hidden, time), tokens)
        return self.resnets[1](hidden, time)
