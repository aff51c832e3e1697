"""A motion module's weights made larger or smaller: w <- (w + a) m, for all of them or for a kind of them.

Source: AnimateDiff-Evolved's weight adjustments, https://github.com/Kosinkadink/ComfyUI-AnimateDiff-Evolved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, get_args

from .checkpoint import MotionWeights

Kind = Literal[
    "all", "positions", "attention", "queries", "keys", "values", "output weights", "output biases", "other"
]
"""Kinds of a module's weights. ``attention``: all of its layers; ``other``: neither these nor positions."""
KINDS: tuple[Kind, ...] = get_args(Kind)

_IN_ATTENTION = r"\.attention_blocks\.\d+\."
_KEYS: Mapping[Kind, re.Pattern[str]] = {
    "all": re.compile(""),
    "positions": re.compile(_IN_ATTENTION + "pos_encoder"),
    "attention": re.compile(_IN_ATTENTION + "to_"),
    "queries": re.compile(_IN_ATTENTION + "to_q"),
    "keys": re.compile(_IN_ATTENTION + "to_k"),
    "values": re.compile(_IN_ATTENTION + "to_v"),
    "output weights": re.compile(_IN_ATTENTION + r"to_out.*weight$"),
    "output biases": re.compile(_IN_ATTENTION + r"to_out.*bias$"),
    "other": re.compile(rf"^(?!.*{_IN_ATTENTION})"),
}


def adjust_weights(weights: MotionWeights, kind: Kind, add: float, multiply: float) -> MotionWeights:
    """Return a module with weights of a kind changed, in the dtypes that they have.

    Args:
        weights: weights of the module; they stay as they are, and what does not change is shared.
        kind: kind of the weights.
        add: summand a.
        multiply: factor m, on the sum.
    """
    chosen = _KEYS[kind]
    state = {
        key: (value + add) * multiply if chosen.search(key) else value for key, value in weights.state.items()
    }
    return replace(weights, state=state)
