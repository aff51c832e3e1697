"""Prompts by frame: a schedule read from text or a storyboard, and what of which prompts every frame is drawn from.

Owns the text's format, the blends and the mixing of encoded prompts; encoding is the host's.

Encodings are mixed in a straight line between keyframes, as diffusers' FreeNoise does; easing and holding are ours.
"""

from __future__ import annotations

import math
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from .phrases import CHUNK, with_phrases
from .prompt_expression import ExpressionError, fill_in, has_expressions
from .storyboard import MAX_CHARACTERS, Scene, Storyboard

MAX_FRAMES = 10_000  # of a clip; each has its own row of tokens
MAX_TOKENS = 24 * CHUNK  # to which prompts of several lengths are repeated
MAX_EXCERPT = 60  # characters

Interpolation = Literal["linear", "ease in-out", "hold"]
Keys = dict[int, str]  # frame -> prompt; frames rise
Conditioning = list[list[Any]]

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


class Blend(NamedTuple):
    """What a frame is drawn from.

    Attributes:
        before: keyframe whose prompt it has.
        after: keyframe whose prompt it is on the way to; the same where it is on the way to none.
        part: how much it has of the latter, 0 <= part < 1.
    """

    before: int
    after: int
    part: float


def parse_prompts(text: str, frames: int) -> Keys:
    r"""Read prompts by frame.

    A line is ``frame: prompt``, or ``50%: prompt`` for a share of the way from the first frame to the last. Or as JSON
    has it: ``"frame": "prompt"``, commas between, in braces or not; of its escapes those for quotes, backslashes, line
    breaks, tabs and Unicode count, so that ``\(`` stays what prompts know. Blank lines are skipped, and lines that
    begin with ``#``. A prompt may be empty. Order is free.

    Args:
        text: at most ``MAX_CHARACTERS``.
        frames: of the clip, for percentages.

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


def plan_travel(keys: Keys, frames: int, interpolation: Interpolation) -> list[Blend]:
    """Say what every frame is drawn from.

    Frames before the first keyframe have its prompt, and frames behind the last its. A keyframe behind the clip counts
    for the frames on the way to it, so a shorter clip is the beginning of a longer one.

    Args:
        keys: at least one.
        frames: F.
        interpolation: hold: every prompt up to the next keyframe. Else a frame that is the share p of the way to the
            next has the part p of it (linear), or (1 - cos(pi * p)) / 2 (ease in-out).

    Returns:
        F of them.

    Raises:
        ValueError: frames is below 1 or above ``MAX_FRAMES``.

    Examples:
        >>> plan_travel({0: "a", 2: "b"}, 3, "linear")[1:]
        [Blend(before=0, after=2, part=0.5), Blend(before=2, after=2, part=0.0)]
    """
    if not 1 <= frames <= MAX_FRAMES:
        raise ValueError(
            f"frames={frames}; expected 1 to {MAX_FRAMES:,}; set frames to how many are sampled (0 is for storyboards, "
            "and takes theirs)."
        )
    places = sorted(keys)
    blends: list[Blend] = []
    for frame in range(frames):
        behind = bisect_right(places, frame)
        before = places[max(behind - 1, 0)]
        after = places[min(behind, len(places) - 1)]
        if interpolation == "hold" or frame <= before or after <= before:
            blends.append(Blend(before, before, 0.0))
            continue
        part = (frame - before) / (after - before)
        eased = (1 - math.cos(math.pi * part)) / 2 if interpolation == "ease in-out" else part
        blends.append(Blend(before, after, eased))
    return blends


def fill_travel(keys: Keys, blends: Sequence[Blend], text: str) -> tuple[Keys, list[Blend]]:
    """Return prompts and blends in which each frame has the values of expressions such as `` `t / max_f` `` at it.

    A prompt without any stays one; another becomes as many as its values need.

    Args:
        keys: prompts by frame.
        blends: what every frame is drawn from.
        text: in which the prompts were written, to say where a wrong expression stands.

    Raises:
        ValueError: one can't be read, or its value is not finite; names line and column.
    """
    filled = {key: prompt for key, prompt in keys.items() if not has_expressions(prompt)}
    made: dict[tuple[int, str], int] = {}

    def at(key: int, frame: int) -> int:
        if not has_expressions(keys[key]):
            return key
        prompt = fill_in(keys[key], frame, len(blends))
        number = made.setdefault((key, prompt), max(keys) + 1 + len(made))
        filled[number] = prompt
        return number

    try:
        moved = [Blend(at(one.before, f), at(one.after, f), one.part) for f, one in enumerate(blends)]
    except ExpressionError as error:
        place = text.find(error.expression)
        where = "line {}, column {}".format(*_place(text, place)) if place >= 0 else "in prepend or append"
        raise ValueError(f"prompts {where}: {error}.") from error
    return filled, moved


def used_prompts(keys: Keys, blends: Sequence[Blend]) -> list[str]:
    """Return the prompts that frames are drawn from, each once."""
    used = {key for blend in blends for key in (blend.before, blend.after)}
    return list(dict.fromkeys(prompt for frame, prompt in keys.items() if frame in used))


def describe_travel(keys: Keys, blends: Sequence[Blend]) -> str:
    r"""Say what is drawn when: a line for every range of frames, and one for every prompt that no frame has.

    Examples:
        >>> keys = {0: "a", 2: "b", 9: "c"}
        >>> print(describe_travel(keys, plan_travel(keys, 4, "hold")))
        0 to 1: a
        2 to 3: b
        unused, 9: c
    """
    shown = {frame: " ".join(prompt.split()) or "(empty)" for frame, prompt in keys.items()}
    lines: list[str] = []
    for (before, after), group in groupby(enumerate(blends), lambda item: item[1][:2]):
        members = list(group)
        (first, one), (last, other) = members[0], members[-1]
        span = str(first) if first == last else f"{first} to {last}"
        parts = f"{one.part:.2f}" if first == last else f"{one.part:.2f} to {other.part:.2f}"
        lines.append(
            f"{span}: {shown[before]}" + (f" -> {shown[after]} ({parts})" if after != before else "")
        )
    used = {key for blend in blends for key in (blend.before, blend.after)}
    return "\n".join([*lines, *(f"unused, {frame}: {shown[frame]}" for frame in keys if frame not in used)])


def travel_conditions(
    encoded: Mapping[str, Conditioning], keys: Keys, blends: Sequence[Blend]
) -> Conditioning:
    """Return conditions with tokens for every frame, mixed as the blends say.

    A keyframe's row is its prompt's encoding, bit for bit. Shorter prompts are repeated to the length of all, as
    ComfyUI does in a batch: attention reads the same from tokens that all stand there equally often.

    Args:
        encoded: every prompt that is used, encoded by itself: conditions of [1, L, D] tokens, in the same number.
        keys: prompts by frame.
        blends: what every frame is drawn from.

    Returns:
        Conditions of [F, L, D] tokens, and of [F, D] ``pooled_output`` where there is one; the rest is the first
        prompt's. A single prompt's own conditions, if there is but one.

    Raises:
        ValueError: together, the prompts would need more than ``MAX_TOKENS``.
    """
    if len(encoded) == 1:
        return next(iter(encoded.values()))
    length = common_length([tokens.shape[1] for side in encoded.values() for tokens, _ in side])
    used = used_prompts(keys, blends)
    conditions: Conditioning = []
    for same in zip(*encoded.values(), strict=True):
        sides = dict(zip(encoded, same, strict=True))
        tokens = {prompt: _repeat(sides[prompt][0], length) for prompt in used}
        pooled = {prompt: sides[prompt][1].get("pooled_output") for prompt in used}
        options = dict(same[0][1])
        if all(isinstance(row, Tensor) for row in pooled.values()):
            options["pooled_output"] = _mix(pooled, keys, blends)
        conditions.append([_mix(tokens, keys, blends), options])
    return conditions


def _mix(rows: Mapping[str, Tensor], keys: Keys, blends: Sequence[Blend]) -> Tensor:
    """Mix every frame from prompts' rows, [1, ...] each. Returns [F, ...]."""
    return torch.cat(
        [
            torch.lerp(rows[keys[blend.before]], rows[keys[blend.after]], blend.part)
            if blend.part
            else rows[keys[blend.before]]
            for blend in blends
        ]
    )


def _repeat(tokens: Tensor, length: int) -> Tensor:
    return tokens.repeat(1, length // tokens.shape[1], 1)


def common_length(lengths: Sequence[int]) -> int:
    """Return the number of tokens to which encodings of several lengths are repeated.

    Raises:
        ValueError: it is above ``MAX_TOKENS``.
    """
    length, longest = math.lcm(*lengths), max(lengths)
    if length > max(MAX_TOKENS, longest):
        chunks = sorted({each // CHUNK for each in lengths})
        raise ValueError(
            f"prompts: got some of {', '.join(map(str, chunks))} times {CHUNK} tokens; expected lengths that fit into "
            f"{MAX_TOKENS} tokens when repeated; shorten the longest, so that each is 1 to 4 times {CHUNK}."
        )
    return length


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


def _place(text: str, at: int) -> tuple[int, int]:
    """Return line and column of a place, from 1."""
    return text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1


def _error(text: str, at: int, expected: str, advice: str, got: str = "") -> ValueError:
    """Return what to raise about a place; ``got``: what stands there, if that isn't the rest of its line."""
    line, column = _place(text, at)
    rest = _rest(text, at).rstrip()
    got = got or (quote(rest) if at < len(text) else "the end of the text")
    return ValueError(f"prompts line {line}, column {column}: got {got}; expected {expected}; {advice}.")


def quote(text: str) -> str:
    """Return the beginning of a text in quotes, for an error."""
    return repr(text if len(text) <= MAX_EXCERPT else f"{text[: MAX_EXCERPT - 3]}...")
