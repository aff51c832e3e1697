"""Write a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
from collections.abc import Generator
from pathlib import Path

from safetensors import SafetensorError

PROBE = bytes(4096)


@contextlib.contextmanager
def whole_file(
    path: Path, *, size: int | None = None, advice: str = "make room and run again"
) -> Generator[Path]:
    """Give a temporary name beside ``path`` to write to; it becomes ``path`` only if the block ends well.

    Args:
        path: path of the file; its folder is made if there is none.
        size: number of bytes that it takes, for the error; None: it is not known.
        advice: words for the error on what to do.

    Raises:
        OSError: the disk is full, or the folder can't be written to; names the file and says what to do.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.touch()
            mode = part.stat().st_mode
            yield part
            part.chmod(mode)  # safetensors puts a file of its own there, which nobody else may read
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:  # safetensors has its own for a full disk
        room = "room" if size is None else f"about {size:,} bytes of room"
        raise OSError(
            f"{path}: could not be written ({error}); expected {room} in a folder that can be written to; {advice}."
        ) from error


def try_folder(folder: Path) -> None:
    """Raise OSError, which says why, unless files can be written to a folder, there or not yet. Leaves nothing."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(PROBE)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(
            error.errno,
            f"{there}: nothing can be written there ({error.strerror}); expected a folder with room that may be "
            "written to; make room, or choose another",
        ) from error


def write_whole(path: Path, data: bytes, kept: str) -> None:
    """Write a file of a folder that is filled bit by bit, down to the disk.

    Args:
        path: path of the file; its folder is made if there is none.
        data: content of the file.
        kept: words for the error on what stays where this fails.
    """
    advice = f"make room and queue again: {kept}"
    with whole_file(path, size=len(data), advice=advice) as part, part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
