"""The processes that share the micro-batches of a training step: one alone, or several through accelerate."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any, Protocol

import torch
from torch import Tensor

# How long a process waits for the others: the main one draws samples, and clips take different times to encode.
_PATIENCE = timedelta(days=1)


class Team(Protocol):
    """Processes in step with each other. The main one, of rank 0, is the one that writes files and messages."""

    @property
    def count(self) -> int:
        """How many they are."""
        ...

    @property
    def rank(self) -> int:
        """Which one this is, from 0."""
        ...

    def sum(self, value: Tensor) -> None:
        """Replace a tensor, in place, by its sum over the processes; each waits for all."""
        ...


class Alone:
    """One process."""

    count, rank = 1, 0

    def sum(self, value: Tensor) -> None:
        """Leave the tensor, which is its own sum."""


class Accelerated:
    """The processes that ``accelerate launch`` started.

    Attributes:
        device: of this process.
    """

    def __init__(self, *, on_cpu: bool) -> None:
        """Wait for the others.

        Args:
            on_cpu: compute on the CPU, whatever there is.

        Raises:
            ImportError: accelerate is not installed.
        """
        from accelerate import Accelerator, InitProcessGroupKwargs

        self._accelerator: Any = Accelerator(
            cpu=on_cpu, kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)]
        )
        self.device: torch.device = self._accelerator.device
        self.count: int = self._accelerator.num_processes
        self.rank: int = self._accelerator.process_index

    def sum(self, value: Tensor) -> None:
        """Replace a tensor by its sum over the processes."""
        value.copy_(self._accelerator.reduce(value.to(self.device), "sum"))


ALONE = Alone()


def launched() -> int:
    """Return how many processes a launcher, such as ``accelerate launch``, started this one among; 1: it did not."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def gather(team: Team, *numbers: float) -> list[list[float]]:
    """Return every process's numbers, by rank. Each is exact up to 2^53.

    Args:
        team: the processes.
        numbers: this one's.
    """
    table = torch.zeros(team.count, len(numbers), dtype=torch.float64)
    table[team.rank] = torch.tensor(numbers, dtype=torch.float64)
    team.sum(table)
    return table.tolist()


def check_shares(accumulation: int, team: Team) -> None:
    """Check that a step's micro-batches can be dealt out evenly.

    Args:
        accumulation: how many there are.
        team: the processes.

    Raises:
        ValueError: it is no multiple of the number of processes.
    """
    if accumulation % team.count:
        enough = -(-accumulation // team.count) * team.count
        raise ValueError(
            f"accumulation={accumulation} can't be dealt out among {team.count} processes; expected a multiple of "
            f"{team.count}; set it to {enough}, or start fewer."
        )
