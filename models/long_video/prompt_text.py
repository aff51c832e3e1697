"""Schedules of prompts as text: prompts by frame, read from a user's lines or from a storyboard's scenes."""

from __future__ import annotations

import re
import unicodedata

from ..storyboard.phrases import with_phrases
from ..storyboard.scenes import MAX_CHARACTERS, Scene, Storyboard

MAX_EXCERPT = 60  # characters

Keys = dict[int, str]  # frame -> prompt; frames rise

_SPACE = re.compile(r"\s+|#[^\n]*")
# Quotes that word processors and Asian keyboards write; a full-width colon or comma is read as a plain one, too.
_CURLY = "\u201c\u201d\u201e\u201f\uff02"
_KEY = re.compile(
    rf'(?:["{_CURLY}](?P<quoted>[^:\uff1a"{_CURLY}\n]*)["{_CURLY}]|(?P<bare>[^:\uff1a"{_CURLY}\n]*))'
    r"[ \t]*[:\uff1a][ \t]*"
)
_FRAME = re.compile(r"([0-9]{1,6})|([0-9]{1,3}(?:\.[0-9]{1,9})?)[ \t]*%")
_QUOTED = re.compile(r'"([^"\\\n]*(?:\\.[^"\\\n]*)*)"')
_IN_CURLY = re.compile(rf'[{_CURLY}]([^"{_CURLY}\\\n]*(?:\\.[^"{_CURLY}\\\n]*)*)["{_CURLY}]')
_BEHIND = re.compile(r"[ \t\r]*(?:[,\uff0c]|$|(?=[\n#}]))")
_NEGATIVE = re.compile(r"--neg\b")
_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\/nrt]))')
_LETTERS = {"n": "\n", "r": "\r", "t": "\t"}


def parse_prompts(text: str, frames: int) -> Keys:
    r"""Read prompts by frame.

    A line is ``frame: prompt``, or ``50%: prompt`` for a share of the way from the first frame to the last. Or as JSON
    has it: ``"frame": "prompt"``, commas between, in braces or not; of its escapes those for quotes, backslashes, line
    breaks, tabs and Unicode count, so that ``\(`` stays what prompts know. Blank lines are skipped, and lines that
    begin with ``#``. A prompt may be empty. Order is free.

    Args:
        text: schedule of at most ``MAX_CHARACTERS``.
        frames: length of the clip, for percentages.

    Raises:
        ValueError: it is something else, or has a frame twice, or no prompt; names line and column.

    Examples:
        >>> parse_prompts("0: a red circle\n100%: a (blue:1.2) square", 16)
        {0: 'a red circle', 15: 'a (blue:1.2) square'}
        >>> parse_prompts('{"16": "a blue square", "0": "a \\"red\\" circle",}', 32)
        {0: 'a "red" circle', 16: 'a blue square'}
    """
    _check_text(text)
    keys: Keys = {}
    at = _skip(text, 0)
    opened = at
    braces = text.startswith("{", at)
    at = _skip(text, at + braces)
    while at < len(text) and not (braces and text[at] == "}"):
        frame, behind = _read_frame(text, at, frames)
        if frame in keys:
            raise _error(text, at, "every frame once", f"frame {frame} has a prompt already; delete one")
        keys[frame], at = _read_prompt(text, behind, quoted=braces or text[at] in f'"{_CURLY}')
        if negative := _NEGATIVE.search(text, behind, at):
            advice = "write what follows it into another Prompt Travel, for negative, and delete it here"
            raise _error(text, negative.start(), "what to draw alone", advice)
        at = _skip(text, at)
    if braces and at == len(text):
        raise _error(text, opened, "a bracket } that closes it", "write it at the end, or delete this one")
    if braces and (end := _skip(text, at + 1)) < len(text):
        raise _error(text, end, "nothing behind the bracket }", "delete what follows it")
    if not keys:
        raise _error(text, at, "a keyframe such as `0: a red circle`", "write one")
    return dict(sorted(keys.items()))


def storyboard_prompts(storyboard: Storyboard) -> tuple[Keys, int]:
    """Return every scene's prompt at the frame where it starts, and how many frames all scenes have.

    Raises:
        ValueError: a scene says nothing.
    """
    keys: Keys = {}
    start = 0
    for scene in storyboard.scenes:
        keys[start] = _say(scene)
        start += scene.frames
    return keys, start


def _say(scene: Scene) -> str:
    """Return a scene's prompt; where it has none, its entities and its background."""
    said = scene.prompt.strip() or with_phrases(
        "", [*(entity.text for entity in scene.entities), scene.background.strip()]
    )
    if not said:
        raise ValueError(
            f"storyboard: scene {scene.id} has no prompt, background or entity; expected a prompt; give it one."
        )
    return said


def _check_text(text: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise ValueError(
            f"prompts: got {len(text):,} characters; expected at most {MAX_CHARACTERS:,}; write fewer keyframes."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _error(text, error.start, "text in Unicode", "delete the broken character") from error


def _skip(text: str, at: int) -> int:
    """Return the place behind spaces and remarks."""
    while space := _SPACE.match(text, at):
        at = space.end()
    return at


def _read_frame(text: str, at: int, frames: int) -> tuple[int, int]:
    """Read what stands before a prompt: the frame, and where the prompt begins."""
    key = _KEY.match(text, at)
    if key is None:
        raise _error(text, at, "`frame: prompt`, such as `0: a red circle`", "begin the line with its frame")
    said = unicodedata.normalize("NFKC", key["quoted"] or key["bare"] or "").strip()
    number = _FRAME.fullmatch(said)
    if number is None or float(number[2] or 0) > 100:
        expected = "a frame, counted from 0, or 0% to 100% of the clip before the colon"
        raise _error(text, at, expected, "correct the number", quote(said))
    if number[1]:
        return int(number[1]), key.end()
    return int(float(number[2]) / 100 * max(frames - 1, 0) + 0.5), key.end()


def _read_prompt(text: str, at: int, *, quoted: bool) -> tuple[str, int]:
    """Read a prompt: in quotes, up to the comma behind it; or else up to its line's end."""
    if text.startswith('"', at):
        string = _QUOTED.match(text, at)
        if string is None:
            raise _error(text, at, "a quote that closes the prompt on its line", "write it")
        behind = _BEHIND.match(text, string.end())
        if behind is None:
            advice = r"put the whole prompt in quotes, and write \" for quotes in it"
            raise _error(text, string.end(), "a comma or the line's end behind the prompt", advice)
        return _unescape(text, string), behind.end()
    string = _IN_CURLY.match(text, at)
    behind = string and _BEHIND.match(text, string.end())
    if string and behind:
        return _unescape(text, string), behind.end()
    if quoted:
        raise _error(text, at, "the prompt in quotes, as in JSON", "write quotes around it")
    rest = _rest(text, at)
    return rest.strip(), at + len(rest)


def _unescape(text: str, string: re.Match[str]) -> str:
    def character(escape: re.Match[str]) -> str:
        return chr(int(escape[1], 16)) if escape[1] else _LETTERS.get(escape[2], escape[2])

    try:
        # Characters beyond 0xFFFF are two escapes.
        return _ESCAPE.sub(character, string[1]).encode("utf-16", "surrogatepass").decode("utf-16").strip()
    except UnicodeDecodeError as error:
        raise _error(text, string.start(), "text in Unicode", r"delete the escape \ud...") from error


def _rest(text: str, at: int) -> str:
    """Return the rest of a line."""
    end = text.find("\n", at)
    return text[at:] if end < 0 else text[at:end]


def line_and_column(text: str, at: int) -> tuple[int, int]:
    """Return line and column of a place, from 1."""
    return text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1


def _error(text: str, at: int, expected: str, advice: str, got: str = "") -> ValueError:
    """Return what to raise about a place; ``got``: what stands there, if that isn't the rest of its line."""
    line, column = line_and_column(text, at)
    rest = _rest(text, at).rstrip()
    got = got or (quote(rest) if at < len(text) else "the end of the text")
    return ValueError(f"prompts line {line}, column {column}: got {got}; expected {expected}; {advice}.")


def quote(text: str) -> str:
    """Return the beginning of a text in quotes, for an error."""
    return repr(text if len(text) <= MAX_EXCERPT else f"{text[: MAX_EXCERPT - 3]}...")
