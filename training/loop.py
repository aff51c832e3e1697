"""The one training loop: AdamW on named parameters, warm-up and cosine, clipped gradients, EMA, exact resume.

Owns optimisation and checkpoints, nothing of what is learned: the caller gives parameters and a loss. Every random
draw comes from a generator seeded by (seed, step), so a resumed run draws what an unbroken one would have drawn.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

LossFunction = Callable[[int, torch.Generator], Tensor]


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How to optimise.

    Attributes:
        steps: optimiser steps in all.
        learning_rate: peak of AdamW's rate, reached after ``warmup`` steps, then a cosine down to
            ``final_rate`` times the peak.
        ema_decay: of the averaged weights; the effective decay grows from 0.1 towards it.
        seed: of every draw, together with the step.
    """

    steps: int
    learning_rate: float
    warmup: int = 50
    final_rate: float = 0.02
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    seed: int = 0

    def rate(self, step: int) -> float:
        """Return the learning rate of a 0-based step."""
        cosine = 0.5 * (1 + math.cos(math.pi * step / max(1, self.steps)))
        scale = self.final_rate + (1 - self.final_rate) * cosine
        return self.learning_rate * scale * min(1.0, (step + 1) / max(1, self.warmup))


def step_generator(seed: int, step: int) -> torch.Generator:
    """Return the CPU generator of one step; depends on (seed, step) only."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) % (1 << 63))


def train(
    parameters: Mapping[str, nn.Parameter],
    loss: LossFunction,
    settings: LoopSettings,
    *,
    checkpoint: Path | None = None,
    checkpoint_every: int = 250,
    on_step: Callable[[int, float], None] | None = None,
) -> dict[str, Tensor]:
    """Minimise a loss over the given parameters and return their averaged values.

    Args:
        parameters: what to train, by name. Nothing else is touched.
        loss: step and that step's generator -> scalar loss.
        settings: how to optimise.
        checkpoint: file to save to and resume from; written whole or not at all.
        checkpoint_every: steps between saves.
        on_step: called after each step with (0-based step, loss); may raise to stop.

    Returns:
        The exponential moving average of each parameter, float32, newly allocated. The parameters themselves hold
        the last step's values.

    Raises:
        ValueError: there is nothing to train, or the checkpoint holds other parameters.
        FloatingPointError: the loss is not finite; the last checkpoint stands.
    """
    if not parameters:
        raise ValueError("parameters: got none to train; expected at least one that requires a gradient.")
    names, values = list(parameters), list(parameters.values())
    optimizer = torch.optim.AdamW(values, lr=0.0, betas=settings.betas, weight_decay=settings.weight_decay)
    average = [value.detach().clone().float() for value in values]
    first = 0
    if checkpoint is not None and checkpoint.exists():
        first = _load(checkpoint, names, values, average, optimizer)
    for step in range(first, settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.rate(step)
        value = loss(step, step_generator(settings.seed, step))
        number = float(value.detach())
        if not math.isfinite(number):
            raise FloatingPointError(
                f"loss is {number} at step {step}; lower learning_rate={settings.learning_rate}."
            )
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(values, settings.clip_norm)
        optimizer.step()
        decay = min(settings.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(average, [value.detach().float() for value in values], 1 - decay)
        last = step + 1 == settings.steps
        if checkpoint is not None and (last or (step + 1) % checkpoint_every == 0):
            _save(checkpoint, step + 1, names, values, average, optimizer)
        if on_step is not None:
            on_step(step, number)
    return dict(zip(names, average, strict=True))


def _save(
    path: Path,
    step: int,
    names: list[str],
    values: list[nn.Parameter],
    average: list[Tensor],
    optimizer: torch.optim.AdamW,
) -> None:
    """Write a checkpoint atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        "step": step,
        "names": names,
        "values": [value.detach() for value in values],
        "average": average,
        "optimizer": optimizer.state_dict(),
    }
    temporary = path.with_suffix(".partial")
    torch.save(state, temporary)
    os.replace(temporary, path)


def _load(
    path: Path,
    names: list[str],
    values: list[nn.Parameter],
    average: list[Tensor],
    optimizer: torch.optim.AdamW,
) -> int:
    """Restore a checkpoint in place and return the step to go on from."""
    state = torch.load(path, weights_only=True)
    if state["names"] != names:
        raise ValueError(
            f"checkpoint {path.name}: holds {len(state['names'])} parameters that are not the {len(names)} to train; "
            "give another checkpoint path, or delete the file to start afresh."
        )
    with torch.no_grad():
        for value, stored in zip(values, state["values"], strict=True):
            value.copy_(stored)
        for value, stored in zip(average, state["average"], strict=True):
            value.copy_(stored)
    optimizer.load_state_dict(state["optimizer"])
    return state["step"]
