"""Plain words, as far as a program can see: the note of an argument begins with what the argument is.

"width of the layer, 0..1" and not "of the layer, as a part of the width". A first word that only joins (of, with, that,
how, told, see, ...) makes a reader look for the noun that it belongs to. The rest is for people to read.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Rooms whose notes all begin well. This list may only grow.
CLEAN = ("headless", "host", "language", "models", "nodes", "tools", "training")

_SECTION = re.compile(r"( *)(?:Args|Attributes):")
_NOTE = re.compile(r"( *)(\*{0,2}\w+(?:, \*{0,2}\w+)*):(?: +(.*))?")
_SHAPE = re.compile(r"(?:\[[^\]]*\](?: (?:float32|float|bool|long|int|uint8))?[ ,.:;]*)+")
_WORD = re.compile(r"[`\"'(*]*([A-Za-z][\w'-]*)")
# Words of which none names a thing, by kind.
_JOINING = frozenset(
    "about above across after against along among around as at before behind below beneath beside between beyond by "
    "despite down during except for from in inside into like near of off on onto out outside over past since than "
    "through to toward towards under until up upon via with within without instead "
    "and but or nor so yet because if unless while though "
    "i you he she it we they me him her us them its his their our your this that these those here there "
    "who whom whose what which when where why how whether "
    "is are was were be been being am has have had do does did can could may might must shall should will would not "
    "only also just even still then now once never "
    "asked begins called drawn found gets given gives goes held holds keeps kept made makes reads returns said says "
    "see shown shows taken takes tells told trained used".split()
)


class Note(NamedTuple):
    """What is said of one argument or attribute."""

    line: int
    name: str
    text: str


def notes(docstring: str) -> Iterator[Note]:
    """Yield the notes of a docstring's sections, as it is indented; ``line`` counts from 0."""
    indent, inner, found = None, None, []
    for number, line in enumerate(docstring.split("\n")):
        depth = len(line) - len(line.lstrip())
        if section := _SECTION.fullmatch(line):
            indent, inner = len(section.group(1)), None
        elif indent is None or not line.strip() or depth <= indent:
            indent = None
        elif (note := _NOTE.fullmatch(line)) and depth == (inner := inner or depth):
            found.append(Note(number, note.group(2), note.group(3) or ""))
        elif found:
            found[-1] = found[-1]._replace(text=f"{found[-1].text} {line.strip()}".strip())
    yield from found


def first_word(text: str) -> str:
    """Return the first word of a note behind the shape of a tensor, in small letters; empty if there is none."""
    word = _WORD.match(text, shape.end() if (shape := _SHAPE.match(text)) else 0)
    return word.group(1).lower() if word else ""


def clipped(source: str) -> list[str]:
    """Return the notes of a file's docstrings that begin with a word that joins."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        found += [
            f"{node.name}, line {node.lineno}: {note.name}: {note.text}"
            for note in notes(ast.get_docstring(node) or "")
            if first_word(note.text) in _JOINING
        ]
    return found


def files() -> list[str]:
    """Every Python file of the clean rooms, relative to the root."""
    found = [file for room in CLEAN for file in (ROOT / room).rglob("*.py")]
    return sorted(file.relative_to(ROOT).as_posix() for file in found)


def test_an_arguments_note_begins_with_what_it_is() -> None:
    found = {path: clipped((ROOT / path).read_text("utf-8")) for path in files()}
    assert {path: notes for path, notes in found.items() if notes} == {}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("of the sampling.", "of"),
        ("[N, F, 4, h, w] float32, in the UNet's units.", "in"),
        ("[B] float. Share of the picture.", "share"),
        ("[B, L, D].", ""),
        ("``eps`` or ``v``.", "eps"),
        ("0: none.", ""),
    ],
)
def test_the_first_word_stands_behind_the_shape(text: str, word: str) -> None:
    assert first_word(text) == word


def test_notes_are_read_with_their_further_lines() -> None:
    text = (
        "Do.\n\nArgs:\n    a: width of it,\n        in pixels.\n    b, c: what: both.\n\nReturns:\n    x: y\n"
    )
    assert list(notes(text)) == [Note(3, "a", "width of it, in pixels."), Note(5, "b, c", "what: both.")]
    assert clipped(f'def f(a, b, c):\n    """{text}"""\n') == ["f, line 1: b, c: what: both."]
