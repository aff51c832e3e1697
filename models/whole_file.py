"""Write a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; it becomes ``path`` only if the block ends well."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        part.touch()
        mode = part.stat().st_mode
        yield part
        part.chmod(mode)  # safetensors puts a file of its own there, which nobody else may read
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes, kept: str) -> None:
    """Write a file of a folder that is filled bit by bit, down to the disk; the folder is made if there is none.

    Args:
        path: of the file.
        data: all of it.
        kept: what stays where this fails, for the error.

    Raises:
        OSError: the disk is full, or the folder can't be written to; says what to do.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part, part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(
            error.errno,
            f"{path}: {error.strerror}; expected {len(data):,} bytes of room in a folder that can be written to; "
            f"make room and queue again: {kept}",
        ) from error
