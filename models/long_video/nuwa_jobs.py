"""The local jobs of NUWA-XL's recursion: which can start, what they start from, and their results, kept on disk.

Owns order and frames; ``job_folder`` has the files. What a job does is ``nuwa_fill``'s, where it runs is the host's.
"""

from __future__ import annotations

import heapq
import logging
import time
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from ..errors import HostError
from ..video.guards import check_frames
from ..video.shapes import Clip
from .job_folder import JobFolder
from .nuwa_tree import Job, Tree

logger = logging.getLogger(__name__)

Watch = Callable[[int, Tensor | None], None]
"""Told how many steps of a job are done, and a preview if there is one."""


class Work(Protocol):
    """What every job does; can be pickled, and acts the same wherever it is."""

    @property
    def steps(self) -> int:
        """How many steps a job takes."""
        ...

    def __call__(self, job: Job, ends: Clip, watch: Watch) -> Clip:
        """Return the frames of a job between two ends, which are among them, bit for bit."""
        ...


class Recursion:
    """A video that is being filled, level by level.

    ``frames`` are latents of the whole video, on the keyframes' device; ``done`` jobs are finished, of which the folder
    had ``kept``, and gets the others.

    Raises:
        ValueError: the keyframes don't fit the tree, or aren't finite; a file of the folder is damaged.
    """

    def __init__(self, tree: Tree, keyframes: Clip, folder: JobFolder | None = None) -> None:
        check_keyframes(tree, keyframes)
        self.tree, self._folder = tree, folder
        self.frames = keyframes.new_zeros(tree.frames, *keyframes.shape[1:])
        self.done = self.kept = 0
        self._ready: list[Job] = []  # a heap
        self._fill(tree.keyframes, keyframes)

    def start(self) -> Job | None:
        """Return the next job whose ends are there, from the upper levels first; None: none for now."""
        return heapq.heappop(self._ready) if self._ready else None

    def give_back(self, job: Job) -> None:
        """Let a job that was started, and not finished, be started again."""
        heapq.heappush(self._ready, job)

    def ends(self, job: Job) -> Clip:
        """Return the two frames that a job fills the gap between."""
        return self.frames[[job.frame_ids[0], job.frame_ids[-1]]]

    def finish(self, job: Job, frames: Clip) -> None:
        """Take the result of a job that ``start`` returned: first to disk, then into the video.

        Raises:
            PredictionError: a frame is not finite.
            HostError: the ends are not what they were given as.
            OSError: the file can't be written; says what to do. What was finished before is kept.
        """
        frames = frames.to(self.frames)
        check_frames(frames, str(job))
        if not torch.equal(frames[[0, -1]], self.ends(job)):
            raise HostError(
                f"{job}: came back with other ends than it was given; expected the same bits; take out the node that "
                "changes latents while they are sampled."
            )
        if self._folder is not None:
            self._folder.save(_name(job), frames)
        self._take(job, frames)

    def _take(self, job: Job, frames: Clip) -> None:
        self.done += 1
        self._fill(job, frames)

    def _fill(self, job: Job, frames: Clip) -> None:
        self.frames[list(job.frame_ids)] = frames
        for child in self.tree.below(job):
            shape = (len(child.frame_ids), *self.frames.shape[1:])
            found = None if self._folder is None else self._folder.load(_name(child), shape)
            if found is None:
                heapq.heappush(self._ready, child)
            else:
                self.kept += 1
                self._take(child, found.to(self.frames))


def run_jobs(recursion: Recursion, work: Work, watch: Watch, check_interrupt: Callable[[], None]) -> None:
    """Do a recursion's jobs here, one after another.

    ``watch`` is told of the steps of all jobs together; ``check_interrupt`` is called before each, and raises to stop.
    """
    while (job := recursion.start()) is not None:
        check_interrupt()
        before, started = recursion.done * work.steps, time.perf_counter()
        frames = work(
            job, recursion.ends(job), lambda done, preview, before=before: watch(before + done, preview)
        )
        recursion.finish(job, frames)
        watch(before + work.steps, None)
        left = recursion.tree.local_jobs - recursion.done
        seconds = time.perf_counter() - started
        logger.info("%s took %.1f s; %d jobs are left, about %.0f s.", job, seconds, left, left * seconds)


def check_keyframes(tree: Tree, keyframes: Clip) -> None:
    """Check that latents are a tree's keyframes.

    Raises:
        ValueError: they are not [L, C, H, W].
        PredictionError: one is not finite.
    """
    if keyframes.dim() != 4 or keyframes.shape[0] != tree.length:
        raise ValueError(
            f"keyframes are {tuple(keyframes.shape)}; expected [{tree.length}, channels, height, width], as many as "
            f"the tree's length; connect Nuwa Keyframes, or {tree.length} latents of your own."
        )
    check_frames(keyframes, "keyframes")


def _name(job: Job) -> str:
    return f"job-{job.level}-{job.index:05}"
