"""Advanced-ControlNet's SparseCtrl as Load SparseCtrl and Apply SparseCtrl.

There it changes conditions, and here the model: so it is put on the model of each node that samples with these
conditions, on both sides of guidance.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .graph import BYPASSED, MUTED, Link, Node, is_passage
from .rules import part, rule
from .targets import APPLY_SPARSE, CONTROL, LOAD_SPARSE
from .work import Work

SPARSE = "ACN_SparseCtrlLoaderAdvanced"
APPLIES = ("ACN_AdvancedControlNetApply", "ACN_AdvancedControlNetApply_v2")
_CORE = "ControlNetApplyAdvanced"
_SIDES = ("positive", "negative")
_TEXT = "BatchCreativeInterpolation"  # of Steerable Motion, which gives frames as text
_METHODS = {"ACN_SparseCtrlIndexMethodNode": "indexes", "ACN_SparseCtrlSpreadMethodNode": "spread"}
_PICTURES = "ACN_SparseCtrlRGBPreprocessor"
_SCHEDULES = ("timestep_kf", "latent_kf_override", "weights_override", "mask_optional")
_LITTLE = 0.1  # change of its own motion layers that is left out
_INSTEAD = "left as it is. Instead: by hand, Load SparseCtrl and Apply SparseCtrl."

part(*_METHODS, here="Apply SparseCtrl's `frames`")
part(_PICTURES, here="nothing: Apply SparseCtrl takes the pictures and the VAE",
     but="near: pictures of another size are scaled smoothly")  # fmt: skip


@rule(SPARSE, here="Load SparseCtrl; what applies it, Apply SparseCtrl",
      but="near; not possible: keyframes, weights or a mask, motion layers that are off or far from strength and scale "
          "1, pictures placed by another node, conditions that go elsewhere than into a sampler")  # fmt: skip
def load(work: Work, node: Node) -> None:
    """Convert what core's Apply ControlNet does with it; Advanced-ControlNet's own has a rule."""
    for user, name in work.graph.users(node, 0):
        if user.kind == _CORE and name == "control_net" and node.mode not in (MUTED, BYPASSED):
            put_sparse(work, user, node)


def is_skipped(work: Work, node: Node) -> bool:
    """Tell whether a node that applies a ControlNet has a SparseCtrl that is muted or bypassed."""
    link = node.inputs.get("control_net")
    loader = work.graph.nodes[link.node] if isinstance(link, Link) else node
    return loader.kind == SPARSE and loader.mode in (MUTED, BYPASSED)


def put_sparse(work: Work, node: Node, loader: Node) -> None:
    """Put SparseCtrl on the models that are sampled with the conditions of the node that applies it."""
    method, pictures = work.part(loader, "sparse_method"), work.part(node, "image")
    samplers, why = _samplers(work, node)
    why = _why_not(work, node, loader, method) or why
    if why:
        work.say(node, "not possible", f"{why}; {_INSTEAD}")
        return
    inputs, lost = _values(work, node, loader)
    inputs |= {"frames": "uniform", "images": node.inputs.get("image")}
    if method is not None and method.kind == _TEXT:
        inputs["frames"] = loader.inputs["sparse_method"]
        lost.append(f"frames come as text, which older versions of {work.name(method)} did not give")
    elif method is not None:
        inputs["frames"] = work.pass_on(method, _METHODS[method.kind], "0")
        work.say(work.take(method), "exact", "Apply SparseCtrl's frames")
    if pictures is not None and pictures.kind == _PICTURES:
        inputs |= {"images": pictures.inputs.get("image"), "vae": pictures.inputs.get("vae")}
        work.say(work.take(pictures), "near", "Apply SparseCtrl's images and vae; it scales them smoothly")
    for slot, name in enumerate((*_SIDES, "model_optional")):
        if name in node.inputs or name in _SIDES:
            work.graph.rewire(Link(node.id, slot), node.inputs.get(name))
    control = Link(_load(work, loader).id, 0)
    for sampler, latent in samplers:
        made = work.new(APPLY_SPARSE, work.take(node), model=sampler.inputs["model"], latent=latent,
                        sparse_control=control, **inputs)  # fmt: skip
        work.graph.put(sampler, "model", Link(made.id, 0))
        work.say(
            node, "near", "; ".join([f"{work.title(made)}, on the model of {work.name(sampler)}", *lost])
        )


def _load(work: Work, loader: Node) -> Node:
    """Return our loader, which loads the network once however often it is applied."""
    made = work.made.get((loader.id, LOAD_SPARSE))
    if made is None:
        file = work.pass_on(loader, "sparsectrl_name", "")
        made = work.made[loader.id, LOAD_SPARSE] = work.new(LOAD_SPARSE, work.take(loader), file=file)
        work.say(loader, "exact", work.title(made))
    return made


def _why_not(work: Work, node: Node, loader: Node, method: Node | None) -> str:
    """Return what Apply SparseCtrl can't do of it, or nothing."""
    if (
        any(work.part(node, name) is not None for name in _SCHEDULES)
        or work.part(loader, "tk_optional") is not None
    ):
        return "keyframes, weights or a mask of SparseCtrl are not here"
    if work.read(loader, "use_motion", True) is not True:
        return "its own motion layers are off there, and always run here"
    change = max(abs(work.number(loader, f"motion_{name}", 1.0) - 1) for name in ("strength", "scale"))
    if round(change, 3) > _LITTLE:
        return "its own motion layers have another strength or scale there"
    if method is not None and method.kind not in (*_METHODS, _TEXT):
        return f"its pictures are placed by {method.kind}, which is not read here"
    return ""


def _values(work: Work, node: Node, loader: Node) -> tuple[dict[str, Any], list[str]]:
    """Return values of Apply SparseCtrl, and what is lost."""
    lost = [f"motion_{name} {value:g} is left out" for name in ("strength", "scale")
            if (value := work.number(loader, f"motion_{name}", 1.0)) != 1]  # fmt: skip
    strength, hint = work.pass_on(node, "strength", 1.0), work.number(loader, "sparse_hint_mult", 1.0)
    others, mark = (
        work.number(loader, "sparse_nonhint_mult", 1.0),
        work.number(loader, "sparse_mask_mult", 1.0),
    )
    if hint and not isinstance(strength, Link):
        strength, others = strength * hint, others / hint
    elif hint != 1:
        lost.append(f"sparse_hint_mult {hint:g} is left out")
    if mark > 1:
        lost.append(f"given frames are marked by 1 in place of {mark:g}")
    ends = {
        name: work.pass_on(node, name, first)
        for name, first in (("start_percent", 0.0), ("end_percent", 1.0))
    }
    return ends | {"strength": strength, "other_frames": others, "mask_value": min(mark, 1.0)}, lost


def _samplers(work: Work, node: Node) -> tuple[list[tuple[Node, Any]], str]:
    """Return the nodes with a model that sample with both conditions of a node, each with its latent, or why none."""
    sides: dict[str, dict[str, Any]] = {}
    for slot, side in enumerate(_SIDES):
        for user, name in _conditioned(work, node, slot):
            latent = _latent(work, user)
            if name not in _SIDES or latent is None or not isinstance(user.inputs.get("model"), Link):
                return [], f"its conditions go to {work.name(user)}, which is no sampler that is known"
            sides.setdefault(user.id, {})[name if name == side else "other"] = latent
    if not sides:
        return [], "no sampler uses its conditions"
    if any(set(found) != set(_SIDES) for found in sides.values()):
        return [], "a sampler uses one of its conditions alone, and a model has both"
    return [(work.graph.nodes[each], found["positive"]) for each, found in sides.items()], ""


def _conditioned(work: Work, node: Node, slot: int) -> Iterator[tuple[Node, str]]:
    """Yield what uses a condition in the end, through nodes that hand it on, with the name of its input."""
    ahead = work.graph.users(node, slot)
    while ahead:
        user, name = ahead.pop()
        if user.mode == MUTED:
            continue
        if is_passage(user):
            ahead += work.graph.users(user) + work.graph.received(user)
        elif user.kind in (*APPLIES, _CORE, CONTROL) and name in _SIDES:
            ahead += work.graph.users(user, _SIDES.index(name))
        else:
            yield user, name


def _latent(work: Work, sampler: Node) -> Any:
    """Return the latent that a node samples, itself or through samplers that it guides; in a row, the first one's."""
    latents = [sampler.inputs.get("latent_image")]
    latents += [
        user.inputs.get("latent_image") for user, name in work.graph.users(sampler) if name == "guider"
    ]
    return next(
        (each for each in latents if isinstance(each, Link) and sampler.id not in work.before(each)), None
    )
