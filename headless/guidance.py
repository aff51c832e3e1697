"""How the answers to several prompts become one: plain guidance by a scale, and dual guidance by two."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

Conditioning = list[list[Any]]


class Guidance(Protocol):
    """What to ask a model, and what to make of its answers."""

    @property
    def sides(self) -> Mapping[str, Conditioning | None]:
        """Conditions by the name of the input they came from, in the host's order; None: not asked, answered by 0."""
        ...

    def combine(self, answers: Sequence[Tensor]) -> Tensor:
        """Return the clean latents that the sides' clean latents mean, all [F, C, H, W]."""
        ...


@dataclass(frozen=True)
class CFG:
    """Away from the negative prompt by ``scale``. At 1 the negative is not asked."""

    positive: Conditioning
    negative: Conditioning
    scale: float

    @property
    def sides(self) -> Mapping[str, Conditioning | None]:
        """Positive, then negative."""
        return {
            "positive": self.positive,
            "negative": None if math.isclose(self.scale, 1.0) else self.negative,
        }

    def combine(self, answers: Sequence[Tensor]) -> Tensor:
        """Return negative + scale * (positive - negative)."""
        positive, negative = answers
        return negative + (positive - negative) * self.scale


@dataclass(frozen=True)
class DualCFG:
    """From ``negative`` to ``second`` by one scale, and on to ``first`` by another, as ComfyUI's DualCFGGuider.

    Attributes:
        first, second, negative: conditions.
        first_scale: between first and second.
        second_scale: between second and negative.
        nested: apply ``second_scale`` to the outcome of the first guidance too, not to second alone.
    """

    first: Conditioning
    second: Conditioning
    negative: Conditioning
    first_scale: float
    second_scale: float
    nested: bool = False

    @property
    def sides(self) -> Mapping[str, Conditioning | None]:
        """Negative, second, first. Sides that a scale of 1 cancels are not asked."""
        skip_negative = not self.nested and math.isclose(self.second_scale, 1.0)
        skip_second = skip_negative and math.isclose(self.first_scale, 1.0)
        return {
            "negative": None if skip_negative else self.negative,
            "cond2": None if skip_second else self.second,
            "cond1": self.first,
        }

    def combine(self, answers: Sequence[Tensor]) -> Tensor:
        """Apply both scales."""
        negative, second, first = answers
        if self.nested:
            guided = second + (first - second) * self.first_scale
            return negative + (guided - negative) * self.second_scale
        return negative + (second - negative) * self.second_scale + (first - second) * self.first_scale
