"""Finished clips on disk: a ZIP of PNG files each, whole or not there, named by all that it depends on."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

from ...models.files.keys import hash_settings
from ...models.files.whole_file import write_whole
from .split import FarmJob

_FIRST_DAY = (1980, 1, 1, 0, 0, 0)  # in place of the time, so that equal clips are equal files


class KeptClips:
    """The folder of finished clips. Several farms may use it at a time: a clip is the same whoever writes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, job: FarmJob) -> bool:
        """Tell whether a clip is finished."""
        return self._file(job).exists()

    def save(self, job: FarmJob, pictures: Sequence[bytes]) -> None:
        """Keep a clip's PNG files.

        Raises:
            OSError: the disk is full, or the folder can't be written to.
        """
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            for number, picture in enumerate(pictures):
                archive.writestr(zipfile.ZipInfo(f"{number:05}.png", _FIRST_DAY), picture)
        write_whole(self._file(job), data.getvalue(), "finished clips are kept")

    def load(self, job: FarmJob) -> list[bytes]:
        """Return a finished clip's PNG files.

        Raises:
            ValueError: its file is damaged.
        """
        path = self._file(job)
        try:
            with zipfile.ZipFile(path) as archive:
                return [archive.read(name) for name in sorted(archive.namelist())]
        except (zipfile.BadZipFile, OSError) as error:
            raise ValueError(
                f"{path}: got {error}; expected a finished clip; delete this file and start again: it is drawn anew, "
                "and the others are kept."
            ) from error

    def _file(self, job: FarmJob) -> Path:
        key = hash_settings(prompt=job.prompt, ends=job.ends)
        return self.folder / f"clip-{job.index or 0:05}-{key[:24]}.zip"
