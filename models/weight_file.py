"""Open a weight file without trusting it: safetensors, or a pickle of plain tensors; a file or a diffusers folder.

Owns reading, saying what is wrong with a file as a file, and writing one. What its keys mean is ``weight_kind``'s.
"""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .errors import CheckpointError
from .header_order import order_header
from .whole_file import whole_file

# What diffusers calls the weights of a model's folder, best first.
_FOLDER_FILES = tuple(
    f"diffusion_pytorch_model{variant}.{ending}"
    for ending in ("safetensors", "bin")
    for variant in ("", ".fp16")
)
_AGAIN = "download it again and compare its size with the one on its page"
# No header of a real file comes near this many bytes.
_MAX_HEADER = 100_000_000


@dataclass(frozen=True)
class WeightFile:
    """The tensors of a file, looked at before they are loaded.

    Attributes:
        name: for messages.
        shapes: of every tensor, by key.
        metadata: of a safetensors header; empty for pickles.
        config: a diffusers folder's ``config.json``; empty for files.
    """

    name: str
    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]
    config: Mapping[str, Any]
    _path: Path
    _tensors: Mapping[str, Tensor] = field(default_factory=dict, repr=False)

    def load(self, keys: Iterable[str]) -> dict[str, Tensor]:
        """Return the tensors of some keys, on the CPU, in the file's dtypes.

        Raises:
            KeyError: a key isn't in the file.
        """
        if self._tensors:
            return {key: self._tensors[key] for key in keys}
        with safe_open(self._path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in keys}


def open_weights(path: str | Path) -> WeightFile:
    """Open a weight file, or a diffusers folder with its ``config.json``.

    Args:
        path: ``.safetensors``, a torch pickle under any ending, or a folder. The content decides, not the ending.

    Returns:
        Shapes and metadata; a safetensors file's tensors stay on disk until ``load``.

    Raises:
        CheckpointError: there is no such file, or it is no weight file: empty, cut short, a web page, a git-lfs
            pointer, a pickle that holds more than tensors.
    """
    path = Path(path)
    name = path.name
    if not path.exists():
        raise CheckpointError(f"{name}: no such file; expected a weight file; choose one that is listed.")
    config: Mapping[str, Any] = {}
    if path.is_dir():
        path = _file_of_folder(path)
    if path.name in _FOLDER_FILES:
        name, config = f"{path.parent.name}/{path.name}", _read_config(path.parent)
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(1024)
    if len(head) > 8 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < _MAX_HEADER:
        return _open_safetensors(name, path, size, config)
    _refuse_text(name, head, size)
    if head[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return _open_pickle(name, path, size, config)
    raise CheckpointError(
        f"{name}: its first bytes are {head[:8]!r}, neither safetensors nor a torch file of {size} bytes; "
        f"{_AGAIN}."
    )


def fingerprint(path: str | Path) -> str:
    """Return a text that changes when a weight file, or any file of a folder, is replaced; reads no content."""
    path = Path(path)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    facts = [(file.name, stat.st_size, stat.st_mtime_ns) for file in files for stat in [file.stat()]]
    return repr(facts)


def _file_of_folder(folder: Path) -> Path:
    file = next((folder / name for name in _FOLDER_FILES if (folder / name).is_file()), None)
    if file is None:
        raise CheckpointError(
            f"{folder.name}: a folder without {_FOLDER_FILES[0]}; expected a diffusers model folder with that file "
            "and config.json; choose such a folder, or one weight file."
        )
    return file


def _read_config(folder: Path) -> Mapping[str, Any]:
    """Return a diffusers folder's config, empty where it has none."""
    file = folder / "config.json"
    if not file.is_file():
        return {}
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(
            f"{folder.name}/config.json: not JSON ({error}); expected a diffusers config; download it again."
        ) from error
    if not isinstance(config, dict):
        raise CheckpointError(
            f"{folder.name}/config.json: got a {type(config).__name__}; expected an object; download it again."
        )
    return config


def _refuse_text(name: str, head: bytes, size: int) -> None:
    """Raise for the things that downloads leave in place of weights."""
    text = head.lstrip().lower()
    if size == 0:
        raise CheckpointError(f"{name}: the file is empty (0 bytes); expected weights; download it again.")
    if text.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head")):
        raise CheckpointError(
            f"{name}: a web page (HTML, {size} bytes) saved under this name; expected weights; use the page's own "
            "download link, signed in where it asks for that."
        )
    if text.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{name}: a git-lfs pointer of {size} bytes, not the weights; run `git lfs pull` in that folder, or "
            "download the file itself."
        )
    if text.startswith((b"{", b"[")) or (head.isascii() and b"\x00" not in head):
        excerpt = head[:60].decode("utf-8", "replace").replace("\n", " ")
        raise CheckpointError(f"{name}: a text file that begins {excerpt!r}; expected weights; {_AGAIN}.")


def _open_safetensors(name: str, path: Path, size: int, config: Mapping[str, Any]) -> WeightFile:
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118  not a dict
            return WeightFile(name, shapes, file.metadata() or {}, config, path)
    except SafetensorError as error:
        wanted = _safetensors_size(path)
        if wanted is not None and wanted > size:
            raise CheckpointError(f"{name}: cut short, {size} of {wanted} bytes; {_AGAIN}.") from error
        raise CheckpointError(f"{name}: damaged safetensors of {size} bytes ({error}); {_AGAIN}.") from error


def _safetensors_size(path: Path) -> int | None:
    """Return how many bytes the header promises, or None where the header itself is unreadable."""
    with path.open("rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header = file.read(length)
    if len(header) < length:
        return 8 + length
    try:
        entries = json.loads(header)
        return (
            8
            + length
            + max(entry["data_offsets"][1] for key, entry in entries.items() if key != "__metadata__")
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _open_pickle(name: str, path: Path, size: int, config: Mapping[str, Any]) -> WeightFile:
    """Open a torch file with the loader that runs no code."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "truncated" in str(error) or "Ran out of input" in str(error):
            raise CheckpointError(f"{name}: a torch file cut short at {size} bytes; {_AGAIN}.") from error
        raise CheckpointError(
            f"{name}: a pickle that holds more than tensors, so reading it could run code; expected plain tensors; "
            "ask for a .safetensors of it, or convert it yourself if you trust its source."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{name}: a torch file of {size} bytes that can't be read, most likely cut short; {_AGAIN}."
        ) from error
    tensors = _find_tensors(content)
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    return WeightFile(name, shapes, {}, config, path, tensors)


def _find_tensors(content: object) -> dict[str, Tensor]:
    """Return the tensors of a pickled dict, one level down where they lie under ``state_dict``."""
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        return {}
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file of a model; the folder is made if there is none.

    Args:
        path: of the file.
        tensors: contiguous, no two of one memory.
        metadata: of its header.

    Raises:
        OSError: the disk is full, or the folder can't be written to; says what to do.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            save_file(dict(tensors), part, dict(metadata))
            order_header(part)
    except (OSError, SafetensorError) as error:  # safetensors has its own for a full disk
        size = sum(tensor.nbytes for tensor in tensors.values())
        raise OSError(
            f"{path}: could not be written ({error}); expected {size:,} bytes of room in a folder that can be written "
            "to; make room, or choose another name."
        ) from error
