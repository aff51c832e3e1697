"""From a prompt to tokens with weights, as ComfyUI does it: weight syntax, escapes, chunks of 77.

Owns text and token ids; the encoder is ``text``'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as BytePairTokenizer

from ...models.errors import CheckpointError
from ...models.files.json_text import read_json
from ...models.storyboard.phrases import CHUNK

START, END = "<|startoftext|>", "<|endoftext|>"
# Runs of this many tokens may be cut at the end of a chunk; shorter ones move to the next whole.
_LONG_GROUP = 8
_WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
_ESCAPES = {"\\(": "\0\1", "\\)": "\0\2"}


@dataclass(frozen=True, slots=True)
class Token:
    """One place of a chunk.

    Attributes:
        id: number in the vocabulary.
        weight: factor on its effect; 1 is plain.
        span: [start, stop) in the prompt's plain text (without weight syntax); None for start, end and padding.
    """

    id: int
    weight: float = 1.0
    span: tuple[int, int] | None = None


class Tokenizer:
    """CLIP's byte-level BPE over a vocabulary whose last two ids are start and end of text."""

    def __init__(self, vocabulary: Mapping[str, int], merges: list[tuple[str, str]]) -> None:
        bpe = models.BPE(
            dict(vocabulary), merges, unk_token=END, end_of_word_suffix="</w>", continuing_subword_prefix=""
        )
        self._bpe = BytePairTokenizer(bpe)
        self._bpe.normalizer = normalizers.Sequence(
            [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
        )
        self._bpe.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
        self._bpe.decoder = decoders.ByteLevel()
        self._bpe.add_special_tokens([START, END])
        self.start, self.end = vocabulary[START], vocabulary[END]

    @classmethod
    def from_folder(cls, folder: Path) -> Tokenizer:
        """Read ``vocab.json`` and ``merges.txt``.

        Raises:
            CheckpointError: they are damaged, or no vocabulary and its merges.
        """
        try:
            vocabulary = read_json((folder / "vocab.json").read_text("utf-8"))
            lines = (folder / "merges.txt").read_text("utf-8").splitlines()
        except ValueError as error:
            raise _damaged(folder, str(error)) from error
        pairs = [tuple(line.split()) for line in lines if line and not line.startswith("#version")]
        if not isinstance(vocabulary, dict) or not {START, END} <= vocabulary.keys():
            raise _damaged(folder, "vocab.json is no vocabulary of CLIP's")
        for pair in pairs:
            if len(pair) != 2 or not {*pair, "".join(pair)} <= vocabulary.keys():
                raise _damaged(
                    folder, f"merges.txt has {' '.join(pair)[:40]!r}, which merges no two of vocab.json"
                )
        return cls(vocabulary, [(left, right) for left, right in pairs])

    def words(self, text: str) -> list[tuple[int, tuple[int, int]]]:
        """Return the ids of a text with their [start, stop) in it, without start and end."""
        encoding = self._bpe.encode(text, add_special_tokens=False)
        return list(zip(encoding.ids, encoding.offsets, strict=True))

    def chunks(self, prompt: str) -> list[list[Token]]:
        """Return a prompt as chunks of 77 tokens each.

        Raises:
            ValueError: it names an embedding, which is not built headless.
        """
        parts = weighted_parts(prompt)
        if any(re.search(r"(?:^|\s)embedding:", text) for text, _ in parts):
            raise ValueError(
                "prompt: got 'embedding:', which is not built headless; take it out of the text."
            )
        chunks: list[list[Token]] = [[]]
        room = CHUNK - 2
        for group in self._groups(parts):
            while group:
                free = room - len(chunks[-1])
                if len(group) <= free:
                    chunks[-1] += group
                    break
                if len(group) >= _LONG_GROUP:
                    chunks[-1] += group[:free]
                    group = group[free:]
                chunks.append([])
        return [self._close(chunk) for chunk in chunks]

    def _groups(self, parts: list[tuple[str, float]]) -> list[list[Token]]:
        """Return the tokens of each run of equal weight."""
        groups = []
        offset = 0
        for text, weight in parts:
            found = self.words(text)
            groups.append([Token(id, weight, (a + offset, b + offset)) for id, (a, b) in found])
            offset += len(text)
        return groups

    def _close(self, chunk: list[Token]) -> list[Token]:
        return [Token(self.start), *chunk, *[Token(self.end)] * (CHUNK - 1 - len(chunk))]


def _damaged(folder: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{folder.name}: {what}; expected a tokenizer's vocab.json and merges.txt; put the folder there again."
    )


def weighted_parts(prompt: str) -> list[tuple[str, float]]:
    r"""Split a prompt by its weight syntax.

    ``(a)`` weighs 1.1 times what is around it, ``(a:1.3)`` weighs 1.3; ``\(`` and ``\)`` are plain brackets.

    Examples:
        >>> weighted_parts("a (red:1.5) circle")
        [('a ', 1.0), ('red', 1.5), (' circle', 1.0)]
    """
    for written, stored in _ESCAPES.items():
        prompt = prompt.replace(written, stored)
    return [(_unescape(text), weight) for text, weight in _weigh(prompt, 1.0)]


def _unescape(text: str) -> str:
    for written, stored in _ESCAPES.items():
        text = text.replace(stored, written[1])
    return text


def _weigh(text: str, weight: float) -> list[tuple[str, float]]:
    parts = []
    for piece in _split_brackets(text):
        if len(piece) < 2 or piece[0] != "(" or piece[-1] != ")":
            parts.append((piece, weight))
            continue
        inner, inner_weight = piece[1:-1], weight * 1.1
        colon = inner.rfind(":")
        if colon > 0:
            try:
                inner, inner_weight = inner[:colon], float(inner[colon + 1 :])
            except ValueError:
                inner = piece[1:-1]
        parts += _weigh(inner, inner_weight)
    return parts


def _split_brackets(text: str) -> list[str]:
    """Split into outermost bracketed groups and what lies between them."""
    pieces, start, depth = [], 0, 0
    for index, character in enumerate(text):
        if character == "(":
            if depth == 0 and index > start:
                pieces.append(text[start:index])
                start = index
            depth += 1
        elif character == ")":
            depth -= 1
            if depth == 0:
                pieces.append(text[start : index + 1])
                start = index + 1
    return pieces + ([text[start:]] if start < len(text) else [])
