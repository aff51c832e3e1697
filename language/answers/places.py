"""The unit in which a language model counts places and times: percent, as asked for, or shares 0..1, or thousandths.

All boxes of an answer have one unit, which must fit all of them. If two units fit, neither is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Unit = Literal["percent", "0..1", "0..1000"]
Key = dict[str, float]  # numbers t, x, y, w, h

# Size of the picture, or length of the scene, in each unit.
WHOLE: dict[Unit, float] = {"0..1": 1.0, "percent": 100.0, "0..1000": 1000.0}
TOLERANCE = 0.1  # share of the picture by which a box may stick out; it is moved back
HALF = 0.56  # share of 1000 up to which numbers can also be pixels of 512


def find_unit(keys: Sequence[Key], before: Unit | None = None) -> tuple[Unit | None, str]:
    """Return the unit of the places of boxes, or the two that fit.

    Args:
        keys: keys of all boxes of an answer.
        before: unit of the same model's other boxes in the same storyboard; None: there are none yet.

    Returns:
        The unit, or None and what could be meant.

    Examples:
        >>> box = dict(t=0, x=0.1, y=0.5, w=0.3, h=0.3)
        >>> find_unit([box]), find_unit([{name: 1000 * value for name, value in box.items()}])
        (('0..1', ''), ('0..1000', ''))
        >>> find_unit([dict(t=0, x=0, y=0, w=1, h=1)])
        (None, 'percent and 0..1')
    """
    values = [key[name] for key in keys for name in "xywh"]
    highest = max(map(abs, values), default=0.0)
    if highest <= 1 + TOLERANCE:
        sure = before == "0..1" or any(value % 1 for value in values)
        return ("0..1", "") if sure else (None, "percent and 0..1")
    if highest <= 100 * (1 + TOLERANCE):
        return "percent", ""
    if highest > 1000 * (1 + TOLERANCE) or min(values) < -1000 * TOLERANCE:
        return "percent", ""  # the error then speaks of percent
    from_zero = _can_be_corners(keys)
    reach = max(key[side] + key[start] * (not from_zero) for key in keys for start, side in ("xw", "yh"))
    sure = before == "0..1000" or reach > 1000 * HALF
    return ("0..1000", "") if sure else (None, "0..1000 and pixels")


def find_time_unit(times: Sequence[float], unit: Unit) -> tuple[Unit | None, str]:
    """Return the unit of times, or the two that fit. ``unit`` is that of the places.

    Examples:
        >>> find_time_unit([0, 0.5, 1], "percent"), find_time_unit([0, 1], "percent")
        (('0..1', ''), (None, 'percent and 0..1'))
        >>> find_time_unit([0, 100], "0..1000"), find_time_unit([0, 240], "percent")
        (('percent', ''), ('percent', ''))
    """
    highest = max(times, default=0.0)
    if 0 < highest <= 1:
        sure = unit == "0..1" or any(time % 1 for time in times)
        return ("0..1", "") if sure else (None, "percent and 0..1")
    if 100 < highest <= 1000 and (unit == "0..1000" or highest == 1000):
        return "0..1000", ""
    return "percent", ""


def turn_corners(keys: Sequence[Key], unit: Unit) -> None:
    """Read w and h as right and bottom if all boxes can be corners and some box can't be anything else."""
    most = WHOLE[unit] * (1 + TOLERANCE)
    outside = any(key["x"] + key["w"] > most or key["y"] + key["h"] > most for key in keys)
    within = all(key[name] <= most for key in keys for name in "wh")
    if outside and within and _can_be_corners(keys):
        for key in keys:
            key["w"], key["h"] = key["w"] - key["x"], key["h"] - key["y"]


def _can_be_corners(keys: Sequence[Key]) -> bool:
    return all(key["w"] > key["x"] and key["h"] > key["y"] for key in keys)
