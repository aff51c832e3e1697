"""Find the answer in the text of a language model: the last whole JSON object of the form that was asked for.

Thoughts are not answers, whatever marks they stand in. Of several objects that can be used the last one counts. If a
later object can't be used, none is used, since the earlier ones may be drafts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

from ...models.files.json_text import as_array, as_object
from .thoughts import MARK, Aside, is_frame
from .wire import EXCERPT, AnswerError

MAX_BYTES = 1_000_000  # longest answer
MAX_DEPTH = 16
MAX_SIGNS = 2_000_000  # quotes and brackets that are looked at, those in a broken object more than once
SIGNS_A_PIECE = 100  # cost of each object or list, in signs

_PLACE = re.compile(rf'{MARK} | (?P<start>\{{(?=\s*["}}]) | \[)', re.IGNORECASE | re.VERBOSE)
_SIGN = re.compile(r'\\.|["{}\[\]]', re.DOTALL)
_CLOSERS = re.compile(r"[\s\]},`]*")

T = TypeVar("T")


@dataclass(frozen=True)
class Found(Generic[T]):
    """An answer that can be used.

    Attributes:
        value: JSON object that the answer holds.
        checked: result of the check.
        count: number of different objects that could be used, this one included.
    """

    value: dict[str, Any]
    checked: T
    count: int


def read_answer(text: str, name: str, check: Callable[[Mapping[str, Any]], T]) -> Found[T]:
    """Return the last object of a text that has the form that was asked for.

    An object that wraps it is opened, and a list in its place is taken for the list that it should hold.

    Args:
        text: text as the model wrote it.
        name: name of the object's only field.
        check: function that returns the meaning of an object, and raises AnswerError if it can't be used.

    Raises:
        AnswerError: there is none; says what is wrong with the one that comes nearest.
    """
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise AnswerError("$", f"{len(text):,} characters: {text[:80]}", f"at most {MAX_BYTES:,} bytes")
    pieces = _read_pieces(text)
    usable: list[tuple[dict[str, Any], T]] = []
    last = nearest = None  # faults of an object after the last usable one, and of the likeliest object
    for piece in [each for each in pieces if not each.aside]:
        means_it = f'"{name}"' in text[piece.start : piece.end]
        found, fault = _check_piece(piece, name, check, means_it)
        if found:
            usable, last = [*usable, *found], None
        elif fault and not piece.inner:
            last = fault if means_it else last
            nearest = fault if means_it or piece.value is not None or nearest is None else nearest
    if last or not usable:
        thoughts = any(piece.aside for piece in pieces)
        nothing = AnswerError("$", text, "a JSON object" + " behind the thoughts" * thoughts)
        raise last or nearest or nothing
    value, checked = usable[-1]
    return Found(value, checked, len({json.dumps(each, sort_keys=True) for each, _ in usable}))


def ends_whole(text: str) -> bool:
    """Tell whether a text ends with a whole JSON object or list that is not a thought.

    Examples:
        >>> ends_whole('<think>{"x": 1}</think>{"x": 2} '), ends_whole('<think>Maybe {"x": 1}'), ends_whole('{"x": {}')
        (True, False, False)
    """
    try:
        whole = [piece for piece in _read_pieces(text) if piece.value is not None and not piece.inner]
    except AnswerError:
        return False
    return bool(whole) and not whole[-1].aside and is_frame(text[whole[-1].end :])


@dataclass
class _Piece:
    """An object or a list in a text, with its value or its fault.

    Attributes:
        start, end: places in the text; an object that nothing closes ends with the text.
        rest: place where reading goes on: behind a whole piece, inside a broken one.
        aside: True if the piece is a thought.
        inner: True if the piece stands in a broken object.
    """

    start: int
    end: int
    rest: int
    value: Any = None
    fault: AnswerError | None = None
    aside: bool = False
    inner: bool = False


def _read_pieces(text: str) -> list[_Piece]:
    """Return all objects and lists of a text, broken ones too. Marks inside of strings do not count.

    Raises:
        AnswerError: more brackets are open than can be looked at.
    """
    pieces: list[_Piece] = []
    aside, at, broken_to, budget = Aside(), 0, 0, MAX_SIGNS
    while place := _PLACE.search(text, at):
        at = place.end()
        if place.lastgroup != "start":
            since = aside.meet(place)
            for piece in reversed(pieces):
                if since is None or piece.start < since:
                    break
                piece.aside = True
            broken_to = 0
            continue
        piece, budget = _read_piece(text, place.start(), budget)
        piece.aside, piece.inner, at = aside.is_open, piece.start < broken_to, piece.rest
        if piece.inner and (
            isinstance(piece.value, list)
            or (broken_to == len(text) and not _CLOSERS.fullmatch(text, piece.end))
        ):
            piece.value = None  # a part of an answer that was cut off, or that goes back as a whole
        if piece.fault and text[piece.start] == "{":
            broken_to = max(broken_to, piece.end)
        pieces.append(piece)
    whole = [piece for piece in pieces if piece.value is not None]
    if len(whole) == 1 and is_frame(text[: whole[0].start]) and is_frame(text[whole[0].end :]):
        whole[0].aside = False  # the text holds nothing else, so it is the answer
    return pieces


def _read_piece(text: str, start: int, budget: int) -> tuple[_Piece, int]:
    """Return the object or list that begins at a place, and the signs that are left to look at."""
    depth, quoted, budget = 0, False, budget - SIGNS_A_PIECE
    for sign in _SIGN.finditer(text, start):
        budget -= 1
        if sign.group() == '"':
            quoted = not quoted
        elif not quoted and sign.group() in "{[":
            depth += 1
        elif not quoted and sign.group() in "}]":
            depth -= 1
        if budget < 0:
            raise AnswerError("$", text[start:], "fewer objects and lists, all of them closed")
        if depth > MAX_DEPTH:
            deep = AnswerError(
                "$", text[start : start + 80], f"at most {MAX_DEPTH} objects and lists in each other"
            )
            return _Piece(start, sign.end(), sign.end(), fault=deep), budget
        if depth == 0:
            end = sign.end()
            try:
                return _Piece(start, end, end, value=_load(text[start:end])), budget
            except AnswerError as fault:
                return _Piece(start, end, start + 1, fault=fault), budget
    cut = AnswerError("$", text[-EXCERPT:], "an object that is closed; the answer was cut off")
    return _Piece(start, len(text), start + 1, fault=cut), budget


def _load(text: str) -> Any:
    def refuse(constant: str) -> NoReturn:
        raise AnswerError("$", constant, "numbers that JSON has")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            names = [name for name, _ in pairs]
            raise AnswerError("$", f"{max(names, key=names.count)} twice in an object", "each name once")
        return fields

    try:
        return json.loads(text, parse_constant=refuse, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        near = text[max(error.pos - 40, 0) : error.pos + 40]
        raise AnswerError("$", near, f"JSON ({error.msg} at character {error.pos})") from error
    except AnswerError:
        raise
    except ValueError as error:  # an integer with thousands of digits
        raise AnswerError("$", text, f"JSON that can be read ({str(error)[:60]})") from error


def _check_piece(
    piece: _Piece, name: str, check: Callable[[Mapping[str, Any]], T], means_it: bool
) -> tuple[list[tuple[dict[str, Any], T]], AnswerError | None]:
    """Return the usable objects of a piece with their meaning, or its fault."""
    found: list[tuple[dict[str, Any], T]] = []
    fault = piece.fault
    for path, value in _unwrap(piece.value, name):
        try:
            found.append((value, check(value)))
        except AnswerError as wrong:
            fault = AnswerError(path + wrong.path[1:], wrong.got, wrong.expected)
    if not found and isinstance(piece.value, dict) and not means_it:
        fault = AnswerError(f"$.{name}", "nothing", "a value")
    return found, fault


def _unwrap(value: Any, name: str, path: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each object in a value that has the field, with its path. A bare list counts as that field's value."""
    fields, items = as_object(value), as_array(value) or []
    only = as_object(items[0]) if len(items) == 1 else None
    if fields is not None and name in fields:
        yield path, fields
    elif fields is not None:
        for key, each in fields.items():
            yield from _unwrap(each, name, f"{path}.{key}")
    elif only is not None and name in only:
        yield f"{path}[0]", only
    elif path == "$" and {type(each) for each in items} in ({dict}, {str}):
        yield path, {name: items}
