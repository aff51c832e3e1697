"""Find CLIP's vocabulary: the user's folder, or a Python package that carries it. Never the network."""

from __future__ import annotations

from pathlib import Path

from .prompt import Tokenizer


def clip_tokenizer(models_dir: Path) -> Tokenizer:
    """Return CLIP's tokenizer.

    Args:
        models_dir: may hold ``clip_tokenizer/`` with ``vocab.json`` and ``merges.txt``.

    Raises:
        ValueError: the vocabulary is nowhere.
    """
    folder = models_dir / "clip_tokenizer"
    if (folder / "vocab.json").is_file():
        return Tokenizer.from_folder(folder)
    raise ValueError(
        f"CLIP's vocabulary: not found; expected vocab.json and merges.txt in {folder}; copy them from the tokenizer/ "
        "folder of any SD1.5 model in diffusers' layout, or from ComfyUI's comfy/sd1_tokenizer."
    )
