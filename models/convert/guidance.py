"""AnimateDiff-Evolved's custom cfg as the sampler's own, or as CFG Schedule behind a sampler whose own is 1."""

from __future__ import annotations

from .betas import SIGMAS
from .graph import Link, Node
from .rules import NOT_HERE, part
from .targets import CFG
from .values import Multival, ease, find_multival
from .work import Work

_PREVIOUS = ("prev_noise_layers", "prev_custom_cfg", "prev_image_inject", "cfg_extras", "prev_extras",
             "img_inject_opts", "schedule_A", "schedule_B", "schedule_Start", "schedule_End")  # fmt: skip
_NUMBERS = ("ADE_CustomCFGSimple", "ADE_CustomCFGKeyframeSimple")
_MULTIVALS = ("ADE_CustomCFG", "ADE_CustomCFGKeyframe")
_CURVE = "ADE_CustomCFGKeyframeInterpolation"
_CURVE_VALUES = ("start_percent", "end_percent", "cfg_start", "cfg_end", "interpolation", "intervals")
Keys = list[tuple[float, Multival, Node]]

part(*_NUMBERS, *_MULTIVALS, _CURVE, here="the sampler's `cfg`; by frame, mask or step, CFG Schedule",
     but="near by mask, whose edges are smoothed in another way, and where a keyframe is guaranteed more than one "
         "step; not possible by frame, mask or link from a step on")  # fmt: skip


def put_cfg(work: Work, node: Node, custom: Node | None, model: Link) -> Link:
    """Give samplers a cfg that counts more than theirs; return a link to the model with what changes it.

    Args:
        work: graph that is changed.
        node: node in whose place the model is made.
        custom: node with the cfg.
        model: link to the model.
    """
    keys = [] if custom is None else _read(work, custom)
    if custom is None:
        return model
    values = [value for _, value, _ in keys]
    is_plain = len(keys) == 1 and not values[0].is_varying
    if not is_plain and (
        not keys
        or any(isinstance(value.number, Link) for value in values)
        or (len(keys) > 1 and any(value.is_varying for value in values))
    ):
        say_lost(work, custom)
        return model
    for _, _, each in keys:
        say_lost(work, work.part(each, "cfg_extras"))
    holders = [
        each if "guider" not in each.inputs else work.part(each, "guider") for each in work.samplers(node)
    ]
    if not holders or any(each is None or "cfg" not in each.inputs for each in holders):
        work.say(custom, "not possible", "no sampler with a cfg was found for it. Instead: write it there.")
        return model
    for each in holders:
        if each is not None:
            work.graph.put(each, "cfg", values[0].number if is_plain else 1.0)
            if is_plain:
                work.say(work.take(custom), "exact", f"the cfg of {work.name(each)}")
    return model if is_plain else _put_schedule(work, node, keys, model)


def _put_schedule(work: Work, node: Node, keys: Keys, model: Link) -> Link:
    """Put CFG Schedule on a model."""
    value = keys[0][1] if len(keys) == 1 else Multival()
    steps = {f"{start:.6g}": f"{each.number:.6g}" for start, each, _ in keys} if len(keys) > 1 else {"0": "1"}
    made = work.new(
        CFG, keys[0][2], model=model, frames=work.frames(node), mask=value.mask, between="linear",
        strength=value.by_frame or f"{value.number:g}",
        by_step=", ".join(f"{start}: {number}" for start, number in steps.items()),
    )  # fmt: skip
    made.mode = node.mode
    for each in {at.id: at for _, _, at in keys}.values():
        lost = "; edges of the mask are smoothed in another way" if value.mask is not None else ""
        if work.number(each, "guarantee_steps", 1) > 1:
            lost += "; it is not guaranteed steps beyond the next keyframe's start"
        work.say(work.take(each), "near" if lost else "exact", f"{work.title(made)}, and a cfg of 1{lost}")
    return Link(made.id, 0)


def _read(work: Work, custom: Node) -> Keys:
    """Return the cfg by share of sampling that a chain gives, each with its node; none where it can't be read."""
    chain: list[Node] = []
    node: Node | None = custom
    while node is not None and node not in chain:
        chain.append(node)
        node = work.part(node, "prev_custom_cfg")
    keys: Keys = []
    for each in chain[::-1]:
        start = work.number(each, "start_percent", 0.0)
        if each.kind in _NUMBERS:
            keys.append((start, Multival(work.pass_on(each, "cfg", 8.0)), each))
        elif each.kind in _MULTIVALS and (multival := work.part(each, "cfg_multival")) is not None:
            found = find_multival(work, multival)
            if found is None:
                return []
            work.say(work.take(multival), "exact", "what it gives is the cfg")
            keys.append((start, found, each))
        elif each.kind == _CURVE and not any(
            isinstance(work.read(each, name, 0), Link) for name in _CURVE_VALUES
        ):
            keys += [(share, Multival(value), each) for share, value in _curve(work, each, start)]
        else:
            return []
    return sorted(keys, key=lambda key: key[0])


def _curve(work: Work, node: Node, start: float) -> list[tuple[float, float]]:
    """Return the cfg by share of sampling of a curve."""
    end, count = work.number(node, "end_percent", 1.0), max(int(work.number(node, "intervals", 50)), 2)
    low, high = work.number(node, "cfg_start", 8.0), work.number(node, "cfg_end", 8.0)
    way = str(work.read(node, "interpolation", "linear"))
    shares = [number / (count - 1) for number in range(count)]
    return [(start + (end - start) * share, low + (high - low) * ease(way, share)) for share in shares]


def say_lost(work: Work, part: Node | None) -> None:
    """Say that settings, and what they are made of, are not possible."""
    if part is None or part.id in work.done:
        return
    why = NOT_HERE.get(part.kind, "a setting that the converter does not know.")
    if part.kind in SIGMAS:
        why = "levels of noise of one's own are not here. Instead: Apply Motion Module's beta_schedule."
    if part.kind.startswith("ADE_CustomCFG") and part.kind not in NOT_HERE:
        why = "cfg by frame, mask or link from a step on is not here. Instead: by hand, CFG Schedule."
    work.say(work.take(part), "not possible", why)
    for name in _PREVIOUS:
        say_lost(work, work.part(part, name))
