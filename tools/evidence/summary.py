"""The claims of each family in one table: a figure with the technique, the same without it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from frameloom.tools.evidence.rows import show_number

MODULE, ZERO, LAYOUT, LONG = "Motion modules", "Text2Video-Zero", "Script to video", "Long video"
UNSAID = "zero-shot video, background unsaid"


@dataclass(frozen=True)
class Claim:
    """A claim, and the two rows that tell of it.

    Attributes:
        family: family of techniques.
        words: claim as a reader who has seen no other table understands it.
        section: section of the rows.
        row: claim of the rows, as they have it.
        technique, control: arms of the two rows.
        control_section: section of the control's row, where it is another.
    """

    family: str
    words: str
    section: str
    row: str
    technique: str
    control: str
    control_section: str = ""


CLAIMS = (
    Claim(
        MODULE,
        "a clip goes the way that its prompt says",
        "video",
        "video: direction (of five)",
        "motion module",
        "no module",
        "video, no module",
    ),
    Claim(
        MODULE,
        "neighbouring frames are alike",
        "video",
        "video: similarity",
        "motion module",
        "no module",
        "video, no module",
    ),
    Claim(
        MODULE,
        "frames show the prompt's shape",
        "video",
        "video: shape",
        "motion module",
        "no module",
        "video, no module",
    ),
    Claim(
        MODULE,
        "a few-step module goes that way in 4 calls of the model, without guidance",
        "few steps",
        "few steps: direction (of five)",
        "4 calls, few-step module",
        "4 calls, its teacher",
    ),
    Claim(
        MODULE,
        "and its frames show the prompt's shape",
        "few steps",
        "few steps: shape",
        "4 calls, few-step module",
        "4 calls, its teacher",
    ),
    Claim(
        MODULE,
        "a motion LoRA pans: way to the right, in widths",
        "motion LoRA",
        "motion LoRA: way to the right",
        "strength 1",
        "strength 0",
    ),
    Claim(
        MODULE,
        "after training on circles, a shape goes round once",
        "training",
        "training: goes once round",
        "trained",
        "bundled module",
    ),
    Claim(
        ZERO,
        "a shape goes along the path that noise was warped by",
        "zero-shot video",
        "zero-shot: the same, ending inside, sign",
        "cross-frame attention",
        "zero path, against the task's",
    ),
    Claim(
        ZERO,
        "frames have the first one's background, which no prompt says",
        UNSAID,
        "zero-shot, background unsaid: background as frame 0",
        "cross-frame attention",
        "without it",
    ),
    Claim(
        ZERO,
        "the foreground mask is where the shape is (IoU)",
        "foreground masks",
        "mask: IoU with the detector's",
        "contrast",
        "cells at random",
    ),
    Claim(
        ZERO,
        "smoothing: change of the background from frame to frame",
        "background smoothing, background unsaid",
        "smoothing, background unsaid: background change",
        "smoothed",
        "not smoothed",
    ),
    Claim(
        LAYOUT, "a thing is in its box (IoU)", "layouts", "layout: IoU with the box", "its boxes", "no layout"
    ),
    Claim(
        LAYOUT,
        "the same with a motion module (IoU)",
        "layouts",
        "layout: IoU with the box",
        "its boxes, motion module",
        "no layout, motion module",
    ),
    Claim(
        LAYOUT,
        "a thing goes where its boxes go",
        "layouts",
        "layout: direction of a moving thing",
        "its boxes",
        "no layout",
    ),
    Claim(
        LAYOUT,
        "of two things each has its own color",
        "layouts, two things",
        "two things: own color",
        "its boxes",
        "no layout",
    ),
    Claim(
        LAYOUT,
        "of two things each has its own shape",
        "layouts, two things",
        "two things: own shape",
        "its boxes",
        "no layout",
    ),
    Claim(
        LAYOUT,
        "scenes have one background, which no prompt says",
        "scenes",
        "scene: background as the anchor's",
        "anchor and entity noise",
        "neither",
    ),
    Claim(
        LAYOUT,
        "the layout prior puts a thing where its caption says",
        "layout prior",
        "layout: is at the place that its caption says",
        "layout prior",
        "random weights",
    ),
    Claim(
        LAYOUT,
        "rules read from a script they never saw which way things go",
        "storyboards, by source",
        "things that go the script's way",
        "rules, 20 scripts held out",
        "layout prior, random weights, 20 scripts held out",
    ),
    Claim(
        LONG,
        "windows with FreeNoise: jump at a window's end over others, beside clips that are joined",
        "FreeNoise",
        "48 frames: jump at a window's end over the others",
        "FreeNoise",
        "clips, joined",
    ),
    Claim(
        LONG,
        "FreeNoise: frames a window apart are alike, beside windows alone",
        "FreeNoise",
        "48 frames: similarity a window later",
        "FreeNoise",
        "windows alone",
    ),
    Claim(
        LONG,
        "NUWA-XL: jump at a given frame over others, with a mask adapter and without",
        "long video, mask adapter",
        "37 frames: jump at a seam over the others",
        "NUWA, mask adapter",
        "NUWA",
        "long video",
    ),
    Claim(
        LONG,
        "between given ends, a mask adapter puts a shape where the clip had it: distance, in widths",
        "mask adapter",
        "ends given: shape's distance from its place in the clip",
        "mask adapter",
        "training-free",
    ),
    Claim(
        LONG,
        "FreeInit: flicker",
        "FreeInit",
        "FreeInit, background unsaid: flicker",
        "FreeInit, 2 extra",
        "one run",
    ),
    Claim(
        LONG,
        "a prompt that travels ends with the last color",
        "prompt travel",
        "prompt travel: last quarter, the last color",
        "linear",
        "the first prompt alone",
    ),
)

Rows = Mapping[str, Sequence[Mapping[str, Any]]]


def find_row(sections: Rows, section: str, claim: str, arm: str) -> Mapping[str, Any]:
    """Return one stored row. Raises LookupError if it is not there."""
    for row in sections[section]:
        if (row["claim"], row["arm"]) == (claim, arm):
            return row
    raise LookupError(f"{section}: no row {claim!r} of {arm!r}; correct tools/evidence/summary.py.")


def lines(sections: Rows) -> Iterator[str]:
    """Yield the table in Markdown, of those claims whose sections are measured.

    Args:
        sections: stored rows by section.
    """
    yield "| family | claim | with | 95 % interval | control | n |"
    yield "|---|---|---|---|---|---|"
    family = ""
    for claim in CLAIMS:
        other = claim.control_section or claim.section
        if not {claim.section, other} <= sections.keys():
            continue
        row = find_row(sections, claim.section, claim.row, claim.technique)
        control = find_row(sections, other, claim.row, claim.control)
        value, low, high = (show_number(row[name], row) for name in ("value", "low", "high"))
        cells = (value, f"{low} .. {high}", show_number(control["value"], control), str(row["count"]))
        yield f"| {claim.family if claim.family != family else ''} | {claim.words} | {' | '.join(cells)} |"
        family = claim.family
