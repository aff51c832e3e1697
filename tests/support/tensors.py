"""Tensors that tests begin with, and how far two are apart."""

from __future__ import annotations

import torch
from torch import Tensor


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers that depend on the seed alone."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def apart(one: Tensor, other: Tensor) -> float:
    """The length of the difference, as a part of the other's."""
    return float((one - other).norm() / other.norm())
