"""Layers that more than one technique is made of: attention over a few tokens, a gated feed-forward, and sinusoids."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

Attend = Callable[[Tensor, Tensor, Tensor, int], Tensor]
Apply = Callable[[nn.Module, Tensor], Tensor]
"""Returns what a linear layer answers."""


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Attend with torch's own scaled dot product: queries [N, L, C], keys and values [N, S, C], to [N, L, C]."""
    query, key, value = (rearrange(part, "n l (h d) -> n h l d", h=heads) for part in (query, key, value))
    return rearrange(nn.functional.scaled_dot_product_attention(query, key, value), "n h l d -> n l (h d)")


def attend_briefly(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Attend as ``attend``, by products of small matrices: on a CPU, and with the few tokens of a clip, faster.

    Torch's own kernel is made for long sequences; of few tokens, its gradient takes nearly twice as long as this one's.
    The weights of attention are kept for the gradient, [N * heads, L, S].
    """
    query, key, value = (rearrange(part, "n l (h d) -> (n h) l d", h=heads) for part in (query, key, value))
    weights = (query * query.shape[-1] ** -0.5 @ key.mT).softmax(-1)
    return rearrange(weights @ value, "(n h) l d -> n l (h d)", h=heads)


def positional_encoding(length: int, channels: int) -> Tensor:
    """Return the fixed sinusoids of "Attention is all you need": sine at even channels, cosine at odd.

    Returns:
        [1, length, channels] float32.

    Examples:
        >>> positional_encoding(32, 64).shape
        torch.Size([1, 32, 64])
    """
    position = torch.arange(length, dtype=torch.float32).unsqueeze(1)
    rate = torch.exp(torch.arange(0, channels, 2, dtype=torch.float32) * (-math.log(10000.0) / channels))
    encoding = torch.zeros(1, length, channels)
    encoding[0, :, 0::2] = torch.sin(position * rate)
    encoding[0, :, 1::2] = torch.cos(position * rate)
    return encoding


def apply(layer: nn.Module, tokens: Tensor) -> Tensor:
    """Return what a linear layer answers to tokens, [..., C], by its own weights alone."""
    return layer(tokens)


class _GEGLU(nn.Module):
    def __init__(self, channels: int, inner: int, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.proj = operations.Linear(channels, 2 * inner, **factory)

    def forward(self, tokens: Tensor, apply: Apply) -> Tensor:
        value, gate = apply(self.proj, tokens).chunk(2, dim=-1)
        return value * nn.functional.gelu(gate)


class FeedForward(nn.Module):
    """Two layers with a GELU gate between, four times as wide; keys net.0.proj and net.2."""

    def __init__(self, channels: int, operations: Any, **factory: Any) -> None:
        super().__init__()
        inner = 4 * channels
        # The middle entry keeps the key of the last layer at net.2; in the original it is a dropout of 0.
        self.net = nn.Sequential(
            _GEGLU(channels, inner, operations, **factory),
            nn.Identity(),
            operations.Linear(inner, channels, **factory),
        )

    def forward(self, tokens: Tensor, apply: Apply = apply) -> Tensor:
        """Return tokens of the same shape, [..., C]; its linear layers answer by ``apply``."""
        gated, _, last = self.net
        return apply(last, gated(tokens, apply))
