"""Finished jobs of a long video, kept on disk: found again by the same question to the same model, and by no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..files.header_order import save_ordered
from ..files.whole_file import write_whole

FORMAT = "frameloom-nuwa/1"
PROBE_TOLERANCE = 1e-3  # of a model's answer: two that differ by less are of one model, in half precision too
_PROBE = "probe"


@dataclass(frozen=True)
class JobFolder:
    """Finished jobs of one video on disk: a file each, whole or not there."""

    path: Path  # made when the first job is saved
    key: str  # hash of all that the results depend on; in every file

    def save(self, name: str, frames: Tensor) -> None:
        """Write a job's latents, by the job's name, [...] float.

        Raises:
            OSError: the disk is full, or the folder can't be written to.
        """
        self._write(name, {"frames": frames})

    def load(self, name: str, shape: Sequence[int]) -> Tensor | None:
        """Return a job's latents, of a shape; None: it isn't finished.

        Raises:
            ValueError: its file is damaged, or another's.
        """
        frames = self._read(name, "frames")
        if frames is None:
            return None
        if frames.shape != torch.Size(shape) or not torch.isfinite(frames).all():
            raise _damaged(self._file(name), f"{tuple(frames.shape)} frames, expected {tuple(shape)}, finite")
        return frames

    def is_of(self, probe: Tensor) -> bool:
        """Tell whether the folder's jobs are of a model that answers like this, [...], and note it in a new folder.

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
                    raise _damaged(path, "another video's file")
                return file.get_tensor(key)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError) as error:
            raise _damaged(path, str(error)) from error


def probe_steps(steps: int) -> list[int]:
    """Return the steps of a run at which a model is probed: what is timed acts at some of them."""
    return sorted({0, steps // 2, steps - 1})


def open_folder(parent: Path, key: str, probe: Tensor) -> JobFolder:
    """Return the folder of a video: the one that has its jobs already, or a new one.

    What can be told of a question is in the key, by ``keys.hash_settings``; that the model is the same shows in its
    answer to what the jobs ask, the probe, [...] float.

    Raises:
        OSError: the folder can't be written to.
        ValueError: its file is damaged.
    """
    number = 1
    while not (folder := JobFolder(parent / f"{key[:16]}-{number}", key)).is_of(probe):
        number += 1
    return folder


def _damaged(path: Path, what: str) -> ValueError:
    return ValueError(
        f"{path}: got {what}; expected a finished job of this video; delete this file and queue again: it is done "
        "anew, and the others are kept."
    )
