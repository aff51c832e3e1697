"""The folders of a run, and the names of new files in them.

Names follow ComfyUI's: ``prefix_00001_.png``, the number one above the highest that is there.
"""

from __future__ import annotations

import mimetypes
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from ...host import api
from ...models.files.whole_file import try_folder

_PREVIEW = re.compile(r"(ComfyUI_temp|preview)_\d{5,}_\.png")
_KEPT_SECONDS = 24 * 3600


class _HasFolders(Protocol):
    input_dir: Path
    output_dir: Path
    models_dir: Path


@dataclass(frozen=True)
class NewFiles:
    """Where new files of one prefix go: ``folder / f"{name}_{counter:05}_.png"``."""

    folder: Path
    subfolder: str
    name: str
    counter: int

    def filename(self, extension: str, offset: int = 0) -> str:
        """Return the name of the new file that is ``offset`` after the first. ``extension`` is without a dot."""
        name = self.name.replace("%batch_num%", str(offset))
        return f"{name}_{self.counter + offset:05}_.{extension}"


@dataclass(frozen=True)
class Folders:
    """A run's folders."""

    input: Path
    output: Path

    @property
    def temp(self) -> Path:
        """Where previews go."""
        return self.output / "temp"

    def of(self, kind: str) -> Path:
        """Return the folder of a result's ``type``: input, output or temp."""
        return {"input": self.input, "output": self.output, "temp": self.temp}[kind]

    def inputs_of(self, kind: str) -> list[str]:
        """Return the names of the input folder's files of a kind: ``image`` or ``video``, or an ending, ``.latent``."""
        if kind.startswith("."):
            return [name for name in files_in(self.input) if name.endswith(kind)]
        guesses = {name: mimetypes.guess_type(name)[0] or "" for name in files_in(self.input)}
        return [name for name, guess in guesses.items() if guess.startswith(f"{kind}/")]

    def existing(self, name: str) -> Path:
        """Return the path of a file of the input folder, or of another: ``picture.png [output]``.

        Raises:
            ValueError: the file isn't there, or lies outside its folder.
        """
        expected = self.why_missing(name)
        if expected:
            raise ValueError(f"file {name!r} was not found; {expected}.")
        return self._find(name)[1]

    def why_missing(self, name: str) -> str | None:
        """Say what was expected in place of a file's name; None: the file is there."""
        folder, path = self._find(name)
        if not path.resolve().is_relative_to(folder.resolve()):
            return f"expected a file inside {folder}"
        if not path.is_file():
            return f"expected a file of {folder} (it holds {', '.join(files_in(folder)) or 'none'})"
        return None

    def _find(self, name: str) -> tuple[Path, Path]:
        for kind in ("input", "output", "temp"):
            if name.endswith(f"[{kind}]"):
                folder = self.of(kind)
                return folder, folder / name[: -len(kind) - 2].rstrip()
        return self.input, self.input / name

    def why_unwritable(self, prefix: str | None) -> bool | str:
        """Return True, or why no file of a prefix can be written to the output folder; None, a link's, is not asked."""
        if prefix is None:
            return True
        try:
            try_folder(self._place(prefix, "output", {})[0])
        except (ValueError, OSError) as error:
            return str(error)
        return True

    def _place(self, prefix: str, kind: str, values: Mapping[str, str]) -> tuple[Path, Path]:
        """Return the folder of new files, and their prefix with values in their places."""
        relative = Path(os.path.normpath(re.sub(r"%(\w+)%", lambda m: values.get(m[1], m[0]), prefix)))
        folder = self.of(kind) / relative.parent
        if not folder.resolve().is_relative_to(self.of(kind).resolve()):
            raise ValueError(
                f"filename_prefix={prefix!r} points outside {self.of(kind)}; expected one inside it."
            )
        return folder, relative

    def new_files(self, prefix: str, kind: str = "output", width: int = 0, height: int = 0) -> NewFiles:
        """Return where new files of a prefix go, and make the folder.

        Args:
            prefix: start of the names, with a subfolder or without; ``%width% %height% %year% %month% %day% %hour%
                %minute% %second%`` in it are filled in.
            kind: output or temp.
            width: picture's width in pixels.
            height: picture's height in pixels.

        Raises:
            ValueError: the prefix points outside the folder.
        """
        values = {"width": str(width), "height": str(height), **_now()}
        folder, relative = self._place(prefix, kind, values)
        folder.mkdir(parents=True, exist_ok=True)
        pattern = re.compile(re.escape(relative.name) + r"_(\d+)", re.IGNORECASE if os.name == "nt" else 0)
        numbers = [int(match[1]) for name in os.listdir(folder) if (match := pattern.match(name))]
        if kind == "temp":
            _remove_old_previews(folder)
        subfolder = "" if relative.parent == Path() else str(relative.parent)
        return NewFiles(folder, subfolder, relative.name, max(numbers, default=0) + 1)

    def new_path(self, prefix: str, extension: str, width: int, height: int) -> Path:
        """Return where one new file of a prefix goes in the output folder; see ``new_files``."""
        new = self.new_files(prefix, width=width, height=height)
        return new.folder / new.filename(extension)


def files_in(folder: Path) -> list[str]:
    """Return the sorted names of a folder's files; none where there is no such folder."""
    return sorted(each.name for each in folder.iterdir() if each.is_file()) if folder.is_dir() else []


def _remove_old_previews(folder: Path) -> None:
    """Remove previews of earlier days; nothing else, as the folder may hold files of others."""
    for path in folder.iterdir():
        try:
            if _PREVIEW.fullmatch(path.name) and time.time() - path.stat().st_mtime > _KEPT_SECONDS:
                path.unlink()
        except FileNotFoundError:  # another run was faster
            continue


def folders() -> Folders:
    """Return the folders of the selected host."""
    host = cast(_HasFolders, api.port())
    return Folders(Path(host.input_dir), Path(host.output_dir))


def expected_model_file() -> str:
    """Say where files of models are looked for, where there is none to choose from."""
    folder = cast(_HasFolders, api.port()).models_dir
    state = "holds none of this kind" if folder.is_dir() else "does not exist; give another by --models"
    return f"a file in a folder of {folder.absolute()}, which {state}"


def _now() -> dict[str, str]:
    names = {"year": "%Y", "month": "%m", "day": "%d", "hour": "%H", "minute": "%M", "second": "%S"}
    return {name: time.strftime(code) for name, code in names.items()}
