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
PROBE_TOLERANCE = 1e-3  # of a model's answer: two that differ by less are of one model, in half precision too
_PROBE = "probe"

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
            self._folder.save(job, frames)
        self._take(job, frames)

    def _take(self, job: Job, frames: Clip) -> None:
        self.done += 1
        self._fill(job, frames)

    def _fill(self, job: Job, frames: Clip) -> None:
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
    """Finished jobs of one recursion on disk: a file each, whole or not there."""

    path: Path  # made when the first job is saved
    key: str  # hash of all that the results depend on; in every file

    def save(self, job: Job, frames: Clip) -> None:
        """Write a job's frames.

        Raises:
            OSError: the disk is full, or the folder can't be written to.
        """
        self._write(_name(job), {"frames": frames})

    def load(self, job: Job, like: Clip) -> Clip | None:
        """Return a job's frames, like others; None: it isn't finished.

        Raises:
            ValueError: its file is damaged, or another's.
        """
        frames = self._read(_name(job), "frames")
        shape = (len(job.frame_ids), *like.shape[1:])
        if frames is None:
            return None
        if frames.shape != shape or not torch.isfinite(frames).all():
            got = f"{tuple(frames.shape)} frames, expected {shape}, finite"
            raise _damaged(self._file(_name(job)), got)
        return frames.to(like)

    def is_of(self, probe: Clip) -> bool:
        """Tell whether the folder's jobs are of a model that answers like this, and note it in a new folder.

        Raises:
            OSError: the folder can't be written to.
            ValueError: its file is damaged.
        """
        probe = probe.float().cpu()
        kept = self._read(_PROBE, _PROBE)
        if kept is None:
            self._write(_PROBE, {_PROBE: probe})
            return True
        if kept.shape != probe.shape:
            return False
        apart, length = (x.square().sum().sqrt() for x in (kept - probe, probe))
        return bool(apart <= PROBE_TOLERANCE * length)

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

    What can be told of a question is in the key, by ``keys.hash_settings``; that the model is the same shows in its
    answer to what the jobs ask, the probe.

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


def _damaged(path: Path, what: str) -> ValueError:
    return ValueError(
        f"{path}: got {what}; expected a finished job of this recursion; delete this file and queue again: it is done "
        "anew, and the others are kept."
    )
