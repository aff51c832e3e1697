"""The processes that share the micro-batches of a training step: one alone, or several through accelerate."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from importlib import import_module
from typing import Any, Protocol

import torch
from torch import Tensor

# A process waits so long for others. The main one draws samples, and clips take different times to encode.
_PATIENCE = timedelta(days=1)
_BUCKET = 1 << 25  # bytes that are summed at once, since waiting costs more than copies


class Team(Protocol):
    """Processes that take the same steps. The main one, of rank 0, writes files and messages."""

    @property
    def count(self) -> int:
        """The number of processes."""
        ...

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        ...

    def sum(self, values: Sequence[Tensor]) -> None:
        """Replace tensors of one dtype by their sums over all processes, in place. Each process waits for all."""
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

        # An optimizer's first step imports it, and its functions hold the group that they find then: for good.
        import_module("torch.distributed.nn")
        self._accelerator: Any = Accelerator(
            cpu=on_cpu, kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)]
        )
        # A thread of gloo that asks for Python's lock while Python ends aborts the process.
        atexit.register(self._accelerator.end_training)
        self.device: torch.device = self._accelerator.device
        self.count: int = self._accelerator.num_processes
        self.rank: int = self._accelerator.process_index

    def sum(self, values: Sequence[Tensor]) -> None:
        """Replace tensors by their sums over all processes, many at once."""
        for bucket in _buckets(values):
            flat = torch.cat([value.reshape(-1) for value in bucket]).to(self.device)
            parts = self._accelerator.reduce(flat, "sum").split([value.numel() for value in bucket])
            for value, part in zip(bucket, parts, strict=True):
                value.copy_(part.view_as(value))


def _buckets(values: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Group neighbouring tensors up to ``_BUCKET`` bytes."""
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
    """Return the number of processes that a launcher, such as ``accelerate launch``, started; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def gather(team: Team, *numbers: float) -> list[list[float]]:
    """Return the numbers of all processes, by rank. Integers are exact up to 2^53.

    Args:
        team: the processes.
        numbers: numbers of this process.
    """
    table = torch.zeros(team.count, len(numbers), dtype=torch.float64)
    table[team.rank] = torch.tensor(numbers, dtype=torch.float64)
    team.sum([table])
    return table.tolist()


def check_shares(accumulation: int, team: Team) -> None:
    """Check that the micro-batches of a step can be shared evenly.

    Args:
        accumulation: number of micro-batches in a step.
        team: the processes.

    Raises:
        ValueError: their number is not a multiple of the number of processes.
    """
    if accumulation % team.count:
        enough = -(-accumulation // team.count) * team.count
        raise ValueError(
            f"accumulation={accumulation} can't be shared evenly among {team.count} processes; expected a multiple of "
            f"{team.count}; set it to {enough}, or start fewer."
        )
