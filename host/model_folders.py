"""Kinds of files that ComfyUI has no folder for: what they end in, and what of a folder is one name.

Both hosts list by it. A kind that is not here is listed by a host's own endings. One kind is no model's: the folders in
the user's input folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePath

LANGUAGE_MODELS = "llm"
INPUT_FOLDERS = "input_folders"
CONFIG = "config.json"
ENDINGS: dict[str, tuple[str, ...]] = {
    LANGUAGE_MODELS: (".gguf", ".json"),
    "layout_priors": (".safetensors",),
}


def names_of(kind: str, files: Iterable[str]) -> list[str]:
    """Return what there is to choose from among the files of a kind's folder.

    A language model is a GGUF file, or a folder with its config; a config that lies beside GGUF files is theirs.

    Args:
        kind: kind of model file.
        files: names of the files, relative to the kind's folder.

    Examples:
        >>> names_of("llm", ["small/config.json", "small/tokenizer.json", "a.gguf", "b/b.gguf", "b/config.json"])
        ['a.gguf', 'b/b.gguf', 'small']
    """
    if kind != LANGUAGE_MODELS:
        return list(files)
    paths = [PurePath(file) for file in files]
    single = [path for path in paths if path.suffix.lower() == ".gguf"]
    beside = {PurePath(), *(path.parent for path in single)}
    folders = [path.parent for path in paths if path.name == CONFIG and path.parent not in beside]
    return sorted(str(path) for path in (*single, *folders))


def folders_in(parent: Path) -> list[str]:
    """Return the names of a folder's folders; hidden and empty ones, and links that lead out of it, are left out."""
    if not parent.is_dir():
        return []
    root = parent.resolve()
    found = [each for each in parent.iterdir() if not each.name.startswith(".") and _holds_anything(each)]
    return sorted(each.name for each in found if root in each.resolve().parents)


def folder_in(parent: Path, name: str) -> Path:
    """Return the path of one of a folder's folders.

    Raises:
        ValueError: it isn't listed.
    """
    if name not in folders_in(parent):
        raise ValueError(
            f"{INPUT_FOLDERS}: got {name!r}, which is no folder of {parent}; expected one of the list; put it there, "
            "not as a link, and press R to refresh the list."
        )
    return parent / name


def _holds_anything(folder: Path) -> bool:
    """Tell whether a folder has anything in it that this user may see."""
    try:
        return folder.is_dir() and any(folder.iterdir())
    except OSError:
        return False


def check_new_name(folder: Path, kind: str, prefix: str) -> None:
    """Check that a new file's name, which may have folders before it, stays in a kind's folder.

    Args:
        folder: folder of the kind.
        kind: name of the kind.
        prefix: start of the new name.

    Raises:
        ValueError: it leads out of the folder, or names nothing.
    """
    if not prefix.strip("/. ") or not (folder / prefix).resolve().is_relative_to(folder.resolve()):
        raise ValueError(
            f"name={prefix!r} leads out of the folder {kind}, or names nothing; expected a name inside it."
        )
