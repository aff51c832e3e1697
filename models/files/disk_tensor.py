"""A tensor that lies in a file, for results larger than what memory should hold."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

_CHUNK = bytes(1 << 20)


def disk_tensor(shape: Sequence[int], folder: Path) -> Tensor:
    """Return a tensor of zeros, [...] float32, in a file without a name, which goes when the tensor does.

    What is written to it goes to the disk by and by, so it takes hardly any memory of the process. Its room is
    taken now: a full disk is an error here, and not a crash later.

    Args:
        shape: lengths of its axes, at least 1 each.
        folder: folder on a disk with room; made if there is none.

    Raises:
        OSError: the disk is full, or the folder can't be written to; says what to do.
    """
    size = prod(shape) * torch.float32.itemsize
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            _reserve(file, size)
            view = mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise OSError(
            f"{folder}: a result of {size:,} bytes could not be laid there ({error}); expected that much room in a "
            "folder that can be written to; make room and queue again: finished jobs are kept."
        ) from error
    return torch.frombuffer(view, dtype=torch.float32).view(*shape)


def _reserve(file: BinaryIO, size: int) -> None:
    """Give a file its size, and all of its room on the disk."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    for start in range(0, size, len(_CHUNK)):
        file.write(_CHUNK[: size - start])
    file.flush()
