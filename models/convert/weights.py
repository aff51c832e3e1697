"""AnimateDiff-Evolved's adjustments of a module's weights as Adjust Motion Weights.

They come behind those of positions and before motion LoRAs, there as here. AnimateLCM's file stores no positions: they
are made later there, so that nothing adjusts them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .graph import Link, Node
from .rules import part
from .targets import ADJUST
from .work import Work

_KINDS = {
    "all": "all", "pe": "positions", "attn": "attention", "attn_q": "queries", "attn_k": "keys", "attn_v": "values",
    "attn_out_weight": "output weights", "attn_out_bias": "output biases", "other": "other",
}  # fmt: skip
"""Kinds of weights by what names of inputs begin with, in the order in which one node adjusts them."""
_WAYS = {"_ADD": ("add", 0.0), "_MULT": ("multiply", 1.0), "_strength": ("multiply", 1.0)}
"""Inputs of ours, and what changes nothing, by what names end with; the last is of settings of old."""
_LEAST, _MOST = {"add": -2.0, "multiply": 0.0}, {"add": 2.0, "multiply": 10.0}
_STORES_NONE = re.compile(r"lcm", re.IGNORECASE)

NODES = (
    "ADE_AdjustWeightAllAdd", "ADE_AdjustWeightAllMult", "ADE_AdjustWeightIndivAdd", "ADE_AdjustWeightIndivMult",
    "ADE_AdjustWeightIndivAttnAdd", "ADE_AdjustWeightIndivAttnMult",
)  # fmt: skip

part(*NODES, here="Adjust Motion Weights, one for each number that changes something",
     but="near for positions of AnimateLCM, whose file stores none")  # fmt: skip


def put_weights(work: Work, settings: Node, motion: Node, file: str) -> Node:
    """Put the adjustments that settings bring on a module.

    Args:
        work: graph that is changed.
        settings: node with the settings.
        motion: node that gives the module.
        file: name of the module's file.

    Returns:
        The node that gives the module with them.
    """
    for node in work.chain(settings, "weight_adjust", "prev_weight_adjust"):
        if work.take(node).kind in NODES:
            motion = _put(work, node, motion, file)
        else:
            work.say(node, "not possible", "an adjustment that is not known. Instead: Adjust Motion Weights.")
    return _put(work, settings, motion, file)


def _put(work: Work, node: Node, motion: Node, file: str) -> Node:
    """Put what one node adjusts on a module; return the node that gives it."""
    made: list[Node] = []
    for kind, way, value in _changes(work, node):
        if isinstance(value, int | float) and not _LEAST[way] <= value <= _MOST[way]:
            work.say(node, "not possible", f"{value:g} for {kind}; {_LEAST[way]:g} to {_MOST[way]:g} are taken. "
                     "Instead: several Adjust Motion Weights, one after the other.")  # fmt: skip
            return motion
        motion = work.new(ADJUST, node, motion=Link(motion.id, 0), kind=kind, **{way: value})
        made.append(motion)
    if made:
        near = _STORES_NONE.search(file) and any(each.inputs["kind"] in ("all", "positions") for each in made)
        lost = f"; {file} stores no positions, which change here alone" if near else ""
        work.say(node, "near" if near else "exact", " and ".join(map(work.title, made)) + lost)
    elif node.kind in NODES:
        work.say(node, "exact", "left out; it changes nothing")
    return motion


def _changes(work: Work, node: Node) -> Iterator[tuple[str, str, Any]]:
    """Yield what a node changes: kind of weights, input of ours, and the number or a link to one."""
    for start, kind in _KINDS.items():
        for end, (way, plain) in _WAYS.items():
            if work.read(node, start + end, plain) != plain:
                yield kind, way, work.pass_on(node, start + end, plain)
