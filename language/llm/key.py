"""The key of a language model's server: read when it is needed, and removed from every text that leaves."""

from __future__ import annotations

import base64
import html
import os
import re
from collections.abc import Iterator

from ...models.errors import LanguageModelError

SHORTEST = 8  # characters; shorter values are placeholders such as "none", which answers may contain
EXCERPT = 200  # characters
LOOKED_AT = 65_536  # characters that an excerpt is made from; to search megabytes for a key takes seconds


class Key:
    """A key, or none. It is never shown or stored."""

    __slots__ = ("_forms", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        forms = sorted(set(_forms(value)), key=len, reverse=True) if len(value) >= SHORTEST else []
        patterns = ["".join(map(_spelled, form)) for form in forms]
        self._forms = re.compile("|".join(patterns), re.IGNORECASE) if patterns else None

    def __reduce__(self) -> str:
        raise TypeError("a key is not stored.")

    @property
    def headers(self) -> dict[str, str]:
        """Headers of a request to the key's own server."""
        return {"Authorization": f"Bearer {self._value}"} if self._value else {}

    def scrub(self, text: str) -> str:
        """Return a text without the key, also where it is escaped for JSON, an address or HTML, or in base64."""
        return self._forms.sub("***", text) if self._forms else text

    def excerpt(self, text: bytes | str) -> str:
        """Return the beginning of somebody else's text, without the key, as one quoted line.

        Examples:
            >>> Key("").excerpt(b"<html>   <b>no</b>")
            "'<html> <b>no</b>'"
        """
        text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        begun = " ".join(text.split())[:LOOKED_AT]
        line = self.scrub("".join(each if each.isprintable() else " " for each in begun))
        return f"'{line}'" if len(line) <= EXCERPT else f"'{line[:EXCERPT]}...'"


def read_key(variable: str | None, label: str) -> Key:
    """Read a key from the environment.

    Args:
        variable: name of the environment variable; None: there is no key.
        label: name of the profile that asks.

    Raises:
        LanguageModelError: the variable is not set, or holds what no request can carry.
    """
    value = os.environ.get(variable, "").strip() if variable else ""
    if variable and not re.fullmatch(r"[\x21-\x7e]+", value):
        got = "has characters that no key has" if value else "is not set"
        raise LanguageModelError(
            f"{label}: environment variable {variable} {got}; expected the key of its server; set it where this "
            "program is started, and start it again."
        )
    return Key(value)


def _forms(value: str) -> Iterator[str]:
    """Yield the key, and its base64 for each place among three bytes where it can start."""
    yield value
    for before in range(3):
        code = base64.b64encode(b"\0" * before + value.encode()).decode().rstrip("=")
        # Without the characters that depend on the neighbours, too.
        core = code[(0, 2, 3)[before] : len(code) - bool((before + len(value)) % 3)]
        yield from (core, core.translate(str.maketrans("+/", "-_")))


def _spelled(character: str) -> str:
    """Return a pattern of a character: plain, or escaped for JSON (also within JSON), an address, or HTML."""
    code = ord(character)
    in_json = rf"\\{{0,7}}(?:{re.escape(character)}|u{code:04x})"
    in_html = {f"&#0?{code};", f"&#x{code:x};", html.escape(character)} - {character}
    return f"(?:{'|'.join([in_json, f'%{code:02x}', *sorted(in_html)])})"
