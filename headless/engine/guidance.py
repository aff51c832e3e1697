"""How the answers to several prompts become one: plain guidance by a scale, and dual guidance by two."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Conditioning = list[list[Any]]
Scale = Callable[[float], Any]
"""Function of one number for all frames; to it, or to one for each, [F, 1, H or 1, W or 1]."""


def for_all(cfg: float) -> float:
    """Return a number for all frames as it is."""
    return cfg


@dataclass(frozen=True)
class CFG:
    """Away from the negative prompt by ``scale``. At 1 the negative is not asked, unless ``asks_all``.

    Sides are conditions by the name of the input they came from, in the host's order; None: not asked, answered by 0.
    Answers are the sides' clean latents, all [F, C, H, W].
    """

    positive: Conditioning
    negative: Conditioning
    scale: float
    asks_all: bool = False

    @property
    def sides(self) -> Mapping[str, Conditioning | None]:
        """Positive, then negative."""
        return {
            "positive": self.positive,
            "negative": None if math.isclose(self.scale, 1.0) and not self.asks_all else self.negative,
        }

    def combine(self, answers: Sequence[Tensor], scale: Scale = for_all) -> Tensor:
        """Return negative + scale * (positive - negative)."""
        positive, negative = answers
        return negative + (positive - negative) * scale(self.scale)

    def unguided(self, answers: Sequence[Tensor]) -> Tensor:
        """Return the answer that guidance leads away from: the negative's."""
        return answers[1]


@dataclass(frozen=True)
class DualCFG:
    """From ``negative`` to ``second`` by one scale, and on to ``first`` by another, as ComfyUI's DualCFGGuider.

    Attributes:
        first, second, negative: conditions.
        first_scale: scale between first and second.
        second_scale: scale between second and negative.
        nested: apply ``second_scale`` to the outcome of the first guidance too, not to second alone.
        asks_all: sides too that a scale of 1 cancels.
    """

    first: Conditioning
    second: Conditioning
    negative: Conditioning
    first_scale: float
    second_scale: float
    nested: bool = False
    asks_all: bool = False

    @property
    def sides(self) -> Mapping[str, Conditioning | None]:
        """Negative, second, first. Sides that a scale of 1 cancels are not asked."""
        skip_negative = not (self.nested or self.asks_all) and math.isclose(self.second_scale, 1.0)
        skip_second = skip_negative and math.isclose(self.first_scale, 1.0)
        return {
            "negative": None if skip_negative else self.negative,
            "cond2": None if skip_second else self.second,
            "cond1": self.first,
        }

    def combine(self, answers: Sequence[Tensor], scale: Scale = for_all) -> Tensor:
        """Apply both scales; as in ComfyUI, what changes guidance changes the inner one alone."""
        negative, second, first = answers
        if self.nested:
            guided = second + (first - second) * scale(self.first_scale)
            return negative + (guided - negative) * self.second_scale
        guided = negative + (second - negative) * scale(self.second_scale)
        return guided + (first - second) * self.first_scale

    def unguided(self, answers: Sequence[Tensor]) -> Tensor:
        """Return the one that the innermost guidance starts from: the negative's, nested the second's."""
        return answers[1 if self.nested else 0]


Guidance = CFG | DualCFG
"""What to ask a model, and what to make of its answers."""


def options_of(guidance: Guidance) -> list[Mapping[str, Any]]:
    """Return the options of every condition that is asked."""
    return [options for side in guidance.sides.values() for _, options in side or ()]
