"""JSON that others wrote: read whole, or refused in words, however deep it is and however long its numbers are."""

from __future__ import annotations

import json
from typing import Any, cast

DEEPEST = 100
"""Lists and objects within each other; a workflow has about five."""


class BadJSONError(ValueError):
    """Text that is no JSON, or JSON that nothing here can use. Its words say what was got."""


def read_json(text: str | bytes) -> Any:
    """Read JSON.

    Raises:
        BadJSONError: it is none, it nests too deep, or it has a number that Python does not read.
    """
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadJSONError(f"text that is not JSON ({error})") from error
    except ValueError as error:  # Python reads whole numbers of some thousand digits at most
        raise BadJSONError("JSON with a number of thousands of digits") from error
    except RecursionError as error:
        raise BadJSONError("JSON with thousands of lists or objects within each other") from error
    if _depth(value) > DEEPEST:
        raise BadJSONError(f"JSON with more than {DEEPEST} lists or objects within each other")
    return value


def _depth(value: Any) -> int:
    """Return how many lists and objects lie within each other, without a call for each."""
    depth, level = 0, [value]
    while holders := [parts for each in level if (parts := _parts(each)) is not None]:
        depth += 1
        level = [part for parts in holders for part in parts]
    return depth


def _parts(value: Any) -> list[Any] | None:
    fields = as_object(value)
    return as_array(value) if fields is None else list(fields.values())


def as_object(value: Any) -> dict[str, Any] | None:
    """Return a value of JSON if it is an object, else None."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def as_array(value: Any) -> list[Any] | None:
    """Return a value of JSON if it is an array, else None."""
    return cast("list[Any]", value) if isinstance(value, list) else None
