"""Right answers of language models, kept on disk by their question. Bounded; checked again when read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from ...models.files.whole_file import write_whole

MAX_FILES = 512
MAX_BYTES = 16 * 1024 * 1024


class AnswerCache:
    """A folder of answers, a file each, named by the hash of the question. The oldest are removed first.

    The folder is made when the first answer is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, question: Sequence[str | int]) -> str | None:
        """Return the stored answer, or None. The caller checks it as if it were new."""
        try:
            return self._path(question).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def write(self, question: Sequence[str | int], answer: str) -> None:
        """Store an answer, whole or not at all. An answer longer than ``MAX_BYTES`` is not stored.

        Raises:
            OSError: the disk is full, or the folder can't be written to; says what to do.
        """
        data, path = answer.encode("utf-8"), self._path(question)
        if len(data) > MAX_BYTES:
            return
        write_whole(path, data, "answers that are kept are not asked for again")
        self._trim(path)

    def _path(self, question: Sequence[str | int]) -> Path:
        text = json.dumps(list(question))
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()}.json"

    def _trim(self, newest: Path) -> None:
        """Remove the oldest answers until the rest is within bounds; another process may do the same meanwhile."""
        entries: list[tuple[bool, int, Path, int]] = []
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
