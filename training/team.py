"""The processes that share the micro-batches of a training step: one alone, or several through accelerate."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Protocol

import torch
from torch import Tensor

# How long a process waits for the others: the main one draws samples, and clips take different times to encode.
_PATIENCE = timedelta(days=1)
_BUCKET = 1 << 25  # bytes that are summed at once: waiting for each other costs more than the copies


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

    def sum(self, values: Sequence[Tensor]) -> None:
        """Replace tensors, all of one dtype, in place by their sums over the processes; each waits for all."""
        ...


class Alone:
    """One process."""

    count, rank = 1, 0

    def sum(self, values: Sequence[Tensor]) -> None:
        """Leave the tensors, which are their own sums."""


class Accelerated:
    """The processes that ``accelerate launch`` started.

    Attributes:
        device: device of this process.
    """

    def __init__(self, *, on_cpu: bool) -> None:
        """Wait for the others.

        Args:
            on_cpu: True to compute on the CPU, whatever devices there are.

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

    def sum(self, values: Sequence[Tensor]) -> None:
        """Replace tensors by their sums over the processes, many of them at once."""
        for bucket in _buckets(values):
            flat = torch.cat([value.reshape(-1) for value in bucket]).to(self.device)
            parts = self._accelerator.reduce(flat, "sum").split([value.numel() for value in bucket])
            for value, part in zip(bucket, parts, strict=True):
                value.copy_(part.view_as(value))


def _buckets(values: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Group tensors that follow each other."""
    bucket: list[Tensor] = []
    for value in values:
        if bucket and sum(each.nbytes for each in bucket) + value.nbytes > _BUCKET:
            yield bucket
            bucket = []
        bucket.append(value)
    if bucket:
        yield bucket


ALONE = Alone()


def launched() -> int:
    """Return how many processes a launcher, such as ``accelerate launch``, started this one among; 1: it did not."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def gather(team: Team, *numbers: float) -> list[list[float]]:
    """Return every process's numbers, by rank. Each is exact up to 2^53.

    Args:
        team: the processes.
        numbers: numbers of this process.
    """
    table = torch.zeros(team.count, len(numbers), dtype=torch.float64)
    table[team.rank] = torch.tensor(numbers, dtype=torch.float64)
    team.sum([table])
    return table.tolist()


def check_shares(accumulation: int, team: Team) -> None:
    """Check that a step's micro-batches can be dealt out evenly.

    Args:
        accumulation: number of micro-batches in a step.
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
