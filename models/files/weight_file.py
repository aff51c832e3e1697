"""Open a weight file without trusting it: safetensors, or a pickle of plain tensors; a file or a diffusers folder.

Owns reading, saying what is wrong with a file as a file or with its numbers, and writing one. What its keys mean is
``weight_kind``'s.
"""

from __future__ import annotations

import difflib
import pickle
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors import torch as safetensors_torch
from torch import Tensor

from ..errors import CheckpointError
from .header_order import order_header
from .json_text import as_object, read_json
from .whole_file import whole_file

# What diffusers calls the weights of a model's folder, best first.
_FOLDER_FILES = tuple(
    f"diffusion_pytorch_model{variant}.{ending}"
    for ending in ("safetensors", "bin")
    for variant in ("", ".fp16")
)
_PIPELINE = "model_index.json"  # diffusers' file of a whole pipeline
_AGAIN = "download it again and compare its size with the one on its page"
# No header of a real file comes near this many bytes.
_MAX_HEADER = 100_000_000
# First bytes of files that are no weights here.
_OTHER_FILES = {
    b"GGUF": "a GGUF file of quantised weights",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"RIFF": "a WebP picture or a sound",
    b"\x89HDF": "an HDF5 file of Keras",
}
_PICKLES = (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
# What torch's unpickler raises at bytes that make no sense.
_SENSELESS = (
    RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError, TypeError, ImportError, AssertionError,
    struct.error, zipfile.BadZipFile, ArithmeticError, MemoryError,
)  # fmt: skip
# The dicts in which trainers and authors put tensors, in the order in which they are opened.
_WRAPPERS = (
    ("state_dict",),
    ("controlnet",),
    ("pose_encoder_state_dict", "attention_processor_state_dict"),
    ("omcm_state_dict",),
    ("lora_state_dict",),
)
_MAX_DEPTH = 6  # of dicts in a pickle

# safetensors' names of dtypes where they differ from torch's
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
_FLOATS = ("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")


@dataclass(frozen=True)
class WeightFile:
    """The tensors of a file, looked at before they are loaded.

    Attributes:
        name: name of the file, for messages.
        shapes: shape of every tensor, by key.
        dtypes: torch's name of every dtype, by key; what is no dense tensor has that behind the name.
        metadata: texts of a safetensors header, by name; empty for pickles.
        config: a diffusers folder's ``config.json``; empty for files.
    """

    name: str
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    metadata: Mapping[str, str]
    config: Mapping[str, Any]
    _path: Path
    _tensors: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor], repr=False)

    def check(self, keys: Iterable[str]) -> None:
        """Raise CheckpointError unless tensors can be weights: floating point, dense, not empty. Loads none.

        A number alone, such as a LoRA's alpha, may be an integer.
        """
        for key in keys:
            shape, dtype = self.shapes.get(key, ()), self.dtypes.get(key, "float32")
            if 0 in shape:
                raise CheckpointError(
                    f"{self.name}: {key} is empty, of shape {shape}; expected numbers; {_AGAIN}, or choose another."
                )
            if dtype not in _FLOATS and (shape or not dtype.startswith(("int", "uint"))):
                raise CheckpointError(
                    f"{self.name}: {key} is {dtype}, of shape {shape}; expected weights of a float type ({_FLOATS[1]}, "
                    f"{_FLOATS[2]}, {_FLOATS[3]}, float8); choose a file that is not quantised or converted."
                )

    def load(self, keys: Iterable[str]) -> dict[str, Tensor]:
        """Return the tensors of some keys, on the CPU, in the file's dtypes; raises what ``stream`` does."""
        return dict(self.stream(keys))

    def stream(self, keys: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Yield some keys with their tensors, as ``load`` returns them; each is read when it is asked for.

        Raises:
            KeyError: a key isn't in the file.
            CheckpointError: a tensor can't be weights (see ``check``), or holds NaN or infinity.
        """
        keys = list(keys)
        self.check(keys)
        for key, tensor in self._read(keys):
            if not is_finite(tensor):
                bad = int((~tensor.float().isfinite()).sum())
                raise CheckpointError(
                    f"{self.name}: {key} holds NaN or infinity ({bad:,} of {tensor.numel():,} numbers); expected "
                    "finite ones; the file is damaged or its training went wrong: download it again, or choose an "
                    "earlier one."
                )
            yield key, tensor

    def _read(self, keys: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        if self._tensors:
            yield from ((key, self._tensors[key]) for key in keys)
            return
        with _safetensors(self._path) as file:
            for key in keys:
                yield key, file.get_tensor(key)


def is_finite(tensor: Tensor) -> bool:
    """Tell whether a tensor on the CPU, [...] of any float dtype, holds no NaN and no infinity.

    Its least and its greatest number tell, some 30 times faster than a look at each; NaN is both.
    """
    if tensor.itemsize == 1:  # float8, for which torch has no order
        tensor = tensor.float()
    return all(bool(end.isfinite()) for end in tensor.aminmax())


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
    if not path.is_file():
        raise CheckpointError(
            f"{name}: a device or a pipe; expected a weight file; choose one that is listed."
        )
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError as error:
        raise CheckpointError(
            f"{name}: can't be read ({error.strerror}); expected a file that this user may read; change its rights, or "
            "choose another."
        ) from error
    if len(head) > 8 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < _MAX_HEADER:
        return _open_safetensors(name, path, size, config)
    refuse_leftovers(name, head, size)
    if head.startswith(_PICKLES):
        return _open_pickle(name, path, size, config)
    what = next((f" ({what})" for start, what in _OTHER_FILES.items() if head.startswith(start)), "")
    raise CheckpointError(
        f"{name}: its first bytes are {head[:8]!r}{what}, neither safetensors nor a torch file of {size} bytes; "
        f"{_AGAIN}."
    )


def fingerprint(path: str | Path) -> str:
    """Return a text that changes when a weight file, or any file of a folder, is replaced; reads no content."""
    path = Path(path)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    facts = [(file.name, stat.st_size, stat.st_mtime_ns) for file in files for stat in [file.stat()]]
    return repr(facts)


def require(file: WeightFile, wanted: Mapping[str, tuple[int, ...]], what: str) -> None:
    """Check that a file holds every tensor of a network, in its shape, without loading any.

    Args:
        file: file to look at.
        wanted: shape of each tensor, by the file's names. A linear layer may be stored as a 1x1 convolution.
        what: name of what the file should be, in words.

    Raises:
        CheckpointError: a tensor is missing, has another shape or can't be weights; says which key may be misspelt.
    """
    file.check(key for key in wanted if key in file.shapes)
    wrong = [
        key
        for key, shape in wanted.items()
        if _without_kernel(file.shapes.get(key)) != _without_kernel(shape)
    ]
    if not wrong:
        return
    key = wrong[0]
    got = f"{key} is {file.shapes.get(key)}"
    if key not in file.shapes:
        got = f"lacks {key}{find_nearest(key, (each for each in file.shapes if each not in wanted))}"
    raise CheckpointError(
        f"{file.name}: {got}, one of {len(wrong)} tensors of {len(wanted)} that are missing or misshapen; expected "
        f"{wanted[key]} there, as in {what}; download it again, or choose another file."
    )


def _without_kernel(shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
    return shape[:2] if shape is not None and shape[2:] == (1, 1) else shape


def find_nearest(missing: str, unexpected: Iterable[str]) -> str:
    """Return words about the key that may be a misspelt one, or none.

    Args:
        missing: key that a file lacks.
        unexpected: keys of the file that belong to nothing.

    Examples:
        >>> find_nearest("conv_in.weight", ["conv_im.weight", "x"])
        " (it holds 'conv_im.weight', which belongs to nothing: is that it?)"
    """
    near = difflib.get_close_matches(missing, list(unexpected)[:1000], 1, 0.8)
    return f" (it holds {near[0]!r}, which belongs to nothing: is that it?)" if near else ""


def _file_of_folder(folder: Path) -> Path:
    file = next((folder / name for name in _FOLDER_FILES if (folder / name).is_file()), None)
    if file is not None:
        return file
    what = f"a folder without {_FOLDER_FILES[0]}"
    if (folder / _PIPELINE).is_file():
        what = f"the folder of a whole diffusers pipeline ({_PIPELINE}, with a folder for each of its models)"
    elif any(folder.glob("*.index.json")):
        what = "a folder whose weights are in several files (shards)"
    elif (folder.parent / _PIPELINE).is_file():
        what = f"the part {folder.name} of a diffusers pipeline, without {_FOLDER_FILES[0]}"
    raise CheckpointError(
        f"{folder.name}: {what}; expected a diffusers model folder with {_FOLDER_FILES[0]} and config.json; choose "
        "such a folder, or one weight file."
    )


def _read_config(folder: Path) -> Mapping[str, Any]:
    """Return a diffusers folder's config, empty where it has none."""
    file = folder / "config.json"
    if not file.is_file():
        return {}
    try:
        read = read_json(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(
            f"{folder.name}/config.json: got {error}; expected a diffusers config; download it again."
        ) from error
    config = as_object(read)
    if config is None:
        raise CheckpointError(
            f"{folder.name}/config.json: got a {type(read).__name__}; expected an object; download it again."
        )
    return config


def refuse_leftovers(name: str, head: bytes, size: int) -> None:
    """Raise for the things that downloads leave in place of weights.

    Args:
        name: name of the file.
        head: bytes that it begins with, some 1,000.
        size: bytes in all of it.

    Raises:
        CheckpointError: it is empty, a web page, a git-lfs pointer, another text, or zeros alone.
    """
    text = head.lstrip().lower()
    if size == 0:
        raise CheckpointError(f"{name}: the file is empty (0 bytes); expected weights; download it again.")
    if not head.strip(b"\0"):
        raise CheckpointError(
            f"{name}: begins with zeros alone, so room was made for its {size} bytes and the download stopped; "
            "expected weights; download it again."
        )
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


def _safetensors(path: Path) -> Any:
    """Open a safetensors file, whose class has no types."""
    return cast("Any", safe_open)(path, framework="pt")


def _open_safetensors(name: str, path: Path, size: int, config: Mapping[str, Any]) -> WeightFile:
    try:
        with _safetensors(path) as file:
            parts: dict[str, Any] = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118  not a dict
            shapes: dict[str, tuple[int, ...]] = {key: tuple(part.get_shape()) for key, part in parts.items()}
            kinds = {key: str(part.get_dtype()) for key, part in parts.items()}
            dtypes = {key: _DTYPES.get(kind, kind) for key, kind in kinds.items()}
            return WeightFile(name, shapes, dtypes, file.metadata() or {}, config, path)
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
        entries = read_json(header)
        return (
            8
            + length
            + max(entry["data_offsets"][1] for key, entry in entries.items() if key != "__metadata__")
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _open_pickle(name: str, path: Path, size: int, config: Mapping[str, Any]) -> WeightFile:
    """Open a torch file with the loader that runs no code."""
    _refuse_archive(name, path)
    try:
        with path.open("rb") as file:  # of a path torch 2.13 believes the ending
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "truncated" in str(error) or "Ran out of input" in str(error):
            raise CheckpointError(f"{name}: a torch file cut short at {size} bytes; {_AGAIN}.") from error
        raise CheckpointError(
            f"{name}: a pickle that holds more than tensors, so reading it could run code; expected plain tensors; "
            "ask for a .safetensors of it, or convert it yourself if you trust its source."
        ) from error
    except _SENSELESS as error:
        raise CheckpointError(
            f"{name}: a torch file of {size} bytes that can't be read, most likely cut short; {_AGAIN}."
        ) from error
    tensors = _find_tensors(content)
    shapes = {key: () if value.is_nested else tuple(value.shape) for key, value in tensors.items()}
    dtypes = {key: _describe(value) for key, value in tensors.items()}
    return WeightFile(name, shapes, dtypes, {}, config, path, tensors)


def _refuse_archive(name: str, path: Path) -> None:
    """Raise for a zip file that torch did not write as tensors."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except _SENSELESS:
        return  # torch's reader says more
    if any(each.endswith("/code/") or "/code/__torch__" in each for each in names):
        raise CheckpointError(
            f"{name}: a TorchScript program; expected plain tensors; choose a file of weights alone."
        )
    if not any(each.endswith("data.pkl") for each in names):
        first = names[0] if names else "nothing"
        raise CheckpointError(
            f"{name}: a zip archive that holds {first!r} ({len(names)} files), not a torch file; expected weights; "
            "unpack it and choose the weight file in it."
        )


def _describe(tensor: Tensor) -> str:
    """Return the name of a tensor's dtype, and what else keeps it from being weights."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_nested:
        return f"{dtype} (nested)"
    if tensor.layout != torch.strided:
        return f"{dtype} (sparse)"
    return f"{dtype} (without values)" if tensor.is_meta else dtype


def _find_tensors(content: object, depth: int = 0) -> dict[str, Tensor]:
    """Return the tensors of a pickle, out of the dicts in which they lie.

    Dicts that are known are opened in their order. Of others, one that alone holds tensors is opened; where several do,
    their names stand before the keys. An optimizer's are left out.
    """
    if not isinstance(content, Mapping) or depth > _MAX_DEPTH:
        return {}
    items = [(str(key), value) for key, value in cast("Mapping[Any, Any]", content).items()]
    inner = {key: cast("Mapping[Any, Any]", value) for key, value in items if isinstance(value, Mapping)}
    known = next((names for names in _WRAPPERS if any(name in inner for name in names)), None)
    if known is not None:
        whole = {key: value for name in known for key, value in inner.get(name, {}).items()}
        return _find_tensors(whole, depth + 1)
    tensors = {key: value for key, value in items if isinstance(value, Tensor)}
    if tensors:
        return tensors
    found = {name: _find_tensors(each, depth + 1) for name, each in inner.items() if "optim" not in name}
    found = {name: each for name, each in found.items() if each}
    if len(found) == 1:
        return next(iter(found.values()))
    return {f"{name}.{key}": value for name, each in found.items() for key, value in each.items()}


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file of a model; the folder is made if there is none.

    Args:
        path: name of the new file.
        tensors: tensors by key, contiguous, no two of one memory.
        metadata: texts of its header, by name.
    """
    size = sum(tensor.nbytes for tensor in tensors.values())
    with whole_file(path, size=size, advice="make room, or choose another name") as part:
        cast("Any", safetensors_torch).save_file(dict(tensors), part, dict(metadata))
        order_header(part)
