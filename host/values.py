"""What a node's inputs take, as their schemas say: one check, which both hosts ask at their doors.

ComfyUI compares a widget's value with its limits, which NaN passes, and neither values that come over a link nor values
in the place of a link. Here they are all refused, by the input's name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

NUMBERS = ("INT", "FLOAT", "FLOAT,INT")
CHOICE = "COMBO"
WIDGETS = frozenset({*NUMBERS, CHOICE, "STRING", "BOOLEAN", "COMFY_DYNAMICCOMBO_V3"})
"""Types whose value may be written in a workflow; all others come over a link."""
ANYTHING = "*"
MOST_CHOICES_SHOWN = 20  # as in ComfyUI: lists of files can be very long
MOST_SHOWN = 60  # letters of a value
_NO_TEXT = re.compile("[\0\ud800-\udfff]")  # JSON can write them; no text encoder and no file name takes them


@dataclass(frozen=True)
class Refusal:
    """Why an input can't take a value. ``kind`` is the type of error in ComfyUI."""

    kind: str
    got: str
    expected: str


def is_socket(kind: str) -> bool:
    """Tell whether an input of a type takes links alone. ``kind`` may be several types with commas between."""
    kinds = {each.strip() for each in kind.split(",")}
    return not kinds & {*WIDGETS, ANYTHING}


def refuse_value(
    kind: str, options: Mapping[str, Any], value: Any, *, choices: bool = True
) -> Refusal | None:
    """Return why a widget can't take a value, or None.

    Args:
        kind: the input's type.
        options: options of the input's schema: ``min``, ``max``, ``options``, ``multiselect``.
        value: value of the widget, or of a link.
        choices: True if the input takes only a list's names; else it takes any text.
    """
    if kind in NUMBERS:
        return _refuse_number(kind, options, value)
    if kind == CHOICE:
        return _refuse_choice(options, value, choices)
    if isinstance(value, str) and _NO_TEXT.search(value):
        return Refusal(
            "invalid_input_type", show(value), "text without \\u0000 and half characters (\\ud800 to \\udfff)"
        )
    return None


def refuse_input(
    kind: str, options: Mapping[str, Any], value: Any, *, required: bool, choices: bool = True
) -> Refusal | None:
    """Return why a node that is about to run can't take an input's value, or None. Arguments: see ``refuse_value``.

    ``required``: whether the node can't do without; nothing else may be None.
    """
    if value is None:
        needed = required and kind != ANYTHING and not options.get("lazy")
        return Refusal("required_input_missing", "nothing", f"a {kind}") if needed else None
    if is_socket(kind):  # what is seen to be a value of a workflow, not of a node
        is_written = isinstance(value, str | Real) or (isinstance(value, dict) and not value)
        return refuse_literal(kind, value) if is_written else None
    return refuse_value(kind, options, value, choices=choices)


def refuse_literal(kind: str, value: Any) -> Refusal | None:
    """Return why a value can't stand where a link must, or None."""
    if value is None or not is_socket(kind):
        return None
    return Refusal("invalid_input_type", show(value), f"a link to a node that gives a {kind}")


def show(value: Any) -> str:
    """Return a value as Python prints it, cut where it is long."""
    return repr(value)[:MOST_SHOWN]


def _refuse_number(kind: str, options: Mapping[str, Any], value: Any) -> Refusal | None:
    least, most = options.get("min"), options.get("max")
    is_nan = value != value
    if not isinstance(value, Real) or is_nan or (kind == "INT" and value % 1 != 0):
        limits = "" if least is None or most is None else f" from {least} to {most}"
        return Refusal("invalid_input_type", show(value), f"a value that is a {kind}{limits}")
    if least is not None and value < least:
        return Refusal("value_smaller_than_min", show(value), f"at least {least}")
    if most is not None and value > most:
        return Refusal("value_bigger_than_max", show(value), f"at most {most}")
    return Refusal("invalid_input_type", show(value), "a finite number") if abs(value) == math.inf else None


def _refuse_choice(options: Mapping[str, Any], value: Any, choices: bool) -> Refusal | None:
    names = list(options.get("options", []))
    several = value if options.get("multiselect") and isinstance(value, list) else [value]
    if all(each in names or (isinstance(each, str) and not choices) for each in several):
        return None
    shown = f"one of {names}" if len(names) <= MOST_CHOICES_SHOWN else f"one of {len(names)} names"
    return Refusal("value_not_in_list", show(value), shown if names else "a file; the folder has none")
