"""Tune a language model: the loss of its answers, and the loop's settings.

The caller brings the network, with what learns in it, and draws lessons. LoRA (Hu et al. 2021), if that is what learns,
is the caller's, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..loop import LoopSettings, train
from .lessons import UNASKED, Row


@dataclass(frozen=True, slots=True)
class TuningSettings:
    """Settings of a tuning.

    Attributes:
        steps: number of steps of the optimiser.
        learning_rate: highest learning rate; a cosine takes it down.
        seed: seed of every draw.
    """

    steps: int
    learning_rate: float
    seed: int

    @property
    def loop(self) -> LoopSettings:
        """The optimiser's settings."""
        warmup = min(50, 1 + self.steps // 10)
        return LoopSettings(self.steps, self.learning_rate, warmup=warmup, ema_decay=0.98, seed=self.seed)


def tune(
    network: Any,
    draw: Callable[[torch.Generator], Row],
    settings: TuningSettings,
    *,
    checkpoint: Path | None = None,
    checkpoint_every: int = 100,
    key: str = "",
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> None:
    """Tune what wants a gradient in a network, and leave the average over the last steps in it.

    Args:
        network: causal language model of transformers.
        draw: function from a step's generator to the row that the step learns from.
        settings: settings of the tuning.
        checkpoint: file to go on from, as ``loop.train`` has it.
        checkpoint_every: steps between saves.
        key: hash of everything else that the run depends on.
        on_step: callback of ``loop.train``.
    """
    learning = {name: value for name, value in network.named_parameters() if value.requires_grad}
    averaged = train(
        learning,
        lambda step, generator: answer_loss(network, draw(generator)),
        settings.loop,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        key=key,
        on_step=on_step,
    )
    with torch.no_grad():
        for name, value in learning.items():
            value.copy_(averaged[name])


def answer_loss(network: Any, row: Row) -> Tensor:
    """Return the mean cross-entropy of a row's answers, in nats a token."""
    device = next(iter(nn.Module.parameters(network))).device
    asked = (row.targets != UNASKED).nonzero().flatten()
    logits = network(
        input_ids=row.tokens[None].to(device),
        position_ids=row.positions[None].to(device),
        attention_mask=row.mask(network.dtype).to(device),
        logits_to_keep=asked.to(device),
        use_cache=False,
    ).logits[0]
    return functional.cross_entropy(logits.float(), row.targets[asked].to(device))


@torch.no_grad()
def measure(network: Any, rows: Sequence[Row]) -> float:
    """Return the mean of ``answer_loss`` over rows."""
    return sum(float(answer_loss(network, row)) for row in rows) / len(rows)
