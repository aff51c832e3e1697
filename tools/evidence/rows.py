"""One row of the table: its figures, its bootstrap interval, and how it stands to its target."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from frameloom.training.loop import step_generator
from torch import Tensor

SEED = 31_337  # of every prompt set, start noise and resampling


@dataclass(frozen=True)
class Row:
    """One measured claim.

    Attributes:
        claim, arm: what is measured, and on what (the technique, or one of its controls).
        value, low, high: mean and the 95 % bootstrap interval.
        count: independent samples.
        target: what the interval is held against, ``>= low`` or ``low .. high``; nothing for a control.
    """

    claim: str
    arm: str
    value: float
    low: float
    high: float
    count: int
    target: str = ""


def row(claim: str, arm: str, values: Tensor, target: str = "") -> Row:
    """Summarise one value per sample: mean and percentile bootstrap of 2,000 resamples."""
    values = values.double().flatten()
    picks = torch.randint(len(values), (2000, len(values)), generator=step_generator(SEED, 0))
    means = values[picks].mean(1)
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Row(claim, arm, float(values.mean()), low, high, len(values), target)


def agreement(found: Tensor, wanted: Tensor) -> Tensor:
    """Return 1 where the detector found what was asked for, else 0."""
    return (found == wanted).double()


def judge(entry: dict) -> str:
    """Say how a row stands to its target."""
    if not entry["target"]:
        return ""
    low, _, high = entry["target"].removeprefix(">= ").partition(" .. ")
    if entry["low"] >= float(low) and entry["high"] <= float(high or "inf"):
        return "yes"
    return "by the mean only" if float(low) <= entry["value"] <= float(high or "inf") else "**no**"
