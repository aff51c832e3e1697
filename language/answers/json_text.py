"""JSON for language models: words of every script in their own characters, which cost fewer tokens than escapes."""

from __future__ import annotations

import json
import re
from typing import Any


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
