"""AnimateDiff-Evolved's motion models that animate a picture, as PIA Picture and AnimateLCM Picture."""

from __future__ import annotations

from typing import Any

from .graph import Link, Node
from .rules import part
from .targets import LCM_PICTURE, PIA_PICTURE
from .values import find_multival
from .work import Work

PIA, I2V = "ADE_ApplyAnimateDiffModelWithPIA", "ADE_ApplyAnimateLCMI2VModel"
I2V_LOADER = "ADE_LoadAnimateLCMI2VModel"
_ENCODERS = {"ADE_UpscaleAndVAEEncode": "image", "VAEEncode": "pixels"}
_STYLES = {"Animation": "", "Loop": ", loop", "Style Transfer": ", style transfer"}
_SCALED = "pictures of another size are scaled and encoded in another way"

part(PIA, here="PIA Picture, Apply Motion Module",
     but="near: in context windows frames keep their distance from the picture; not possible where the graph does not "
         "tell one latent that is sampled")  # fmt: skip
part("ADE_InputPIA_PaperPresets", here="PIA Picture's `affinity`",
     but="near for loops, whose middle is another, and for a factor, which is left out")  # fmt: skip
part("ADE_InputPIA_Multival", here="PIA Picture's `affinities`", but="not possible by mask or by a link")
part(I2V, I2V_LOADER, here="Load Motion Module, AnimateLCM Picture, Apply Motion Module",
     but="near: pictures are scaled in another way; not possible for a latent that does not come from an encoder, and "
         "where the graph does not tell one latent that is sampled")  # fmt: skip
part(
    "ADE_UpscaleAndVAEEncode",
    here="nothing: AnimateLCM Picture takes the picture and the VAE",
    but="left for others",
)


def why_no_picture(work: Work, node: Node, at: Node) -> str:
    """Return why the picture of a node that applies a model can't be given to ours, or nothing.

    Args:
        work: graph that is changed.
        node: node that gives the model.
        at: node that applies the motion model.
    """
    if at.kind not in (PIA, I2V):
        return ""
    if work.latent(node) is None:
        return "the graph does not tell one latent that is sampled, which gives the picture its size"
    if at.kind == I2V:
        encoder, motion = work.part(at, "ref_latent"), work.graph.source(at.inputs.get("motion_model"))
        if encoder is None or encoder.kind not in _ENCODERS:
            return "a latent that does not come from an encoder, of which ours takes the picture"
        return "its encoder without the module" if isinstance(motion, Link) and motion.slot else ""
    given = work.part(at, "pia_input")
    if given is None or given.kind == "ADE_InputPIA_PaperPresets":
        return ""
    multival = work.part(given, "multival")
    value = None if multival is None else find_multival(work, multival)
    if value is None or value.mask is not None or isinstance(value.number, Link):
        return "affinities by mask or by a link"
    return ""


def put_picture(work: Work, node: Node, at: Node, motion: Link) -> Link:
    """Give the picture to a module, where it takes one.

    Args:
        work: graph that is changed.
        node: node that gives the model.
        at: node that applies the motion model.
        motion: link to the module.

    Returns:
        A link to the module with it.
    """
    if at.kind == PIA:
        values, lost = _affinity(work, node, work.part(at, "pia_input"))
        made = work.new(PIA_PICTURE, at, motion=motion, latent=work.latent(node), images=at.inputs.get("image"),
                        vae=at.inputs.get("vae"), **values)  # fmt: skip
        lost = ["in context windows frames keep their distance from it", *lost]
    elif at.kind == I2V and (encoder := work.part(at, "ref_latent")) is not None:
        made = work.new(LCM_PICTURE, at, motion=motion, latent=work.latent(node), vae=encoder.inputs.get("vae"),
                        images=encoder.inputs.get(_ENCODERS[encoder.kind]),
                        drift=work.pass_on(at, "ref_drift", 0.0))  # fmt: skip
        if encoder.kind.startswith("ADE"):
            work.say(work.take(encoder), "near", f"{work.title(made)}'s images and vae")
        off = work.read(at, "apply_ref_when_disabled", False) is True
        lost = ["the picture counts only while the module does"] if off else []
    else:
        return motion
    made.mode = node.mode
    work.say(at, "near", "; ".join([work.title(made), _SCALED, *lost]))
    return Link(made.id, 0)


def _affinity(work: Work, node: Node, given: Node | None) -> tuple[dict[str, Any], list[str]]:
    """Return PIA Picture's values, and what is lost."""
    if given is None:
        return {"affinity": "as written", "affinities": "1"}, []
    work.take(given)
    if given.kind != "ADE_InputPIA_PaperPresets":
        multival = work.part(given, "multival")
        value = None if multival is None else find_multival(work, work.take(multival))
        for each in filter(None, (given, multival)):
            work.say(each, "exact", "PIA Picture's affinities")
        text = "1" if value is None else value.by_frame or f"{value.number:g}"
        return {"affinity": "as written", "affinities": text}, []
    style, _, size = str(work.read(given, "preset", "Animation (Small Motion)")).partition(" (")
    index, frames = int(work.number(given, "batch_index", 0)), work.frames(node)
    if frames is not None:
        index = max(-frames, min(frames - 1, index))
    lost = ["a loop's affinities are those of its authors"] if style == "Loop" else []
    factor = work.part(given, "mult_multival")
    if factor is not None:
        lost.append("the factor on its affinities is left out")
        work.take(factor)
    work.say(given, "near" if lost else "exact", "; ".join(["PIA Picture's affinity and frames", *lost]))
    return {"affinity": size.rstrip(")").lower() + _STYLES.get(style, ""), "frames": str(index)}, []
