"""Where the phrases of a prompt lie among its tokens, and the prompt without one of them."""

from __future__ import annotations

import re
from typing import Any

import comfy.sd1_clip

from ...models.storyboard.phrases import Ranges, find_phrase


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
    words = _words(clip, text)
    phrases = [phrase.strip() for phrase in re.split(r"[,\n]", _plain(text))]
    return {phrase: find_phrase(words, _tokens(clip, phrase)) for phrase in phrases if phrase}


def find_spans(clip: Any, text: str, phrase: str) -> Ranges:
    """Find a phrase from anywhere in a prompt, as ``phrase_spans`` does, in any case in which it is written there."""
    words, plain = _words(clip, text), _plain(phrase)
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
    (name, chunks), *_ = clip.tokenize(text).items()
    _, end = _marks(clip)
    kept: list[list[Any]] = []
    offset = 0
    for chunk in chunks:
        rest = [entry for place, entry in enumerate(chunk) if offset + place not in gone]
        kept.append(rest + [(end, 1.0)] * (len(chunk) - len(rest)))
        offset += len(chunk)
    return {name: kept}


def _words(clip: Any, text: str) -> list[tuple[int, Any]]:
    """Return a prompt's tokens with their places in the output, without start, end and padding; embeddings as None."""
    marks = _marks(clip)
    words = []
    offset = 0
    for chunk in next(iter(clip.tokenize(text).values())):
        for place, (token, _) in enumerate(chunk):
            if not isinstance(token, int):
                words.append((offset + place, None))
            elif token not in marks:
                words.append((offset + place, token))
        offset += len(chunk)
    return words


def _tokens(clip: Any, phrase: str) -> list[int]:
    """Tokenize a phrase by itself, its brackets taken as text."""
    escaped = phrase.replace("(", "\\(").replace(")", "\\)")
    return [token for _, token in _words(clip, escaped)]


def _marks(clip: Any) -> tuple[int, int]:
    """Return the tokens for start and end."""
    start, end = (token for token, _ in next(iter(clip.tokenize("").values()))[0][:2])
    return start, end


def _plain(text: str) -> str:
    """Return a prompt without its weight syntax."""
    parts = comfy.sd1_clip.token_weights(comfy.sd1_clip.escape_important(text), 1.0)
    return comfy.sd1_clip.unescape_important("".join(part for part, _ in parts))
