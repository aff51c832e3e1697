"""JSON for language models: writing it, and what a value that was read is.

Words of every script stay in their own characters, which cost fewer tokens than escapes.
"""

from __future__ import annotations

import json
import re
from typing import Any, cast


def write_json(value: Any) -> str:
    r"""Return JSON that escapes only what UTF-8 or JSON can't hold.

    Args:
        value: value that ``json.dumps`` takes.

    Examples:
        >>> print(write_json({"script": 'Ein "Fuchs" läuft. 狐', "half": chr(0xD800)}))
        {"script": "Ein \"Fuchs\" läuft. 狐", "half": "\ud800"}
    """
    text = json.dumps(value, ensure_ascii=False)
    return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half.group()):04x}", text)


def as_object(value: Any) -> dict[str, Any] | None:
    """Return a value of JSON if it is an object, else None."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def as_array(value: Any) -> list[Any] | None:
    """Return a value of JSON if it is an array, else None."""
    return cast("list[Any]", value) if isinstance(value, list) else None
