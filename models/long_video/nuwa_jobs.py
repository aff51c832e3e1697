"""The local jobs of NUWA-XL's recursion: which can start, what they start from, and their results, kept on disk.

Owns order, frames and files. What a job does is ``nuwa_fill``'s, where it runs is the host's.
"""

from __future__ import annotations

import heapq
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import HostError
from ..files.header_order import save_ordered
from ..files.whole_file import write_whole
from ..video.guards import check_frames
from ..video.shapes import Clip
from .nuwa_tree import Job, Tree

logger = logging.getLogger(__name__)

FORMAT = "frameloom-nuwa/1"
PROBE_TOLERANCE = (
    1e-3  # of a model's answer, relative, in which it is the same model; half precision stays within it
)
_PROBE = "probe"

Watch = Callable[[int, Tensor | None], None]
"""Told how many steps of a job are done, and a preview if there is one."""


class Work(Protocol):
    """What every job does; can be pickled, and acts the same wherever it is."""

    @property
    def steps(self) -> int:
        """How many steps a job takes."""
        ...

    def __call__(self, job: Job, ends: Tensor, watch: Watch) -> Tensor:
        """Do a job.

        Args:
            job: frames to draw.
            ends: [2, C, H, W]. Latents of the first and the last.
            watch: function that is told of steps.

        Returns:
            [L, C, H, W], the ends among them, bit for bit.
        """
        ...


class Recursion:
    """A video that is being filled, level by level.

    Args:
        tree: jobs of the whole video.
        keyframes: [L, C, H, W]. Latents of level 1.
        folder: place that has finished jobs and gets new ones; None: they are kept nowhere.

    Attributes:
        frames: latents of the whole video, on the keyframes' device; complete when every job is done.
        done: number of jobs that are finished.
        kept: number of these that the folder had.

    Raises:
        ValueError: the keyframes don't fit the tree, or aren't finite; a file of the folder is damaged.
    """

    def __init__(self, tree: Tree, keyframes: Tensor, folder: JobFolder | None = None) -> None:
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

    def ends(self, job: Job) -> Tensor:
        """Return the frames that a job fills the gap between, [2, C, H, W]."""
        return self.frames[[job.frame_ids[0], job.frame_ids[-1]]]

    def finish(self, job: Job, frames: Tensor) -> None:
        """Take a job's result: first to disk, then into the video.

        Args:
            job: one that ``start`` returned.
            frames: [L, C, H, W].

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
            self._folder.save(job, frames)
        self._take(job, frames)

    def _take(self, job: Job, frames: Tensor) -> None:
        self.done += 1
        self._fill(job, frames)

    def _fill(self, job: Job, frames: Tensor) -> None:
        self.frames[list(job.frame_ids)] = frames
        for child in self.tree.below(job):
            found = None if self._folder is None else self._folder.load(child, self.frames)
            if found is None:
                heapq.heappush(self._ready, child)
            else:
                self.kept += 1
                self._take(child, found)


@dataclass(frozen=True)
class JobFolder:
    """Finished jobs of one recursion on disk: a file each, whole or not there.

    Attributes:
        path: name of the folder; made when the first job is saved.
        key: hash of all that the results depend on; in every file.
    """

    path: Path
    key: str

    def save(self, job: Job, frames: Tensor) -> None:
        """Write a job's frames, [L, C, H, W].

        Raises:
            OSError: the disk is full, or the folder can't be written to.
        """
        self._write(_name(job), {"frames": frames})

    def load(self, job: Job, like: Tensor) -> Tensor | None:
        """Return a job's frames, [L, C, H, W] like another tensor of frames; None: it isn't finished.

        Raises:
            ValueError: its file is damaged, or another's.
        """
        frames = self._read(_name(job), "frames")
        shape = (len(job.frame_ids), *like.shape[1:])
        if frames is None:
            return None
        if frames.shape != shape or not torch.isfinite(frames).all():
            raise _damaged(
                self.path / f"{_name(job)}.safetensors",
                f"{tuple(frames.shape)} frames, expected {shape}, finite",
            )
        return frames.to(like)

    def is_of(self, probe: Clip) -> bool:
        """Tell whether the folder's jobs are of a model that answers like this, and note it in a new folder.

        Args:
            probe: answer of a model to what the jobs ask.

        Raises:
            OSError: the folder can't be written to.
            ValueError: its file is damaged.
        """
        probe = probe.float().cpu()
        kept = self._read(_PROBE, _PROBE)
        if kept is None:
            self._write(_PROBE, {_PROBE: probe})
            return True

        def length(x: Tensor) -> Tensor:
            return x.square().sum().sqrt()

        return kept.shape == probe.shape and bool(length(kept - probe) <= PROBE_TOLERANCE * length(probe))

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.safetensors"

    def _write(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        data = save_ordered(
            {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()},
            {"format": FORMAT, "key": self.key},
        )
        write_whole(self._file(name), data, "finished jobs are kept")

    def _read(self, name: str, key: str) -> Tensor | None:
        path = self._file(name)
        try:
            with cast("Any", safe_open)(path, framework="pt") as file:
                if (file.metadata() or {}) != {"format": FORMAT, "key": self.key}:
                    raise _damaged(path, "another recursion's file")
                return file.get_tensor(key)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError) as error:
            raise _damaged(path, str(error)) from error


def open_folder(parent: Path, key: str, probe: Clip) -> JobFolder:
    """Return the folder of a recursion: the one that has its jobs already, or a new one.

    What can be told of a question is in the key; that the model is the same shows in what it answers.

    Args:
        parent: folder that holds the folders of all recursions.
        key: hash by ``keys.hash_settings``.
        probe: answer of the model to what the jobs ask.

    Raises:
        OSError: the folder can't be written to.
        ValueError: its file is damaged.
    """
    number = 1
    while not (folder := JobFolder(parent / f"{key[:16]}-{number}", key)).is_of(probe):
        number += 1
    return folder


def run_jobs(recursion: Recursion, work: Work, watch: Watch, check_interrupt: Callable[[], None]) -> None:
    """Do a recursion's jobs here, one after another.

    Args:
        recursion: video to fill.
        work: work of every job.
        watch: function that is told of the steps of all jobs together.
        check_interrupt: function that is called before each job; raises to stop.
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


def check_keyframes(tree: Tree, keyframes: Tensor) -> None:
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


def _damaged(path: Path, what: str) -> ValueError:
    return ValueError(
        f"{path}: got {what}; expected a finished job of this recursion; delete this file and queue again: it is done "
        "anew, and the others are kept."
    )
