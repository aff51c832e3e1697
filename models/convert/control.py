"""Advanced-ControlNet's loaders, Apply node, keyframes and soft weights as core's nodes and Control Schedule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .graph import Link, Node
from .rules import part, rule
from .sparse_control import APPLIES, SPARSE, is_skipped, put_sparse
from .targets import CONTROL
from .values import ease
from .work import Work

LOADERS = ("ControlNetLoaderAdvanced", "ACN_ControlNetLoaderAdvanced")
_SOFT = ("ScaledSoftControlNetWeights", "ACN_ScaledSoftControlNetWeights")
_PLAIN = ("DefaultUniversalWeights", "ACN_DefaultUniversalWeights")
_PREVIOUS = ("prev_latent_kf", "prev_latent_keyframe")
_MOST = 10_000  # frames of a list

part("TimestepKeyframe", here="Control Schedule's `by_step`",
     but="near; masks, weights or frames that begin at a step are not possible")  # fmt: skip
part("LatentKeyframe", "LatentKeyframeGroup", "LatentKeyframeTiming", here="Control Schedule's `strength`",
     but="not possible: numbers by a link, and frames that count from the end")  # fmt: skip
part(
    *_SOFT,
    *_PLAIN,
    here="Control Schedule's `soft` and `negative_strength`",
    but="near; turned round: not possible",
)


@dataclass
class _Plan:
    """What Control Schedule is to do.

    Attributes:
        frames: strengths by frame; None: 1 for all.
        rest: strength of the frames that have none of their own.
        steps: strengths by share of sampling.
        soft: factor from depth to depth.
        negative: factor on the negative side.
        read: nodes that it was read from.
    """

    frames: dict[int, float] | None = None
    rest: float = 0.0
    steps: dict[float, float] = field(default_factory=dict[float, float])
    soft: float = 1.0
    negative: float = 1.0
    read: list[Node] = field(default_factory=list[Node])


@rule(*LOADERS, here="Load ControlNet Model")
def load(work: Work, node: Node) -> None:
    """Convert a loader once nothing but what was converted reads its keyframes."""
    if work.part(node, "timestep_keyframe", "tk_optional") is not None:
        for user, _ in work.graph.users(node, 0):
            if user.kind not in APPLIES:
                work.say(node, "left", f"as it is; its keyframes act in {work.name(user)}")
                return
        if any(work.part(user, "control_net") is not node for user, _ in work.graph.users(node, 0)):
            return
    made = work.new("ControlNetLoader", node, control_net_name=work.pass_on(node, "control_net_name", ""))
    for user, name in work.graph.users(node, 0):
        if user.kind not in APPLIES:  # those that apply it are converted by their own rule
            work.graph.put(user, name, Link(made.id, 0))
    work.made[node.id, "ControlNetLoader"] = made
    work.take(node)
    work.say(node, "exact", work.title(made))


@rule(*APPLIES, here="Apply ControlNet, then Control Schedule where strengths change",
      but="near with Control Schedule; SparseCtrl becomes Apply SparseCtrl")  # fmt: skip
def apply(work: Work, node: Node) -> None:
    """Convert the node that applies a ControlNet."""
    loader = work.part(node, "control_net")
    if is_skipped(work, node):
        work.say(node, "left", "as it is; its SparseCtrl is muted or bypassed")
        return
    if loader is not None and loader.kind == SPARSE:
        put_sparse(work, node, loader)
        return
    if loader is not None and loader.kind not in LOADERS and loader.kind != "ControlNetLoader":
        work.say(node, "not possible", f"{loader.kind} is not read here; left as it is. Instead: Load ControlNet "
                 "Model; for SparseCtrl, Load SparseCtrl and Apply SparseCtrl.")  # fmt: skip
        return
    plan, why = _read(work, node, loader)
    if plan is None:
        work.say(
            node,
            "not possible",
            f"{why}; left as it is. Instead: Apply ControlNet and Control Schedule by hand.",
        )
        return
    for each in plan.read:
        work.say(work.take(each), "near", "Control Schedule")
    inputs = {name: node.inputs.get(name) for name in ("positive", "negative", "image")}
    values = {name: work.pass_on(node, name, default)
              for name, default in (("strength", 1.0), ("start_percent", 0.0), ("end_percent", 1.0))}  # fmt: skip
    made = work.new("ControlNetApplyAdvanced", work.take(node), vae=node.inputs.get("vae_optional"), **inputs, **values,
                    control_net=_control_net(work, node, loader))  # fmt: skip
    ends = made
    mask = node.inputs.get("mask_optional")
    is_scheduled = plan.read or isinstance(mask, Link)
    if is_scheduled:
        ends = work.new(
            CONTROL, node, positive=Link(made.id, 0), negative=Link(made.id, 1), soft=plan.soft,
            negative_strength=plan.negative, mask=mask if isinstance(mask, Link) else None,
            by_step=", ".join(f"{at:g}: {value:g}" for at, value in plan.steps.items()) or "1",
            frames=1 if plan.frames is None else max(plan.frames, default=0) + 2,
            strength="1" if plan.frames is None else _list(plan.frames, plan.rest),
        )  # fmt: skip
    for slot in (0, 1):
        work.graph.rewire(Link(node.id, slot), Link(ends.id, slot))
    work.graph.rewire(Link(node.id, 2), node.inputs.get("model_optional"))
    said = work.title(made) + (f", {work.title(ends)}" if is_scheduled else "")
    work.say(node, "near" if is_scheduled else "exact", said)


def _control_net(work: Work, node: Node, loader: Node | None) -> Any:
    """Return the ControlNet of a loader, which is loaded once by core's."""
    if loader is None or loader.kind not in LOADERS:
        return node.inputs.get("control_net")
    made = work.made.get((loader.id, "ControlNetLoader"))
    if made is None:
        load(work, loader)
        made = work.made.get((loader.id, "ControlNetLoader"))
    if made is None:
        made = work.new(
            "ControlNetLoader", loader, control_net_name=work.pass_on(loader, "control_net_name", "")
        )
        work.made[loader.id, "ControlNetLoader"] = made
    return Link(made.id, 0)


def _list(frames: dict[int, float], rest: float) -> str:
    """Return strengths as a list, whose last number goes on: that of all frames behind."""
    return ", ".join(f"{frames.get(frame, rest):.4g}" for frame in range(max(frames, default=-1) + 2))


def _read(work: Work, node: Node, loader: Node | None) -> tuple[_Plan | None, str]:
    """Return what a node's keyframes and weights say; None, and why, where Control Schedule can't do it."""
    plan = _Plan()
    key = work.part(node, "timestep_kf")
    if key is None and loader is not None:
        key = work.part(loader, "timestep_keyframe", "tk_optional")
    if key is not None and key.kind in (
        *_SOFT,
        *_PLAIN,
    ):  # whose second output is a keyframe from the beginning
        why = _read_weights(work, key, plan)
        return (None, why) if why else (plan, "")
    chain: list[Node] = []
    while key is not None and key not in chain:
        if key.kind != "TimestepKeyframe":
            return None, f"{key.kind} is not read here"
        chain.append(key)
        key = work.part(key, "prev_timestep_kf", "prev_timestep_keyframe")
    for each in sorted(chain[::-1], key=lambda one: work.number(one, "start_percent", 0.0)):
        start = work.number(each, "start_percent", 0.0)
        if not plan.steps and start > 0:
            plan.steps[0.0] = 1.0
        plan.steps[start] = work.number(each, "strength", 1.0)
        plan.read.append(each)
        inner = [work.part(each, *names) for names in
                 (("latent_keyframe",), ("cn_weights", "control_net_weights"), ("mask_optional",))]  # fmt: skip
        if any(found is not None for found in inner) and (
            len(chain) > 1 or start > 0 or inner[2] is not None
        ):
            return None, "frames, weights or a mask begin at a step"
        why = _read_frames(work, inner[0], plan, work.number(each, "null_latent_kf_strength", 0.0))
        why = why or _read_weights(work, inner[1], plan)
        if why:
            return None, why
    why = _read_frames(work, work.part(node, "latent_kf_override"), plan, 0.0)
    why = why or _read_weights(work, work.part(node, "weights_override"), plan)
    return (None, why) if why else (plan, "")


def _read_weights(work: Work, weights: Node | None, plan: _Plan) -> str:
    if weights is None:
        return ""
    if weights.kind not in _SOFT and weights.kind not in _PLAIN:
        return f"{weights.kind} is not read here"
    if work.read(weights, "flip_weights", False) is True or work.part(weights, "cn_extras") is not None:
        return "weights that are turned round, or have extras"
    plan.soft = work.number(weights, "base_multiplier", 0.825) if weights.kind in _SOFT else 1.0
    plan.negative = work.number(weights, "uncond_multiplier", 1.0)
    plan.read.append(weights)
    return ""


def _read_frames(work: Work, keys: Node | None, plan: _Plan, rest: float) -> str:
    """Read a chain of latent keyframes; those before count more. Returns why it can't be read, or nothing."""
    found: dict[int, float] = {}
    seen: list[Node] = []
    first = keys
    while keys is not None and keys not in seen:
        seen.append(keys)
        made = _frames_of(work, keys)
        if made is None:
            return f"the frames of {keys.kind} (node {keys.id}) can't be read"
        found |= made
        keys = work.part(keys, *_PREVIOUS)
    if first is None:
        return ""
    if any(not 0 <= frame < _MOST for frame in found):
        return "frames that count from the clip's end"
    plan.frames, plan.rest = found, rest
    plan.read += seen
    return ""


def _frames_of(work: Work, node: Node) -> dict[int, float] | None:
    """Return the strengths that one node gives; None where they can't be read."""
    if any(isinstance(work.read(node, name, 0), Link) for name in node.inputs if name not in _PREVIOUS):
        return None
    if node.kind == "LatentKeyframe":
        return {int(work.number(node, "batch_index", 0)): work.number(node, "strength", 1.0)}
    if node.kind == "LatentKeyframeTiming":
        first, end = (
            int(work.number(node, "batch_index_from", 0)),
            int(work.number(node, "batch_index_to_excl", 0)),
        )
        if not 0 <= first <= end <= _MOST:
            return None
        way = str(work.read(node, "interpolation", "linear"))
        low, high = work.number(node, "strength_from", 1.0), work.number(node, "strength_to", 1.0)
        count = max(end - first - 1, 1)
        return {first + each: low + (high - low) * ease(way, each / count) for each in range(end - first)}
    if node.kind != "LatentKeyframeGroup":
        return None
    strengths: dict[int, float] = {}
    try:
        for item in filter(None, map(str.strip, str(work.read(node, "index_strengths", "")).split(","))):
            key, _, strength = item.partition("=")
            start, colon, end = key.strip().partition(":")
            last = int(end) if colon else int(start) + 1
            if last - int(start) > _MOST:
                return None
            strengths |= dict.fromkeys(range(int(start), last), float(strength) if strength else 1.0)
    except ValueError:
        return None
    return strengths
