"""Phrases of a prompt: saying them, and where they lie among its tokens, whatever tokenizer and chunks a host has."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Mapping, Sequence

Ranges = list[tuple[int, int]]
CHUNK = 77  # tokens that CLIP reads at once

_WEIGHT = re.compile(
    r"\\(?P<kept>[()])|\(|(?::[ \t]*[-+]?[0-9.]+[ \t]*)?\)"
)  # brackets, but for escaped ones
_WORD = re.compile(r"'(?:s|t|re|ve|m|ll|d)|[^\W\d_]+|\d|(?:[^\s\w]|_)+")  # where CLIP's tokenizer cuts first


def find_phrase(words: Sequence[tuple[int, Hashable]], wanted: Sequence[Hashable]) -> Ranges:
    """Find every occurrence of a phrase's tokens, in order and without overlap.

    Args:
        words: the prompt's tokens without start, end and padding, each with its place in the encoding. None as a token
            equals no other.
        wanted: the phrase's tokens.

    Returns:
        [start, stop) ranges of places; an occurrence that a chunk's end cuts has several.

    Examples:
        >>> find_phrase([(1, "a"), (2, "red"), (3, "hat"), (78, "red"), (79, "hat")], ["red", "hat"])
        [(2, 4), (78, 80)]
    """
    tokens = [token for _, token in words]
    ranges: Ranges = []
    first = 0
    while wanted and None not in wanted and first + len(wanted) <= len(words):
        if tokens[first : first + len(wanted)] != list(wanted):
            first += 1
            continue
        ranges += join_places([place for place, _ in words[first : first + len(wanted)]])
        first += len(wanted)
    return ranges


def check_found(spans: Mapping[str, Ranges], phrases: Sequence[str], prompt: str) -> None:
    """Raise ValueError unless every phrase that was asked for was found in a prompt, at the places of ``spans``."""
    for phrase in phrases:
        if not spans[phrase]:
            raise ValueError(
                f"phrase={phrase!r} is not in the prompt {prompt!r}; expected words that stand in it side by side, "
                "whole and in this order; copy them from the prompt."
            )


def move_up(ranges: Ranges, gone: Ranges) -> Ranges:
    """Return where tokens lie after others have been taken out of the prompt, and chunks filled up at their ends.

    Args:
        ranges: [start, stop) of tokens that stay.
        gone: [start, stop) of those taken out.

    Examples:
        >>> move_up([(5, 7), (80, 81)], [(2, 4)])
        [(3, 5), (80, 81)]
    """
    out = sorted(place for span in gone for place in range(*span))
    stay = [place for span in ranges for place in range(*span)]
    return join_places(
        [place - sum(other < place for other in out if other // CHUNK == place // CHUNK) for place in stay]
    )


def join_places(places: Sequence[int]) -> Ranges:
    """Return ascending places as [start, stop) ranges.

    Examples:
        >>> join_places([3, 4, 9])
        [(3, 5), (9, 10)]
    """
    ranges: Ranges = []
    for place in places:
        if ranges and ranges[-1][1] == place:
            ranges[-1] = (ranges[-1][0], place + 1)
        else:
            ranges.append((place, place + 1))
    return ranges


def with_phrases(prompt: str, phrases: Sequence[str]) -> str:
    """Return a prompt in which every phrase stands: what is missing is added at the end.

    Phrases are compared by the words that CLIP reads, so ``a (red  ball:1.2)`` says a red ball.

    Examples:
        >>> with_phrases("A red circle.", ["a red circle", "navy background"])
        'A red circle, navy background'
    """
    phrases = [phrase for phrase in phrases if phrase]
    if all(_says(prompt, phrase) for phrase in phrases):
        return prompt
    prompt = prompt.rstrip(" .,;")
    for phrase in phrases:
        if not _says(prompt, phrase):
            prompt = f"{prompt}, {phrase}" if prompt else phrase
    return prompt


def _says(prompt: str, phrase: str) -> bool:
    return bool(find_phrase(list(enumerate(_words(prompt))), _words(phrase)))


def _words(text: str) -> list[str]:
    """Return the words that CLIP reads in a text, whatever their case, spaces, weights and kind of accents."""
    plain = _WEIGHT.sub(lambda mark: mark["kept"] or "", text)
    return _WORD.findall(unicodedata.normalize("NFC", plain).casefold())
