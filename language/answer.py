"""A chat model's answer, put together from what its server sends: events, lines of JSON, or one JSON text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..models.errors import LanguageModelError
from .key import Key
from .reading import ends_whole

MAX_CHARACTERS = 1_000_000  # of an answer, thoughts included
BLANKS = 400  # characters behind a whole answer, after which nothing more is waited for
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")  # what servers call them


class Answer:
    """What has come so far.

    Reads OpenAI's answers, streamed or whole, and those of Ollama's own interface; text that comes in parts; an answer
    that a server takes for a thought or a tool's arguments. What ends a line ends no character: pieces may be cut
    anywhere.

    Args:
        who: name with which every error begins.
        key: key of the server, which errors never quote.
    """

    def __init__(self, who: str, key: Key) -> None:
        self._who, self._excerpt = who, key.excerpt
        self._rest = bytearray()  # of a line that has not ended
        self._event: list[bytes] = []
        self._plain: list[bytes] = []  # lines that are neither events nor whole JSON
        self._texts: dict[str, list[str]] = {"content": [], "thoughts": [], "refusal": [], "arguments": []}
        self._finish: str | None = None
        self._choices = self._blanks = 0
        self.characters = 0
        self.done = False

    def add(self, piece: bytes) -> None:
        """Read a piece; raises LanguageModelError for what is no answer."""
        first, *others = piece.split(b"\n")
        self._rest += first
        for line in others:
            self._read_line(bytes(self._rest))
            self._rest = bytearray(line)

    def text(self, max_tokens: int) -> str:
        """Return the answer, after the last piece.

        Args:
            max_tokens: limit that the question set, in tokens, for the error; 0: the server's own limit.

        Raises:
            LanguageModelError: it is not finished, or there is none.
        """
        self._read_line(bytes(self._rest))
        self._read_line(b"")
        if self._plain:
            self._read_json(b"\n".join(self._plain))
        content, thoughts, refusal, arguments = (_join(texts) for texts in self._texts.values())
        if not content.strip():
            content = arguments or (thoughts if ends_whole(f"<think>{thoughts}") else content)
        if not self._choices:
            raise self._error("sent no choices", "an answer", "look at the server's log")
        if refusal:
            raise self._error(f"refuses: {self._excerpt(refusal)}", "an answer", "change the script")
        if self._finish == "length" and not ends_whole(content):
            limit = f"max_tokens={max_tokens}" if max_tokens else "the server's own limit"
            raise self._error(
                f"stopped at {limit}, after {self._excerpt(content or thoughts)}",
                "a whole answer",
                "raise max_tokens, or ask for less",
            )
        if self._finish == "content_filter":
            raise self._error("stopped at its content filter", "an answer", "change the script")
        if not content.strip() and thoughts:
            raise self._error(
                f"thought, and then said nothing: {self._excerpt(thoughts)}",
                "an answer after its thoughts",
                "raise max_tokens, or take a model that does not think aloud",
            )
        if not content.strip():
            raise self._error("sent an empty answer", "text", "try another seed or model")
        return content

    def _read_line(self, line: bytes) -> None:
        line = line.rstrip(b"\r")
        if self.done:
            return
        if line.startswith(b"data:") and not self._plain:
            self._event.append(line.removeprefix(b"data:").strip())
        elif not line.strip():
            event, self._event = b"\n".join(self._event), []
            self.done |= event == b"[DONE]"
            if event and not self.done:
                self._read_json(event)
        elif self._plain or not (
            line.startswith((b":", b"event:", b"id:", b"retry:")) or self._is_whole(line)
        ):
            self._plain.append(line)

    def _is_whole(self, line: bytes) -> bool:
        """Read a line that is a JSON object by itself, and say whether it was one."""
        if not (line.startswith(b"{") and line.endswith(b"}")):
            return False
        self._read_json(line)
        return True

    def _read_json(self, text: bytes) -> None:
        try:
            self._read_part(json.loads(text.decode("utf-8")))
            return
        except UnicodeDecodeError:
            why = "UTF-8"
        except (ValueError, RecursionError):  # also of JSON that could be read, but not quoted
            why = "JSON"
        raise self._error(
            f"sent what is not {why}: {self._excerpt(text)}",
            "a chat completion",
            "check the profile's base_url and its server",
        )

    def _read_part(self, part: Any) -> None:
        """Read one JSON object: a whole completion, or a bit of one."""
        if isinstance(part, dict) and part.get("error"):
            raise self._error(
                f"reports {self._excerpt(json.dumps(part['error']))}", "an answer", "see to that"
            )
        choices = part.get("choices", [part]) if isinstance(part, dict) else None
        if not isinstance(choices, list):
            raise self._unknown(part)
        for choice in choices[:1]:
            if not isinstance(choice, dict):
                raise self._unknown(part)
            message = choice.get("delta") or choice.get("message") or {}
            if not isinstance(message, dict):
                raise self._unknown(part)
            self._choices += "delta" in choice or "message" in choice
            self._read_message(message, part)
            self._finish = choice.get("finish_reason") or choice.get("done_reason") or self._finish
            self.done |= bool(self._finish)

    def _read_message(self, message: Mapping[str, Any], part: Any) -> None:
        thoughts = next((name for name in _THOUGHTS if message.get(name)), "")
        for kind, name in (("content", "content"), ("thoughts", thoughts), ("refusal", "refusal")):
            self._read_text(kind, message.get(name) or "", part)
        called = message.get("tool_calls")
        for call in called[:1] if isinstance(called, list) else ():
            function = call.get("function") if isinstance(call, dict) else None
            arguments = function.get("arguments") if isinstance(function, dict) else None
            self._read_text("arguments", arguments or "", part)

    def _read_text(self, kind: str, text: Any, part: Any) -> None:
        """Read text, or a list of parts of text, each of a type."""
        if isinstance(text, list) and all(isinstance(each, dict) for each in text):
            for each in text:
                inner = str(each.get("type", "text"))
                means = "thoughts" if inner in _THOUGHTS else inner if inner in self._texts else kind
                self._read_text(means, each.get("text") or each.get(inner) or "", part)
            return
        if not isinstance(text, str):
            raise self._unknown(part)
        self._texts[kind].append(text)
        self._count(len(text))
        self._blanks = self._blanks + len(text) if text.isspace() else self._blanks * (not text)
        if kind == "content" and self._blanks > BLANKS >= self._blanks - len(text):
            self.done |= ends_whole(_join(self._texts[kind]))

    def _count(self, more: int) -> None:
        self.characters += more
        if self.characters > MAX_CHARACTERS:
            raise self._error(
                f"sent more than {MAX_CHARACTERS:,} characters",
                "a shorter answer",
                "ask for less, or lower max_tokens",
            )

    def _unknown(self, part: Any) -> LanguageModelError:
        return self._error(
            f"sent JSON of another form: {self._excerpt(json.dumps(part))}",
            "a chat completion",
            "check the profile's base_url",
        )

    def _error(self, what: str, expected: str, remedy: str) -> LanguageModelError:
        return LanguageModelError(f"{self._who}: the server {what}; expected {expected}; {remedy}.")


def _join(texts: list[str]) -> str:
    """Join bits of text, and the halves of characters that JSON wrote into two of them; odd halves become U+FFFD."""
    return "".join(texts).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
