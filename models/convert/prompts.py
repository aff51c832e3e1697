"""FizzNodes' and AnimateDiff-Evolved's schedules of prompts as Prompt Travel."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from .graph import Link, Node
from .rules import rule
from .targets import TRAVEL
from .work import Work

_EVOLVED = re.compile(r'"?(?P<key>[\d:.\-]+)"?\s*[:=]\s*"(?P<text>[^"]*)"\s*(?:,|$)')
_LONG = 300  # characters, from which on a prompt may have more tokens than one text encoder's 77
_NEGATIVE = "--neg"
_MOST_FRAMES = 100_000
_PREFIXES, _SUFFIXES = ("pre_text", "prepend_text"), ("app_text", "append_text")


@dataclass
class _Schedule:
    """Prompts by frame.

    Attributes:
        prompts: prompts by frame.
        lost: words on what is not exact.
    """

    prompts: dict[int, str]
    lost: list[str]


@rule("BatchPromptSchedule", "BatchPromptScheduleLatentInput", here="Prompt Travel, one for each side that is used",
      but="near for prompts of more than 77 tokens, for text that comes by a link, and for arithmetic in back quotes; "
          "not possible where frames are arithmetic")  # fmt: skip
def fizz(work: Work, node: Node) -> None:
    """Convert a schedule of FizzNodes."""
    frames = _frames(work, node, "max_frames", "num_latents")
    text = work.read(node, "text", "")
    if isinstance(text, Link):
        _by_link(work, node, "text", frames)
        return
    schedule = _read_fizz(str(text))
    if schedule is None:
        _refuse(work, node)
        return
    before, after = (str(work.read(node, name, "") or "") for name in ("pre_text", "app_text"))
    linked = [name for name in ("pre_text", "app_text") if isinstance(work.read(node, name, ""), Link)]
    if linked:
        schedule.lost.append(f"{' and '.join(linked)} by a link is joined with a comma")
    ends = ["" if name in linked else value for name, value in (("pre_text", before), ("app_text", after))]
    sides = [_side(schedule.prompts, ends, number) for number in (0, 1)]
    if work.number(node, "start_frame", 0) > 0:
        schedule.lost.append("start_frame does not leave out frames here")
    if any("pw_" in prompt for side in sides for prompt in side.values()):
        schedule.lost.append("pw_a to pw_d are not known to Prompt Travel: write their numbers")
    links = {name: node.inputs[name] for name in linked}
    work.take(node)
    titles = [_travel(work, node, sides[0], frames, links, 0)]
    if work.graph.users(node, 1):
        titles.append(_travel(work, node, sides[1], frames, links if any(sides[1].values()) else {}, 1))
    work.graph.rewire(Link(node.id, 2), node.inputs.get("num_latents"))
    _say(work, node, titles, schedule.lost + _long(sides[0]), frames)


@rule("PromptSchedule", here="CLIP Text Encode; between two prompts, Conditioning Average of two",
      but="near for prompts of more than 77 tokens; left as it is where text or frame comes by a link, or is "
          "arithmetic")  # fmt: skip
def fizz_frame(work: Work, node: Node) -> None:
    """Convert FizzNodes' schedule of which one frame's prompt is taken."""
    given = {name: work.read(node, name, "") for name in ("text", "pre_text", "app_text", "current_frame")}
    schedule = (
        None if any(isinstance(each, Link) for each in given.values()) else _read_fizz(str(given["text"]))
    )
    arithmetic = any("`" in str(each) for each in given.values())
    most = int(work.number(node, "max_frames", 0))
    if schedule is None or arithmetic or most < 1:
        work.say(node, "left", "as it is; its text or its frame comes by a link, or is arithmetic")
        return
    ends = [str(given[name] or "") for name in ("pre_text", "app_text")]
    now, then, share = _at_frame(schedule.prompts, int(work.number(node, "current_frame", 0)) % most, most)
    lost: list[str] = []
    work.take(node)
    for number in (0, 1):
        if number and not work.graph.users(node, 1):
            continue
        texts = list(_side({0: now, 1: then}, ends, number).values())
        lost += _long({place: text for place, text in enumerate(texts)})
        encoded = [
            work.new("CLIPTextEncode", node, clip=node.inputs.get("clip"), text=text)
            for text in (texts if texts[0] != texts[1] and share < 1 else texts[:1])
        ]
        made = encoded[0]
        if len(encoded) == 2:
            made = work.new("ConditioningAverage", node, conditioning_to=Link(encoded[0].id, 0),
                            conditioning_from=Link(encoded[1].id, 0), conditioning_to_strength=share)  # fmt: skip
        work.graph.rewire(Link(node.id, number), Link(made.id, 0))
    work.say(node, "near" if lost else "exact", "; ".join(["the prompt of its frame", *dict.fromkeys(lost)]))


def _at_frame(prompts: dict[int, str], frame: int, frames: int) -> tuple[str, str, float]:
    """Return the prompts before and behind a frame of so many, and what the one before it counts.

    The first prompt counts from the beginning on, the last until the end.
    """
    first, last = min(prompts), max(prompts)
    keys = {0: prompts[first], **prompts, max(frames, last): prompts[last]}
    before = max(key for key in keys if key <= frame)
    behind = min((key for key in keys if key > frame), default=before + 1)
    return keys[before], keys.get(behind, keys[before]), 1 - (frame - before) / (behind - before)


@rule("ADE_PromptScheduling", "ADE_PromptSchedulingLatents", here="Prompt Travel",
      but="near for `slerp`, for prompts of more than 77 tokens, and for text that comes by a link; numbers by name "
          "(`values_replace`) are not possible")  # fmt: skip
def evolved(work: Work, node: Node) -> None:
    """Convert a schedule of AnimateDiff-Evolved."""
    text = work.read(node, "prompts", "")
    frames = _frames(work, node, "max_length", "latent")
    if isinstance(text, Link):
        _by_link(work, node, "prompts", frames)
        return
    schedule = _read_evolved(str(text), frames)
    if schedule is None:
        _refuse(work, node)
        return
    frames = frames or max(schedule.prompts) + 1
    before, after = (
        str(work.read(node, name, "") or "").strip(", \n") for name in ("prepend_text", "append_text")
    )
    linked = [name for name in ("prepend_text", "append_text") if isinstance(work.read(node, name, ""), Link)]
    links = {name: node.inputs[name] for name in linked}
    ends = [
        "" if name in linked else text for name, text in (("prepend_text", before), ("append_text", after))
    ]
    prompts = {frame: ", ".join(filter(None, (ends[0], prompt.strip(), ends[1])))
               for frame, prompt in schedule.prompts.items()}  # fmt: skip
    if work.read(node, "tensor_interp", "lerp") != "lerp":
        schedule.lost.append("prompts are mixed evenly, and not by slerp")
    replaced = work.part(node, "values_replace")
    if replaced is not None:
        work.say(work.take(replaced), "not possible", "numbers by name in prompts. Instead: Prompt Travel's arithmetic "
                 "in back quotes.")  # fmt: skip
    work.take(node)
    title = _travel(work, node, prompts, frames, links, 0)
    work.graph.rewire(Link(node.id, 1), node.inputs.get("latent"))
    _say(work, node, [title], schedule.lost + _long(prompts), frames)


def _frames(work: Work, node: Node, name: str, latent: str) -> Any:
    """Return how many frames a schedule has: a number, or a link to one; 0 where nobody can tell."""
    if latent in node.inputs:
        return work.length(node.inputs[latent]) or 0
    return work.pass_on(node, name, 0)


def _travel(
    work: Work, node: Node, prompts: dict[int, str], frames: Any, links: dict[str, Any], slot: int
) -> str:
    if not any(prompts.values()) and not links:
        made = work.new("CLIPTextEncode", node, clip=node.inputs.get("clip"), text="")
    else:
        text = ",\n".join(
            f'"{frame}": {json.dumps(each, ensure_ascii=False)}' for frame, each in prompts.items()
        )
        length = frames or max(prompts) + 1
        made = work.new(
            TRAVEL, node, clip=node.inputs.get("clip"), text=text, interpolation="linear",
            frames=min(length, _MOST_FRAMES) if isinstance(length, int) else length,
            prepend=next((links[name] for name in _PREFIXES if name in links), ""),
            append=next((links[name] for name in _SUFFIXES if name in links), ""),
        )  # fmt: skip
    work.graph.rewire(Link(node.id, slot), Link(made.id, 0))
    return work.title(made)


def _by_link(work: Work, node: Node, name: str, frames: Any) -> None:
    """Convert a schedule whose text another node gives: Prompt Travel reads it as it comes."""
    made = work.new(
        TRAVEL, work.take(node), clip=node.inputs.get("clip"), text=node.inputs[name], frames=frames or None,
        prepend=next((work.pass_on(node, each, "") for each in _PREFIXES if each in node.inputs), ""),
        append=next((work.pass_on(node, each, "") for each in _SUFFIXES if each in node.inputs), ""),
    )  # fmt: skip
    work.graph.rewire(Link(node.id, 0), Link(made.id, 0))
    if work.graph.users(node, 1) and node.kind.startswith("Batch"):
        empty = work.new("CLIPTextEncode", node, clip=node.inputs.get("clip"), text="")
        work.graph.rewire(Link(node.id, 1), Link(empty.id, 0))
    for latent in ("num_latents", "latent"):
        work.graph.rewire(Link(node.id, 2 if latent == "num_latents" else 1), node.inputs.get(latent))
    work.say(node, "near", f"{work.title(made)}; its text comes by a link, and is read as Prompt Travel reads it; the "
             "negative prompt is empty")  # fmt: skip


def _say(work: Work, node: Node, titles: list[str], lost: list[str], frames: Any) -> None:
    if not frames:
        lost = [*lost, "the graph does not say how many frames there are; set them"]
    work.say(node, "near" if lost else "exact", "; ".join([" and ".join(titles), *dict.fromkeys(lost)]))


def _refuse(work: Work, node: Node) -> None:
    work.say(node, "not possible", "its text is no list of frames and prompts, or its frames are arithmetic; left as "
             "it is. Instead: write it into Prompt Travel, a line `frame: prompt` for each.")  # fmt: skip


def _read_fizz(text: str) -> _Schedule | None:
    """Read JSON without braces, as FizzNodes does: line breaks do not count."""
    plain = re.sub(r",\s*$", "", text.replace("\n", "").strip())
    try:
        found: Any = json.loads("{" + plain + "}", object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    prompts: dict[int, str] = {}
    for key, prompt in found:
        if not str(key).strip().isdecimal() or not isinstance(prompt, str):
            return None
        prompts[int(key)] = prompt
    lost = ["arithmetic is worked out by Prompt Travel"] if "`" in text else []
    return _Schedule(dict(sorted(prompts.items())), lost) if prompts else None


def _side(prompts: dict[int, str], ends: list[str], number: int) -> dict[int, str]:
    """Return the positive prompts (0) or the negative ones (1), which stand behind ``--neg``."""

    def of(text: str) -> str:
        return [*text.split(_NEGATIVE), ""][number]

    return {frame: " ".join([of(ends[0]), of(each), of(ends[1])]).strip() for frame, each in prompts.items()}


def _read_evolved(text: str, frames: Any) -> _Schedule | None:
    """Read ``"0": "a", "8:12": "b"`` or ``0 = "a"``, with ranges, frames from the end, shares and holds."""
    text, at, lost = " ".join(text.split()), 0, list[str]()
    read: list[tuple[int, int, bool, str]] = []
    for found in _EVOLVED.finditer(text):
        if text[at : found.start()].strip():
            return None
        at = found.end()
        first, colon, last = found["key"].partition(":")
        start = _frame(first, frames)
        end = _frame(last, frames) if last else start
        if start is None or end is None or end < start:
            return None
        read.append((start, max(start, end - 1), bool(colon) and not last, found["text"]))
    if text[at:].strip() or not read:
        return None
    read.sort()
    prompts: dict[int, str] = {}
    for (start, end, hold, prompt), after in zip(read, [*read[1:], None], strict=True):
        prompts[start] = prompts[end] = prompt
        if hold and after is not None and after[0] - 1 > start:
            prompts[after[0] - 1] = prompt
    return _Schedule(dict(sorted(prompts.items())), lost)


def _frame(key: str, frames: Any) -> int | None:
    """Return a frame's number; None where it counts from an end that is not known, or is none."""
    try:
        number = float(key)
    except ValueError:
        return None
    length = frames if isinstance(frames, int) else 0
    if "." in key or number < 0:
        if not length:
            return None
        number = round(number * (length - 1)) if "." in key else number + length
    return int(number) if 0 <= number < _MOST_FRAMES else None


def _long(prompts: dict[int, str]) -> list[str]:
    sizes = {len(each) > _LONG for each in prompts.values()}
    return ["prompts of unlike lengths are filled up in another way"] if len(sizes) > 1 else []
