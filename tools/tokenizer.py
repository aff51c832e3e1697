"""The demo model's vocabulary: a CLIP-format byte-level BPE made from the words of ``shapes``."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from frameloom.training.shapes import BACKGROUNDS, COLORS, SHAPES

GRAMMAR = (
    "a an small big on background center middle left right top bottom moving up down standing still growing shrinking "
    "two and in the of at , ."
)
UNTAUGHT = "square star video picture shape"  # whole tokens kept for later training
WORDS = (*GRAMMAR.split(), *COLORS, *BACKGROUNDS, *SHAPES, *UNTAUGHT.split())


def byte_characters() -> list[str]:
    """Return the printable stand-ins that CLIP's byte-level BPE uses for the 256 bytes, in CLIP's order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]


def write_tokenizer(folder: Path, size: int) -> None:
    """Write ``vocab.json`` and ``merges.txt`` of a tokenizer: our words are one token each, others are spelled.

    Args:
        folder: folder to write to; made if missing.
        size: number of tokens. Spare ones fill it up, and the last two are start and end of text.

    Raises:
        ValueError: the words need more tokens.
    """
    characters = byte_characters()
    vocabulary = characters + [character + "</w>" for character in characters]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            known = [merges.index(pair) for pair in itertools.pairwise(pieces) if pair in merges]
            if not known:
                merges.append((pieces[0], pieces[1]))
            pair = merges[min(known)] if known else merges[-1]
            at = list(itertools.pairwise(pieces)).index(pair)
            pieces[at : at + 2] = [pair[0] + pair[1]]
            if pieces[at] not in vocabulary:
                vocabulary.append(pieces[at])
    spare = size - 2 - len(vocabulary)
    if spare < 0:
        raise ValueError(
            f"size={size} is too small: the words need {-spare} more tokens; raise TextSize.vocabulary."
        )
    vocabulary += [f"<|spare{index}|>" for index in range(spare)] + ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    table = {token: index for index, token in enumerate(vocabulary)}
    (folder / "vocab.json").write_text(json.dumps(table, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
