"""A text that somebody wrote, and errors that name a line of it and show an excerpt."""

from __future__ import annotations

from collections.abc import Iterator

from ...models.storyboard.scenes import MAX_CHARACTERS

MAX_EXCERPT = 80  # characters


class TextError(ValueError):
    """A text breaks the rules of its format.

    Attributes:
        at: place of the first character that is wrong.
        why: line and what was expected, in short.
    """

    def __init__(self, message: str, at: int, why: str) -> None:
        super().__init__(message)
        self.at, self.why = at, why


class Source:
    """A text that somebody wrote, and the name of its format.

    Raises:
        TextError: it is too long, or holds half a surrogate pair.
    """

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name
        if len(text) > MAX_CHARACTERS:
            got = f"{len(text):,} characters, the first {excerpt(text[:20])}"
            raise self.error(0, f"at most {MAX_CHARACTERS:,}", "give fewer scenes at a time", got)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise self.error(error.start, "text in Unicode", "delete the broken character") from error

    def error(self, at: int, expected: str, advice: str, got: str = "") -> TextError:
        """Return the error to raise: at a place, what should stand there, and advice to the user.

        ``got`` is the excerpt to show; empty: the rest of the line.
        """
        line = self.text.count("\n", 0, at) + 1
        got = got or excerpt(self.text[at : at + MAX_EXCERPT].partition("\n")[0].rstrip())
        if at >= len(self.text):
            got = "the end of the text"
        message = f"{self.name} line {line}: got {got}; expected {expected}; {advice}."
        return TextError(message, at, f"line {line}: expected {expected}")

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield every line that is not blank, with its place."""
        at = 0
        for line in self.text.split("\n"):
            if line.strip():
                yield at, line
            at += len(line) + 1


def excerpt(text: str) -> str:
    """Return a text in quotes, on one line, cut to ``MAX_EXCERPT``."""
    shown = repr(text[:MAX_EXCERPT])
    return shown if len(shown) <= MAX_EXCERPT else f"{shown[: MAX_EXCERPT - 4]}...{shown[0]}"
