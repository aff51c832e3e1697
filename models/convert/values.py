"""AnimateDiff-Evolved's strengths, by number, by frame, by place and by step, as what Motion Strength reads."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from .graph import Link, Node
from .rules import part
from .work import Work

MOST = 10.0  # of our strengths
_PAIR = re.compile(r'"?(?P<key>-?[\d.]+)(?P<hold>:?)"?\s*[:=]\s*\(?\s*(?P<value>-?[\d.]+)\s*\)?\s*(?:,|$)')
_DYNAMIC = ("ADE_MultivalDynamic", "ADE_MultivalDynamicFloatInput", "ADE_MultivalDynamicFloats")
_MASKED = "ADE_MultivalScaledMask"
VALUE_SCHEDULES = {
    "ADE_ValueScheduling": "values",
    "ADE_ValueSchedulingLatents": "values",
    "BatchValueSchedule": "text",
    "BatchValueScheduleLatentInput": "text",
}

part(*_DYNAMIC,
     here="an effect is Apply Motion Module's `strength`, or Motion Strength; a scale is Motion Strength's `scale`",
     but="near for an effect by mask, whose edges are smoothed in another way; a scale by mask is not "
         "possible")  # fmt: skip
part(_MASKED, here="Motion Strength's `mask`",
     but="near for an effect from 0 up with absolute scaling; the others are not possible")  # fmt: skip
part("ADE_AnimateDiffKeyframe", here="Motion Strength's `by_step`",
     but="near where it is guaranteed more than one step; a scale, or an effect by frame or mask, that begins at a "
         "step is not possible")  # fmt: skip
part("ADE_ValueScheduling", "ADE_ValueSchedulingLatents", "ADE_FloatToFloats", here="Motion Strength's `strength`",
     but="ranges of frames are not possible")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Multival:
    """A strength.

    Attributes:
        number: number, or a link to one.
        mask: link to a mask that it is multiplied with, or none.
        by_frame: factors by frame, as Motion Strength reads them, or nothing.
    """

    number: Any = 1.0
    mask: Link | None = None
    by_frame: str = ""

    @property
    def is_varying(self) -> bool:
        """Whether it is more than one number."""
        return self.mask is not None or bool(self.by_frame)

    @property
    def is_plain(self) -> bool:
        """Whether it changes nothing."""
        return self.number == 1.0 and not self.is_varying

    def times(self, other: Multival) -> Multival:
        """Return a product of two; where one comes by a link, that one alone."""
        if other.is_plain or isinstance(self.number, Link):
            return self
        number = other.number if isinstance(other.number, Link) else self.number * other.number
        return Multival(number, other.mask, other.by_frame)


def read_multival(work: Work, node: Node | None, what: Literal["effect", "scale"]) -> Multival:
    """Return a strength that a node gives, and say in the report what became of it."""
    if node is None:
        return Multival()
    if node.kind not in (*_DYNAMIC, _MASKED):
        work.say(node, "not possible", f"a {what} that comes from a node that is not known; taken as 1.")
        return Multival()
    found = find_multival(work, work.take(node))
    if found is None:
        return Multival()
    if what == "scale" and found.mask is not None:
        work.say(node, "not possible", "a scale by mask is not here. Instead: Motion Strength's scale, for the whole "
                 "picture.")  # fmt: skip
        return Multival()
    if isinstance(found.number, int | float) and found.number > MOST:
        work.say(node, "near", f"{found.number:g} is more than {MOST:g}, the most that is taken here")
        return Multival(MOST, found.mask, found.by_frame)
    goes_to = (
        "Motion Strength's scale"
        if what == "scale"
        else "Motion Strength"
        if found.is_varying
        else "Apply Motion Module's strength"
    )
    if found.mask is not None:
        work.say(
            node, "near", f"{goes_to}; the mask's edges are smoothed in another way as it is made smaller"
        )
    elif isinstance(found.number, Link):
        work.say(node, "near", f"{goes_to}, by the same link; a list of numbers is not read there")
    else:
        work.say(node, "exact", goes_to)
    return found


def find_multival(work: Work, node: Node) -> Multival | None:
    """Return a strength that a node gives; None where it can't be read."""
    if node.kind == _MASKED:
        return _scaled_mask(work, node)
    return _dynamic(work, node) if node.kind in _DYNAMIC else None


def _dynamic(work: Work, node: Node) -> Multival | None:
    name = "floats" if node.kind.endswith("Floats") else "float_val"
    mask = node.inputs.get("mask_optional")
    mask = mask if isinstance(mask, Link) else None
    source = work.part(node, name)
    if source is not None and source.kind == "ADE_FloatToFloats":
        work.take(source)
        source = work.part(source, "FLOAT")
    if source is None or source.kind not in VALUE_SCHEDULES:
        return Multival(work.pass_on(node, name, 1.0), mask)
    text = read_keys(work.read(source, VALUE_SCHEDULES[source.kind], ""))
    if not text:
        work.say(source, "not possible", "numbers by frame that are no plain frames and numbers, one after the other. "
                 "Instead: write them into the node that takes them here.")  # fmt: skip
        return None
    if source.kind.startswith("ADE"):
        work.take(source)
    work.say(source, "exact", "a strength by frame")
    return Multival(1.0, mask, text)


def _scaled_mask(work: Work, node: Node) -> Multival | None:
    low, high = work.number(node, "min_float_val", 0.0), work.number(node, "max_float_val", 1.0)
    mask = node.inputs.get("mask")
    if low != 0 or work.read(node, "scaling", "absolute") != "absolute" or not isinstance(mask, Link):
        work.say(node, "not possible", f"a mask whose black is {low:g}, or that is scaled by its darkest and lightest "
                 "place. Instead: change the mask, and connect it to Motion Strength.")  # fmt: skip
        return None
    return Multival(work.pass_on(node, "max_float_val", high), mask)


def read_keys(text: Any) -> str:
    """Return numbers by frame as Motion Strength reads them; of what else is written there, nothing.

    Examples:
        >>> read_keys('"0": 1.0, "16": 0.5')
        '0: 1.0, 16: 0.5'
    """
    if not isinstance(text, str):
        return ""
    text = " ".join(text.split())
    found: list[str] = []
    at = 0
    for pair in _PAIR.finditer(text):
        if text[at : pair.start()].strip() or pair["hold"]:
            return ""
        key = pair["key"]
        found.append(f"{float(key) * 100:g}%: {pair['value']}" if "." in key else f"{key}: {pair['value']}")
        at = pair.end()
    return "" if text[at:].strip() else ", ".join(found)


def keyframes(work: Work, node: Node | None) -> str:
    """Return factors by share of sampling, as Motion Strength reads them, of a chain of keyframes; "" for none."""
    chain: list[Node] = []
    while node is not None and node not in chain:
        if node.kind != "ADE_AnimateDiffKeyframe":
            work.say(
                node,
                "not possible",
                "a keyframe of another kind; left out. Instead: Motion Strength's by_step.",
            )
        chain.append(work.take(node))
        node = work.part(node, "prev_ad_keyframes")
    effect, keys = 1.0, {0.0: 1.0} if chain else {}
    for key in sorted(chain[::-1], key=lambda each: work.number(each, "start_percent", 0.0)):
        if key.kind != "ADE_AnimateDiffKeyframe":
            continue
        start, lost = work.number(key, "start_percent", 0.0), ""
        if work.part(key, "scale_multival", "per_block_replace") is not None:
            lost = "a scale, or strengths for blocks, that begin at a step; left out"
        multival = work.part(key, "effect_multival")
        if multival is not None:
            found = read_multival(work, multival, "effect")
            if found.is_varying or isinstance(found.number, Link):
                lost = "an effect by frame, mask or link that begins at a step; left out"
            else:
                effect = float(found.number)
        elif not work.read(key, "inherit_missing", True):
            effect = 1.0
        keys[start] = effect
        if lost:
            work.say(
                key,
                "not possible",
                f"{lost}. Instead: Motion Strength's by_step, which is one number a step.",
            )
        elif work.number(key, "guarantee_steps", 1) > 1:
            work.say(
                key,
                "near",
                "Motion Strength's by_step; it is not guaranteed steps beyond the next keyframe's start",
            )
        else:
            work.say(key, "exact", "Motion Strength's by_step")
    return ", ".join(f"{start:g}: {value:g}" for start, value in keys.items())


def ease(way: str, x: float) -> float:
    """Return how far a way is gone after a share of it, by the name that it has in these packs."""
    eased = {"ease-in": x**2, "ease-out": 1 - (1 - x) ** 2, "ease-in-out": (1 - math.cos(math.pi * x)) / 2}
    return eased.get(way.replace("_", "-"), x)
