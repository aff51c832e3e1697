"""Where the phrases of a prompt lie among its tokens, and the prompt without one of them.

SDXL has two text encoders, whose features it lays side by side for each token: a phrase has one place only if both
read the same tokens.
"""

from __future__ import annotations

import re
from typing import Any

import comfy.sd1_clip

from ...models.storyboard.phrases import Ranges, find_phrase

Words = list[tuple[int, Any]]
"""Tokens with their places in the output, without start, end and padding; embeddings as None."""


def phrase_spans(clip: Any, text: str) -> dict[str, Ranges]:
    """Find every comma-separated phrase of a prompt.

    Weights in brackets are stripped from the phrases. A phrase that stands twice, or that a chunk of 77 tokens cuts,
    has several ranges.

    Args:
        clip: a CLIP whose tokens are chunks of start, words, end, padding.
        text: the prompt.

    Returns:
        Phrase -> its [start, stop) ranges along the encoded tokens' axis.
    """
    words = _words(clip, text, _encoders(clip)[0])
    phrases = [phrase.strip() for phrase in re.split(r"[,\n]", _plain(text))]
    return {phrase: find_phrase(words, _tokens(clip, phrase)) for phrase in phrases if phrase}


def find_spans(clip: Any, text: str, phrase: str) -> Ranges:
    """Find a phrase from anywhere in a prompt, as ``phrase_spans`` does, in any case in which it is written there.

    Raises:
        ValueError: text encoders read the prompt as different tokens.
    """
    first, *others = _encoders(clip)
    words = _words(clip, text, first)
    for other in others:
        read = _words(clip, text, other)
        if read != words:
            raise ValueError(
                f"prompt: got {len(words)} tokens from text encoder {first} and {len(read)} from {other}, or different "
                "ones; expected the same of both, since a phrase has one place; take out of the prompt what one of "
                "them reads otherwise (an embedding that is for one alone, say)."
            )
    plain = _plain(phrase)
    written = (
        [match[0] for match in re.finditer(re.escape(plain), _plain(text), re.IGNORECASE)] if plain else []
    )
    spans = [
        span for each in dict.fromkeys([plain, *written]) for span in find_phrase(words, _tokens(clip, each))
    ]
    return sorted(dict.fromkeys(spans))


def without_places(clip: Any, text: str, places: Ranges) -> dict[str, list[list[Any]]]:
    """Return a prompt's tokens, as ``clip.tokenize`` does, without some; chunks are filled up at their ends."""
    gone = {place for span in places for place in range(*span)}
    empty = clip.tokenize("")
    kept: dict[str, list[list[Any]]] = {}
    for name, chunks in clip.tokenize(text).items():
        padding, offset = empty[name][0][-1], 0
        kept[name] = []
        for chunk in chunks:
            rest = [entry for place, entry in enumerate(chunk) if offset + place not in gone]
            kept[name].append(rest + [padding] * (len(chunk) - len(rest)))
            offset += len(chunk)
    return kept


def _words(clip: Any, text: str, encoder: str) -> Words:
    """Return what a text encoder reads."""
    start, end = (token for token, _ in clip.tokenize("")[encoder][0][:2])
    words: Words = []
    offset = 0
    for chunk in clip.tokenize(text)[encoder]:
        tokens = [token if isinstance(token, int) else None for token, _ in chunk]
        while end in tokens and tokens[-1] != end:  # padding, which may be a word's token elsewhere
            tokens.pop()
        words += [(place, token) for place, token in enumerate(tokens, offset) if token not in (start, end)]
        offset += len(chunk)
    return words


def _tokens(clip: Any, phrase: str) -> list[int]:
    """Tokenize a phrase by itself, its brackets taken as text."""
    escaped = phrase.replace("(", "\\(").replace(")", "\\)")
    return [token for _, token in _words(clip, escaped, _encoders(clip)[0])]


def _encoders(clip: Any) -> list[str]:
    """Return the names of a CLIP's text encoders."""
    return list(clip.tokenize(""))


def _plain(text: str) -> str:
    """Return a prompt without its weight syntax."""
    parts = comfy.sd1_clip.token_weights(comfy.sd1_clip.escape_important(text), 1.0)
    return comfy.sd1_clip.unescape_important("".join(part for part, _ in parts))
