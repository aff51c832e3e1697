"""Answers of language models that were found right, kept on disk by what was asked. Bounded; never trusted."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

MAX_FILES = 512
MAX_BYTES = 16 * 1024 * 1024


class AnswerCache:
    """A folder of answers: a file each, named by the hash of what was asked; the oldest go first.

    Args:
        folder: made when the first answer is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, question: Sequence[str | int]) -> str | None:
        """Return the answer that is kept, if one is: whoever asks checks it as if it were new."""
        try:
            return self._path(question).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def write(self, question: Sequence[str | int], answer: str) -> None:
        """Keep an answer, whole or not at all; one longer than ``MAX_BYTES`` is not kept."""
        data = answer.encode("utf-8")
        if len(data) > MAX_BYTES:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._folder, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(name).replace(self._path(question))
        finally:
            Path(name).unlink(missing_ok=True)
        self._trim(self._path(question))

    def _path(self, question: Sequence[str | int]) -> Path:
        text = json.dumps(list(question))
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()}.json"

    def _trim(self, newest: Path) -> None:
        """Remove the oldest answers until the rest is within bounds; another process may do the same meanwhile."""
        entries = []
        for path in self._folder.glob("*.json"):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            entries.append((path != newest, -stat.st_mtime_ns, path, stat.st_size))
        total = 0
        for number, (_, _, path, size) in enumerate(sorted(entries)):
            total += size
            if number >= MAX_FILES or total > MAX_BYTES:
                path.unlink(missing_ok=True)
