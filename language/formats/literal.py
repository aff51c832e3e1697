"""Dicts, lists, texts and numbers as JSON or Python writes them, read without evaluating anything.

It reads one value: ``{...}``, ``[...]``, ``(...)``, a text in quotes, a number, true, false, null or None. A list may
end with a comma, and ``#`` begins a remark. Nothing is called, joined or computed. Depth, count and digits are bounded,
and the time is linear.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from .source import Source, excerpt

MAX_DEPTH = 64  # brackets within brackets
MAX_VALUES = 500_000
MAX_DIGITS = 40  # characters of a number

_SPACE = re.compile(r"[ \t\r\n]+|#[^\n]*")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.])")
_WORD = re.compile(r"[^\W\d]\w*")
_STOPS = {'"': re.compile(r'["\\\n]'), "'": re.compile(r"['\\\n]")}  # characters that end plain text
_CODE = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})")
_PAIR = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_ESCAPES = dict(zip("\"'\\/bfnrt", "\"'\\/\b\f\n\r\t", strict=True))
_CONSTANTS = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}
_CLOSERS = {"[": "]", "(": ")", "{": "}"}


Data = list["Value"] | dict[str, "Value"] | str | float | bool | None


class Value(NamedTuple):
    """A value and its place in the text; its items are values again. ``as_`` methods raise for another kind."""

    source: Source
    at: int
    data: Data

    def error(self, expected: str, advice: str = "correct it there") -> ValueError:
        """Return the error to raise about this value."""
        return self.source.error(self.at, expected, advice)

    def as_list(self, expected: str, length: int | None = None) -> list[Value]:
        """Return its items. ``length`` is the number that there must be."""
        if not isinstance(self.data, list) or length not in (None, len(self.data)):
            raise self.error(expected)
        return self.data

    def as_dict(self, expected: str) -> dict[str, Value]:
        """Return its values by their keys."""
        if not isinstance(self.data, dict):
            raise self.error(expected)
        return self.data

    def as_text(self, expected: str) -> str:
        """Return its text. A blank one is an error."""
        if not isinstance(self.data, str) or not self.data.strip():
            raise self.error(expected)
        return self.data.strip()

    def as_number(self, expected: str) -> float:
        """Return its number."""
        if isinstance(self.data, bool) or not isinstance(self.data, int | float):
            raise self.error(expected)
        return self.data

    def as_numbers(self, length: int, expected: str) -> list[float]:
        """Return its items as ``length`` numbers."""
        return [item.as_number(expected) for item in self.as_list(expected, length)]


def read_literal(source: Source, at: int = 0) -> tuple[Value, int]:
    """Read one value.

    Args:
        source: the text.
        at: place in the text where the value begins.

    Returns:
        The value, and the place behind it.

    Examples:
        >>> value, end = read_literal(Source("Frame 1: [{'id': 0}] -", "text"), 8)
        >>> value.as_list("a list")[0].as_dict("a dict")["id"].data, end
        (0, 20)
    """
    parents: list[tuple[Value, str]] = []  # open lists and dicts, each with the key that waits for a value
    count = 0
    while True:
        at = _skip(source, at)
        container = parents[-1][0].data if parents else None
        if container is not None and source.text[at : at + 1] == _CLOSERS[source.text[parents[-1][0].at]]:
            value, at = parents.pop()[0], at + 1
        else:
            if isinstance(container, dict):
                key, at = _read_key(source, at, container)
                parents[-1] = parents[-1][0], key
            value, at = _read_start(source, at)
            count += 1
            _check_bounds(value, count, len(parents))
            if isinstance(value.data, list | dict):
                parents.append((value, ""))
                continue
        # The value is whole, and perhaps those around it are too.
        while parents:
            at = _attach(source, at, value, *parents[-1]) + 1
            if source.text[at - 1] == ",":
                break
            value = parents.pop()[0]
        else:
            return value, at


def parse_literal(source: Source) -> Value:
    """Read a text that is one value and nothing else."""
    value, end = read_literal(source)
    end = _skip(source, end)
    if end < len(source.text):
        raise source.error(end, "nothing behind the closing bracket", "delete what follows it")
    return value


def _skip(source: Source, at: int) -> int:
    while match := _SPACE.match(source.text, at):
        at = match.end()
    return at


def _check_bounds(value: Value, count: int, depth: int) -> None:
    if depth >= MAX_DEPTH and isinstance(value.data, list | dict):
        raise value.error(f"at most {MAX_DEPTH} brackets inside each other", "remove some")
    if count > MAX_VALUES:
        raise value.error(f"at most {MAX_VALUES:,} values", "give fewer scenes at a time")


def _attach(source: Source, at: int, value: Value, parent: Value, key: str) -> int:
    """Put a value into its parent; return the place of the comma or the bracket that follows."""
    if isinstance(parent.data, dict):
        parent.data[key] = value
    elif isinstance(parent.data, list):
        parent.data.append(value)
    at = _skip(source, at)
    closer = _CLOSERS[source.text[parent.at]]
    if source.text[at : at + 1] not in (",", closer):
        raise source.error(at, f"a comma or {closer}", "close every bracket and quote")
    return at


def _read_key(source: Source, at: int, known: dict[str, Value]) -> tuple[str, int]:
    start = at
    key, at = _read_start(source, at)
    if not isinstance(key.data, str):
        raise key.error("a key in quotes")
    if key.data in known:
        raise source.error(start, f"the key {excerpt(key.data)} once", "delete one of them")
    at = _skip(source, at)
    if source.text[at : at + 1] != ":":
        raise source.error(at, "a colon behind the key", "write 'key': value")
    return key.data, _skip(source, at + 1)


def _read_start(source: Source, at: int) -> tuple[Value, int]:
    """Read a text, a number, a word, or the bracket that opens a list or dict."""
    first = source.text[at : at + 1]
    if first in _STOPS:
        text, end = _read_text(source, at)
        return Value(source, at, text), end
    if first in _CLOSERS:
        return Value(source, at, {} if first == "{" else []), at + 1
    if match := _NUMBER.match(source.text, at, at + MAX_DIGITS + 1):
        return Value(source, at, _to_number(source, match)), match.end()
    match = _WORD.match(source.text, at, at + 10)
    if match and match.group() in _CONSTANTS:
        return Value(source, at, _CONSTANTS[match.group()]), match.end()
    raise source.error(at, "a list, a dict, a text in quotes or a finite number", "correct it there")


def _to_number(source: Source, match: re.Match[str]) -> float:
    digits = match.group()
    try:
        number = int(digits)
    except ValueError:
        number = float(digits)
    if len(digits) > MAX_DIGITS or not math.isfinite(number):
        raise source.error(match.start(), f"a number of at most {MAX_DIGITS} digits", "write a smaller one")
    return number


def _read_text(source: Source, at: int) -> tuple[str, int]:
    """Read a text in quotes. It must end on its line."""
    start, quote = at, source.text[at]
    parts: list[str] = []
    at += 1
    while stop := _STOPS[quote].search(source.text, at):
        parts.append(source.text[at : stop.start()])
        if stop.group() == quote:
            return "".join(parts), stop.end()
        if stop.group() == "\n":
            break
        character, at = _read_escape(source, stop.start())
        parts.append(character)
    raise source.error(start, f"a text that {quote} closes on its line", "close it")


def _read_escape(source: Source, at: int) -> tuple[str, int]:
    letter = source.text[at + 1 : at + 2]
    if letter in _ESCAPES:
        return _ESCAPES[letter], at + 2
    match = _CODE.match(source.text, at + 1)
    code, end = (int(match.group(match.lastindex or 1), 16), match.end()) if match else (-1, at)
    pair = _PAIR.match(source.text, end)
    if 0xD800 <= code < 0xDC00 and pair:
        code, end = 0x10000 + ((code - 0xD800) << 10) + int(pair.group(1), 16) - 0xDC00, pair.end()
    if not 0 <= code <= 0x10FFFF or 0xD800 <= code < 0xE000:
        raise source.error(at, "a character or an escape that JSON or Python knows", "write the character")
    return chr(code), end
