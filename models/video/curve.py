"""Numbers that change over a clip or over sampling, as users write them, and the curve through them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

Easing = Literal["linear", "ease in", "ease out", "ease in and out", "hold", "these alone"]
"""How a curve goes from one key to the next. ``these alone``: it is 0 but at its keys."""

MOST_CHARACTERS, MOST = 100_000, 100.0
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
_ITEM = re.compile(rf"(?:(?P<key>{_NUMBER})\s*(?P<share>%?)\s*[:=]\s*)?\(?\s*(?P<value>{_NUMBER})\s*\)?")


def frame_curve(name: str, text: str, frames: int, easing: Easing = "linear") -> Tensor:
    """Read a number for each frame of a clip.

    ``1`` is for all frames. ``1, .8, .5`` is a list, whose last number goes on. ``0: 1, 8: .5, -1: 0`` has keys:
    frames, negative ones from the end (-1 is the last), or shares of the clip (``50%: 1``); keys behind the clip's end
    count for what leads there. Commas, semicolons and lines part them; a value may stand in brackets, as in Deforum.

    Args:
        name: name of the input, for errors.
        text: text as above.
        frames: length of the clip.
        easing: way from key to key; before the first and after the last the curve is level.

    Returns:
        [F] float32.

    Raises:
        ValueError: it is something else, or names a frame before the clip's first, or one twice.

    Examples:
        >>> frame_curve("strength", "0: 1, 4: 0", 5).tolist()
        [1.0, 0.75, 0.5, 0.25, 0.0]
    """
    keys, values = _read(name, text)
    if keys is None:
        return torch.tensor(values + values[-1:] * (frames - len(values)))[:frames]
    placed: dict[float, float] = {}
    for (key, is_share), value in zip(keys, values, strict=True):
        frame = round(key * (frames - 1)) if is_share else int(key)
        if not is_share and frame != key:
            raise ValueError(f"{name}: got frame {key:g}; expected a whole number; round it.")
        if frame < -frames:
            raise ValueError(
                f"{name}: got frame {frame} of a clip of {frames}; expected {-frames} or more; raise it, or frames."
            )
        _put(name, placed, frame + frames * (frame < 0), value)
    return curve(placed, torch.arange(frames), easing)


def step_keys(name: str, text: str) -> dict[float, float]:
    """Read numbers by shares of sampling: 0 is pure noise, 1 the end. ``0: 1, .5: .3``, ``0%: 1, 50%: .3``, or ``1``.

    Raises:
        ValueError: it is something else, or has a share outside 0 to 1, or one twice.
    """
    keys, values = _read(name, text)
    if keys is None and len(values) > 1:
        raise ValueError(
            f"{name}: got a list of {len(values)} numbers; expected one, or keys such as 0: 1, 0.5: 0.3; sampling has "
            "as many steps as the sampler takes, so write shares of it."
        )
    placed: dict[float, float] = {}
    for (share, _), value in zip(keys or [(0.0, False)], values, strict=True):
        if not 0 <= share <= 1:
            raise ValueError(
                f"{name}: got {share:g}; expected a share of sampling from 0 to 1; write 0.5 or 50%."
            )
        _put(name, placed, share, value)
    return placed


def curve(keys: Mapping[float, float], at: Tensor, easing: Easing) -> Tensor:
    """Return the curve through keys at some places.

    Args:
        keys: values by their places, at least one.
        at: [N]. Places.
        easing: way from key to key.

    Returns:
        [N] float32.
    """
    places = torch.tensor(sorted(keys), dtype=torch.float64)
    values = torch.tensor([keys[place] for place in sorted(keys)], dtype=torch.float64)
    at = at.double()
    before = (torch.searchsorted(places, at, right=True) - 1).clamp(min=0)
    after = (before + 1).clamp(max=len(places) - 1)
    if easing == "these alone":
        return torch.where(places[before] == at, values[before], 0.0).float()
    width = (places[after] - places[before]).clamp(min=1e-9)
    way = ((at - places[before]) / width).clamp(0, 1)
    eased = {
        "linear": way,
        "ease in": way**2,
        "ease out": 1 - (1 - way) ** 2,
        "ease in and out": (1 - torch.cos(math.pi * way)) / 2,
        "hold": (way >= 1).double(),
    }[easing]
    return torch.lerp(values[before], values[after], eased).float()


def _read(name: str, text: str) -> tuple[list[tuple[float, bool]] | None, list[float]]:
    """Return keys, each with whether it was written as a share, and values; None: there are no keys."""
    if len(text) > MOST_CHARACTERS:
        raise ValueError(
            f"{name}: got {len(text):,} characters; expected at most {MOST_CHARACTERS:,}; use keys."
        )
    keys: list[tuple[float, bool]] = []
    values: list[float] = []
    lines = text.split("\n")
    items = [
        (number, item.strip()) for number, line in enumerate(lines, 1) for item in re.split("[,;]", line)
    ]
    for line, item in items:
        if not item:
            continue
        where = f"{name} line {line}" if lines[1:] else name
        found = _ITEM.fullmatch(item)
        if found is None:
            raise ValueError(
                f"{where}: got {item[:40]!r}; expected a number, or a key and a number such as 8: 0.5; correct it."
            )
        value = float(found["value"])
        if abs(value) > MOST:
            raise ValueError(f"{where}: got {value:g}; expected {-MOST:g} to {MOST:g}; lower it.")
        values.append(value)
        if found["key"] is not None:
            share = bool(found["share"])
            keys.append((float(found["key"]) / (100 if share else 1), share))
    if not values:
        raise ValueError(f"{name}: got no number; expected one at least; write 1.")
    if keys and len(keys) < len(values):
        raise ValueError(
            f"{name}: got {len(keys)} numbers with keys and {len(values) - len(keys)} without; expected all with or "
            "all without; write the keys that are missing."
        )
    return keys or None, values


def _put(name: str, placed: dict[float, float], key: float, value: float) -> None:
    if key in placed:
        raise ValueError(f"{name}: got {key:g} twice; expected every key once; delete one.")
    placed[key] = value
