"""One row of the table: its figures, its bootstrap interval, and how it stands to its target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from frameloom.training.loop import step_generator
from torch import Tensor

SEED = 31_337  # of every prompt set, start noise and resampling
RESAMPLES = 2000


@dataclass(frozen=True)
class Row:
    """One measured claim.

    Attributes:
        claim, arm: claim that is measured, and arm that it is measured on (the technique, or one of its controls).
        value, low, high: the figure and its 95 % bootstrap interval.
        count: independent samples.
        target: bound for the interval, ``>= low``, ``<= high`` or ``low .. high``; nothing for a control.
    """

    claim: str
    arm: str
    value: float
    low: float
    high: float
    count: int
    target: str = ""


def show_number(number: float, entry: Mapping[str, Any]) -> str:
    """Return a figure of a row for a table, with powers of ten where three decimals would say nothing."""
    largest = max(abs(entry["low"]), abs(entry["high"]))
    return f"{number:{'.0e' if 0 < largest < 0.001 else '.3f'}}"


def mean(values: Tensor) -> Tensor:
    """Return the mean of each set of samples. ``values``: [R, N]."""
    return values.mean(1)


def row(
    claim: str, arm: str, values: Tensor, target: str = "", statistic: Callable[[Tensor], Tensor] = mean
) -> Row:
    """Summarise samples by a figure of all of them, and its percentile bootstrap.

    Args:
        claim: claim, as in ``Row``.
        arm: arm, as in ``Row``.
        values: [N, ...], one entry per sample.
        target: bound, as in ``Row``.
        statistic: [R, N, ...] float64, R sets of samples -> [R].
    """
    values = values.double()
    picks = torch.randint(len(values), (RESAMPLES, len(values)), generator=step_generator(SEED, 0))
    low, high = torch.quantile(
        statistic(values[picks]), torch.tensor([0.025, 0.975], dtype=torch.float64)
    ).tolist()
    return Row(claim, arm, float(statistic(values[None])[0]), low, high, len(values), target)


def table(
    subject: str,
    arms: Sequence[str],
    claims: Sequence[str],
    figures: Tensor,
    targets: Mapping[str, str],
    technique: str,
) -> list[Row]:
    """Summarise what was measured of every arm.

    Args:
        subject: subject of the claims.
        arms: arms by their names.
        claims: claims by their names, in the order of the figures.
        figures: [arms, samples, claims].
        targets: bounds of claims that have one.
        technique: the arm that they are for.
    """
    return [
        row(f"{subject}: {claim}", arm, column, targets.get(claim, "") if arm == technique else "")
        for arm, values in zip(arms, figures, strict=True)
        for claim, column in zip(claims, values.unbind(1), strict=True)
    ]


def agreement(found: Tensor, wanted: Tensor | int) -> Tensor:
    """Return 1 where the detector found what was asked for, else 0."""
    return (found == wanted).double()


def judge(entry: dict) -> str:
    """Say how a row stands to its target."""
    target = entry["target"]
    if not target:
        return ""
    if target.startswith("<= "):
        low, high = float("-inf"), float(target.removeprefix("<= "))
    else:
        first, _, last = target.removeprefix(">= ").partition(" .. ")
        low, high = float(first), float(last or "inf")
    if entry["low"] >= low and entry["high"] <= high:
        return "yes"
    return "by the mean only" if low <= entry["value"] <= high else "**no**"
