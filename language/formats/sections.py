"""Texts of labelled lines, such as ``Frame 1: ...``, as language models write them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from .literal import Value, read_literal
from .source import Source

_LABEL = re.compile(
    r"[ \t>*#`\"'-]{0,16}(scene|frame|entities|background keyword|background|caption|prompt|reasoning)"
    r"(?:[ _]?([0-9]{1,6}))?[ \t*`\"']{0,8}:[*]{0,2}",
    re.IGNORECASE,
)
_MARKS = " \t`*"


class Section(NamedTuple):
    """The text between a label and the next one.

    Attributes:
        source: the text.
        label: label in lower case, without its number.
        number: number behind the label; 0: none.
        at: place of the label.
        start: place behind its colon.
        stop: place of the next label, or the end.
    """

    source: Source
    label: str
    number: int
    at: int
    start: int
    stop: int

    def line(self) -> str:
        """Return the first line, without marks around it."""
        return self.source.text[self.start : self.stop].strip().partition("\n")[0].strip(_MARKS).strip()

    def literal(self, may_follow: Callable[[str], object]) -> Value:
        """Return the list or dict in the section. ``may_follow`` tells if the text behind a value is a remark."""
        text, start = self.source.text, self.start
        while start < self.stop and text[start] in "-` \t\n":
            start += 1
        value, end = read_literal(self.source, start)
        rest = text[end : self.stop].strip(" \t\r\n`")
        if end > self.stop or (rest and not may_follow(rest)):
            raise self.source.error(end, "nothing behind the closing bracket", "delete what follows it")
        return value


def read_sections(source: Source) -> list[Section]:
    """Return the labelled sections of a text. Text before the first label is left out."""
    found = [(match, at) for at, line in source.lines() if (match := _LABEL.match(line))]
    stops = [at for _, at in found[1:]] + [len(source.text)]
    return [
        Section(source, match[1].lower(), int(match[2] or 0), at, at + match.end(), stop)
        for (match, at), stop in zip(found, stops, strict=False)  # one stop even if nothing is found
    ]
