"""The answer of a chat model, put together from its server's pieces: events, lines of JSON, or one JSON text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...models.errors import LanguageModelError
from ...models.files.json_text import as_array, as_object, read_json
from ..answers.reading import ends_whole
from .key import Key

MAX_CHARACTERS = 1_000_000  # longest answer, thoughts included
BLANKS = 400  # blank characters after a whole answer; then it is over
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")  # names that servers use


class Answer:
    """The part of an answer that has come so far.

    It reads OpenAI's answers, streamed or whole, and those of Ollama's own interface; text in several parts; and
    answers that a server takes for a thought or for a tool's arguments. Pieces may be cut anywhere, also inside a
    character.

    Args:
        who: name with which every error begins.
        key: key of the server, which errors never quote.
    """

    def __init__(self, who: str, key: Key) -> None:
        self._who, self._excerpt = who, key.excerpt
        self._rest = bytearray()  # the line that has not ended yet
        self._event: list[bytes] = []
        self._plain: list[bytes] = []  # lines that are neither events nor whole JSON
        self._texts: dict[str, list[str]] = {"content": [], "thoughts": [], "refusal": [], "arguments": []}
        self._finish: str | None = None
        self._choices = self._blanks = 0
        self.characters = 0
        self.done = False

    def add(self, piece: bytes) -> None:
        """Read a piece. Raises LanguageModelError if it belongs to no answer."""
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
            self._read_part(read_json(text.decode("utf-8")))
            return
        except UnicodeDecodeError:
            why = "UTF-8"
        except ValueError:
            why = "JSON"
        raise self._error(
            f"sent what is not {why}: {self._excerpt(text)}",
            "a chat completion",
            "check the profile's base_url and its server",
        )

    def _read_part(self, part: Any) -> None:
        """Read one JSON object: a whole completion, or a bit of one."""
        fields = as_object(part)
        if fields is not None and fields.get("error"):
            raise self._error(
                f"reports {self._excerpt(json.dumps(fields['error']))}",
                "an answer",
                "solve that at the server",
            )
        choices = None if fields is None else as_array(fields.get("choices", [fields]))
        if choices is None:
            raise self._unknown(part)
        for choice in map(as_object, choices[:1]):
            message = (
                None if choice is None else as_object(choice.get("delta") or choice.get("message") or {})
            )
            if choice is None or message is None:
                raise self._unknown(part)
            self._choices += "delta" in choice or "message" in choice
            self._read_message(message, part)
            self._finish = choice.get("finish_reason") or choice.get("done_reason") or self._finish
            self.done |= bool(self._finish)

    def _read_message(self, message: Mapping[str, Any], part: Any) -> None:
        thoughts = next((name for name in _THOUGHTS if message.get(name)), "")
        for kind, name in (("content", "content"), ("thoughts", thoughts), ("refusal", "refusal")):
            self._read_text(kind, message.get(name) or "", part)
        for call in (as_array(message.get("tool_calls")) or [])[:1]:
            function = as_object((as_object(call) or {}).get("function")) or {}
            self._read_text("arguments", function.get("arguments") or "", part)

    def _read_text(self, kind: str, text: Any, part: Any) -> None:
        """Read text, or a list of parts of text, each of a type."""
        listed = as_array(text)
        parts = [each for each in map(as_object, listed or []) if each is not None]
        if listed is not None and len(parts) == len(listed):
            for each in parts:
                inner = str(each.get("type", "text"))
                means = "thoughts" if inner in _THOUGHTS else inner if inner in self._texts else kind
                self._read_text(means, each.get("text") or each.get(inner) or "", part)
            return
        if not isinstance(text, str):
            raise self._unknown(part)
        self._texts[kind].append(text)
        self.characters += len(text)
        if self.characters > MAX_CHARACTERS:
            raise self._error(
                f"sent more than {MAX_CHARACTERS:,} characters",
                "a shorter answer",
                "ask for less, or lower max_tokens",
            )
        self._blanks = self._blanks + len(text) if text.isspace() else self._blanks * (not text)
        if kind == "content" and self._blanks > BLANKS >= self._blanks - len(text):
            self.done |= ends_whole(_join(self._texts[kind]))

    def _unknown(self, part: Any) -> LanguageModelError:
        return self._error(
            f"sent JSON of another form: {self._excerpt(json.dumps(part))}",
            "a chat completion",
            "check the profile's base_url",
        )

    def _error(self, what: str, expected: str, remedy: str) -> LanguageModelError:
        return LanguageModelError(f"{self._who}: the server {what}; expected {expected}; {remedy}.")


def _join(texts: list[str]) -> str:
    """Join bits of text. Two bits may hold the two halves of one character; a half without its other becomes U+FFFD."""
    return "".join(texts).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
