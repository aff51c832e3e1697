"""Where the phrases of a prompt lie among its tokens."""

from __future__ import annotations

import re
from typing import Any

import comfy.sd1_clip


def phrase_spans(clip: Any, text: str) -> dict[str, list[tuple[int, int]]]:
    """Find every comma-separated phrase of a prompt.

    Weights in brackets are stripped from the phrases. A phrase that stands twice, or that a chunk of 77 tokens cuts,
    has several ranges.

    Args:
        clip: a CLIP whose tokens are chunks of start, words, end, padding.
        text: the prompt.

    Returns:
        Phrase -> its [start, stop) ranges along the encoded tokens' axis.
    """
    chunks = next(iter(clip.tokenize(text).values()))
    start, end = (token for token, _ in next(iter(clip.tokenize("").values()))[0][:2])
    words: list[tuple[int, Any]] = []  # (place in the output, token)
    offset = 0
    for chunk in chunks:
        for place, (token, _) in enumerate(chunk):
            if not isinstance(token, int) or token not in (start, end):
                words.append((offset + place, token))
        offset += len(chunk)
    plain = "".join(
        part for part, _ in comfy.sd1_clip.token_weights(comfy.sd1_clip.escape_important(text), 1.0)
    )
    phrases = [phrase.strip() for phrase in re.split(r"[,\n]", comfy.sd1_clip.unescape_important(plain))]
    return {phrase: _find(words, _tokens(clip, phrase, start, end)) for phrase in phrases if phrase}


def _tokens(clip: Any, phrase: str, start: int, end: int) -> list[int]:
    """Tokenize a phrase by itself, its brackets taken as text."""
    escaped = phrase.replace("(", "\\(").replace(")", "\\)")
    chunks = next(iter(clip.tokenize(escaped).values()))
    return [token for chunk in chunks for token, _ in chunk if token not in (start, end)]


def _find(words: list[tuple[int, Any]], wanted: list[int]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    tokens = [token if isinstance(token, int) else None for _, token in words]
    first = 0
    while wanted and first + len(wanted) <= len(words):
        if tokens[first : first + len(wanted)] != wanted:
            first += 1
            continue
        for place, _ in words[first : first + len(wanted)]:
            if ranges and ranges[-1][1] == place:
                ranges[-1] = (ranges[-1][0], place + 1)
            else:
                ranges.append((place, place + 1))
        first += len(wanted)
    return ranges
