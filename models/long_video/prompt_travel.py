"""Prompts that travel: what of which prompts every frame is drawn from, and their encodings mixed so.

Schedules are read by ``prompt_text``, and prompts are encoded by the host. With c_k the encoding of
keyframe k's prompt, and a <= f < b the keyframes around frame f, the frame is drawn from

    c_f = (1 - p) c_a + p c_b    linear: p = (f - a) / (b - a);    ease in-out: (1 - cos(pi p)) / 2 of that;    hold: 0

The straight line is diffusers' FreeNoise's; easing and holding are ours.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from ..storyboard.phrases import CHUNK
from .prompt_expression import ExpressionError, fill_in, has_expressions
from .prompt_text import Keys, line_and_column

MAX_FRAMES = 10_000  # of a clip; each has its own row of tokens
MAX_TOKENS = 24 * CHUNK  # to which prompts of several lengths are repeated

Interpolation = Literal["linear", "ease in-out", "hold"]
Conditioning = list[list[Any]]


class Blend(NamedTuple):
    """What a frame is drawn from."""

    before: int  # a, keyframe whose prompt it has
    after: int  # b, keyframe whose prompt it is on the way to; a where it is on the way to none
    part: float  # p, 0 <= p < 1


def plan_travel(keys: Keys, frames: int, interpolation: Interpolation) -> list[Blend]:
    """Say what every frame is drawn from.

    Frames before the first keyframe have its prompt, and frames behind the last its. A keyframe behind the clip counts
    for the frames on the way to it, so a shorter clip is the beginning of a longer one.

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

    A prompt without any stays one; another becomes as many as its values need. An error says where in the text of the
    schedule a wrong expression stands.

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
        where = (
            "line {}, column {}".format(*line_and_column(text, place))
            if place >= 0
            else "in prepend or append"
        )
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
    """Return conditions with tokens c_f, [F, S, D], of the conditions of each prompt that is used, [1, S, D].

    ``pooled_output`` is mixed as the tokens are; the rest is the first prompt's. A keyframe's row is its prompt's
    encoding, bit for bit. Shorter prompts are repeated to the length of all, as ComfyUI does in a batch: attention
    reads the same from tokens that all stand there equally often.

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
    ends = [(rows[keys[a]], rows[keys[b]], p) for a, b, p in blends]
    return torch.cat([torch.lerp(c_a, c_b, p) if p else c_a for c_a, c_b, p in ends])


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
