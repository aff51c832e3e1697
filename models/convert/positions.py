"""AnimateDiff-Evolved's adjustments of a module's positions as Stretch Positions.

Each of its adjustments first stretches all positions by some more, then leaves out first ones, keeps so many of the
rest, stretches them over another number of frames, and leaves out first ones again. AnimateLCM's file stores no
positions, so that there they change nothing.
"""

from __future__ import annotations

import re
from typing import Any

from .graph import Link, Node
from .rules import part
from .targets import POSITIONS
from .work import Work

ADJUSTS: dict[str, dict[str, str]] = {
    "ADE_AdjustPESweetspotStretch": {"cap": "sweetspot", "to": "new_sweetspot"},
    "ADE_AdjustPEFullStretch": {"more": "pe_stretch"},
    "ADE_AdjustPEManual": {
        "cap": "cap_initial_pe_length", "to": "interpolate_pe_to_length", "first": "initial_pe_idx_offset",
        "last": "final_pe_idx_offset",
    },
}  # fmt: skip
OLD = {**ADJUSTS["ADE_AdjustPEManual"], "more": "motion_pe_stretch"}
"""Names of what is adjusted, in nodes of old that have it among other settings."""
_DEFAULTS = {"sweetspot": 16, "new_sweetspot": 16}
_STORES_NONE = re.compile(r"lcm", re.IGNORECASE)
_LENGTHS = (
    (re.compile(r"v15[-_]v2|v3_sd15|lightning", re.IGNORECASE), 32),
    (re.compile(r"mm_sd_v1[45]", re.IGNORECASE), 24),
)
_FEWEST, _MOST = 24, 1000  # positions that a module of AnimateDiff has at least; frames that ours take

part(*ADJUSTS, here="Stretch Positions, which a module of AnimateLCM does not need",
     but="not possible: positions left out at the beginning; numbers by a link; a stretch of all positions of a module "
         "whose name does not tell how many they are")  # fmt: skip


def put_positions(work: Work, settings: Node, motion: Node, file: str) -> Node:
    """Put the adjustments that settings bring on a module.

    Args:
        work: graph that is changed.
        settings: node with the settings.
        motion: node that gives the module.
        file: name of the module's file.

    Returns:
        The node that gives the module with them.
    """
    chain = [work.take(each) for each in work.chain(settings, "pe_adjust", "prev_pe_adjust")]
    if any(name in settings.inputs for name in OLD.values()):
        chain.insert(0, settings)
    length = next((length for pattern, length in _LENGTHS if pattern.search(file)), None)
    for each in chain:
        values = _read(work, each)
        if not values:
            if each is not settings:
                work.say(each, "exact", "left out; it changes nothing")
        elif _STORES_NONE.search(file):
            work.say(each, "exact", f"left out; {file} stores no positions, so that it changes nothing there")
        else:
            motion, length = _put(work, each, motion, values, length)
    return motion


def _read(work: Work, node: Node) -> dict[str, Any]:
    """Return what a node adjusts, without what changes nothing."""
    found = {
        what: work.read(node, name, _DEFAULTS.get(name, 0))
        for what, name in ADJUSTS.get(node.kind, OLD).items()
    }
    return {what: value for what, value in found.items() if value != 0}


def _put(
    work: Work, node: Node, motion: Node, values: dict[str, Any], length: int | None
) -> tuple[Node, int | None]:
    """Put one adjustment on a module of so many positions; return the node that gives it, and how many it has then."""
    steps, why, left = _steps(values, length)
    if why:
        work.say(
            node, "not possible", f"{why}. Instead: by hand, Stretch Positions, for known_frames and frames."
        )
        return motion, None
    for known, frames in steps:
        motion = work.new(POSITIONS, node, motion=Link(motion.id, 0), known_frames=known, frames=frames)
    is_sure = length is not None or steps[0][0] <= _FEWEST
    lost = "" if is_sure else f"; lower its known_frames if {steps[0][0]} are more than the module has"
    work.say(node, "exact" if is_sure else "near", work.title(motion) + lost)
    return motion, left


def _steps(values: dict[str, Any], length: int | None) -> tuple[list[tuple[int, int]], str, int | None]:
    """Return one adjustment as known frames and frames of Stretch Positions, or why not, and how many are left."""
    if any(isinstance(value, Link) for value in values.values()):
        return [], "numbers that come by a link", None
    if "first" in values or "last" in values:
        return [], "positions left out at the beginning are not here", None
    steps: list[tuple[int, int]] = []
    if "more" in values:
        if length is None:
            return [], "the file's name does not tell how many positions it has to stretch", None
        steps.append((length, length + int(values["more"])))
        length = steps[-1][1]
    if "cap" in values or "to" in values:
        known = length if "cap" not in values else min(int(values["cap"]), length or _MOST)
        if known is None:
            return [], "the file's name does not tell how many positions it has to stretch", None
        steps.append((known, int(values.get("to", known))))
        length = steps[-1][1]
    if any(not 1 <= number <= _MOST for step in steps for number in step):
        return [], f"positions of {steps[-1][1]} frames, and at most {_MOST} are taken", None
    return steps, "", length
