"""Kinds of model files that ComfyUI has no folder for: what their files end in, and what of a folder is one name.

Both hosts list by it. A kind that is not here is listed by a host's own endings.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath

LANGUAGE_MODELS = "llm"
CONFIG = "config.json"
ENDINGS: dict[str, tuple[str, ...]] = {
    LANGUAGE_MODELS: (".gguf", ".json"),
    "layout_priors": (".safetensors",),
}


def names_of(kind: str, files: Iterable[str]) -> list[str]:
    """Return what there is to choose from among the files of a kind's folder.

    A language model is a GGUF file, or a folder with its config; a config that lies beside GGUF files is theirs.

    Args:
        kind: of model file.
        files: their names, relative to the kind's folder.

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
