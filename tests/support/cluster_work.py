"""What the tests of a Ray cluster let its workers do; they import it, as they do the pack."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from frameloom.models.long_video.nuwa_fill import Filling, fill_between
from frameloom.models.long_video.nuwa_tree import Job
from torch import nn


@dataclass(frozen=True)
class Smooth:
    """Fills a job as a model would: a small network takes a few steps; then what the test wants happens.

    Attributes:
        network: takes a step.
        folder: where tries of jobs are noted.
        at: level and index of the job at which something happens.
        kill: how often the worker dies in the middle of that job.
        error: raised by that job.
        seconds: that every job takes at least.
    """

    network: nn.Module
    folder: Path
    at: tuple[int, int] | None = None
    kill: int = 0
    error: str = ""
    seconds: float = 0.0
    steps: int = 3

    def __call__(self, job, ends, watch):
        is_chosen = (job.level, job.index) == self.at
        tries = self._note(job)
        sigmas = torch.linspace(3.0, 0.0, self.steps + 1)

        def sample(latents, noise, levels):
            if is_chosen and tries <= self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            if is_chosen and self.error:
                raise ValueError(self.error)
            return self.network(latents + levels[0] * noise)

        time.sleep(self.seconds)
        return fill_between(job, ends, Filling(), seed=5, sigmas=sigmas, unit=1.0, sample=sample)

    def _note(self, job: Job) -> int:
        """Note a try of a job, and return how many there were."""
        path = self.folder / f"{job.level}-{job.index}"
        with path.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return len(path.read_text().split())

    def tries(self, level, index):
        """Return the processes that tried a job."""
        return [int(line) for line in (self.folder / f"{level}-{index}").read_text().split()]


def smooth(folder, **settings):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = nn.Sequential(nn.Conv2d(4, 32, 3, padding=1), nn.SiLU(), nn.Conv2d(32, 4, 3, padding=1))
    return Smooth(network.requires_grad_(False), folder, **settings)


class Unreadable:
    """Work that no other process can read from its pickle."""

    steps = 1

    def __reduce__(self):
        return _raise_at_reading, ()


def _raise_at_reading():
    raise AttributeError("this torch has no such dtype")
