"""One order of a safetensors file's metadata, so that equal tensors make equal files.

The library keeps metadata in a hash map: it writes several keys in another order each time.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from safetensors.torch import save
from torch import Tensor

_METADATA = "__metadata__"


def save_ordered(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors file, the same bytes for the same arguments.

    Args:
        tensors: [...] each, by key; contiguous, no two of one memory.
        metadata: texts of its header, by name.
    """
    file = io.BytesIO(save(dict(tensors), dict(metadata)))
    _order(file)
    return file.getvalue()


def order_header(path: Path) -> None:
    """Write the metadata of a safetensors file that is there in the order of its keys."""
    with path.open("r+b") as file:
        _order(file)


def _order(file: BinaryIO) -> None:
    """Write the header again, in as many bytes: its end is filled with spaces, as the library does."""
    size = struct.unpack("<Q", file.read(8))[0]
    header = json.loads(file.read(size))
    if _METADATA not in header:
        return
    header[_METADATA] = dict(sorted(header[_METADATA].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    if len(text) <= size:  # JSON may be written in several ways; a longer one would move the tensors
        file.seek(8)
        file.write(text.ljust(size))
