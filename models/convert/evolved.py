"""AnimateDiff-Evolved's nodes as ours: its loaders, motion LoRAs, strengths, keyframes and sampling.

What each feature computes, there and here, was read from its source (version 1.5.7) and is held against its own latents
by ``tests/host/inside/beside_animatediff_evolved.py``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .betas import LCM, OWN, choose_beta, put_lcm
from .cameras import APPLY_WITH, LOAD_WITH, put_camera
from .contexts import put_contexts
from .evolved_sampling import put_settings
from .graph import BYPASSED, Link, Node
from .pictures import I2V, I2V_LOADER, PIA, put_picture, why_no_picture
from .positions import put_positions
from .rules import NOT_HERE, part, rule
from .targets import APPLY, LOAD, LORA, STRENGTH
from .values import Multival, keyframes, read_multival
from .weights import put_weights
from .work import Work

_SDXL = re.compile(r"sdxl|hsxl|hotshot|temporal[-_]?xl", re.IGNORECASE)
_V2 = re.compile(r"v15_v2|v2\.(ckpt|safetensors|pth)|v2[-_.]fp16|v15-v2", re.IGNORECASE)
_V1_OR_V3 = re.compile(r"v14|v15\.|v15[-_.]fp16|v3|stabilized|temporaldiff|improved", re.IGNORECASE)


@dataclass
class Module:
    """One motion module that is to be applied.

    Attributes:
        at: node that applies it.
        loader: node that loads it.
        strength: effect that it has.
        scale: scale of its attention.
        says_schedule: true for the one whose schedule counts.
    """

    at: Node
    loader: Node
    strength: Multival
    scale: Multival
    says_schedule: bool = True


@rule("ADE_AnimateDiffLoaderGen1", here="Load Motion Module, Apply Motion Module")
def gen1(work: Work, node: Node) -> None:
    """Convert the loader that does all."""
    _note_sdxl(work, node, node)
    put_models(work, node, [_module(work, node, node)])


@rule(
    "ADE_AnimateDiffLoaderWithContext", "AnimateDiffLoaderV1", "ADE_AnimateDiffLoaderV1Advanced",
    here="Load Motion Module, Apply Motion Module; `motion_scale` is Motion Strength's `scale`",
    but="near where a v2 module is applied as v1, with `apply_v2_models_properly` off",
)  # fmt: skip
def legacy(work: Work, node: Node) -> None:
    """Convert a loader of old: it has a scale of its own, and may apply v2 modules as v1."""
    _note_sdxl(work, node, node)
    module = _module(work, node, node)
    scale = work.read(node, "motion_scale", 1.0)
    if scale != 1.0:
        module.scale = Multival(work.pass_on(node, "motion_scale", 1.0)).times(module.scale)
    name = str(work.read(node, "model_name", ""))
    properly = work.read(node, "apply_v2_models_properly", node.kind == "ADE_AnimateDiffLoaderWithContext")
    if not properly and not _V1_OR_V3.search(name):
        kind = "this v2 module is" if _V2.search(name) else "a v2 module would be"
        why = f"{kind} applied as if it were v1, with the UNet's norms over the clip; here it is applied as trained"
        work.say(node, "near", why)
    put_models(work, node, [module])
    if node.kind != "ADE_AnimateDiffLoaderWithContext":
        work.graph.rewire(Link(node.id, 1), node.inputs.get("latents"))


@rule("ADE_UseEvolvedSampling", here="Apply Motion Module, with what its inputs bring")
def gen2(work: Work, node: Node) -> None:
    """Convert the node that applies motion models, contexts and settings."""
    found: list[tuple[Node, Node]] = []
    apply = work.part(node, "m_models")
    while apply is not None:
        loader = work.part(apply, "motion_model") if apply.kind in APPLIES else None
        if loader is None or loader.kind not in LOADERS:
            _refuse(work, node, apply if apply.kind not in APPLIES else loader or apply)
            return
        _note_sdxl(work, node, loader)
        if why := why_no_picture(work, node, apply):
            work.say(
                apply, "not possible", f"{why}; left as it is. Instead: by hand, {_PICTURES[apply.kind]}."
            )
            work.say(node, "not possible", f"left as it is, because {apply.kind} can't be converted")
            return
        found.append((apply, loader))
        apply = work.part(apply, "prev_m_models")
    modules = [_module(work, *each) for each in found]
    for earlier in modules[1:]:
        earlier.says_schedule = False
    put_models(work, node, modules[::-1])  # the one applied first runs first in each of the UNet's blocks


APPLIES = (
    "ADE_ApplyAnimateDiffModel",
    "ADE_ApplyAnimateDiffModelSimple",
    APPLY_WITH,
    PIA,
    I2V,
)
LOADERS = ("ADE_LoadAnimateDiffModel", LOAD_WITH, I2V_LOADER)
_PICTURES = {PIA: "PIA Picture", I2V: "AnimateLCM Picture"}
part("ADE_LoadAnimateDiffModel", here="Load Motion Module")
part("ADE_AnimateDiffSettings", "ADE_AnimateDiffModelSettings_Release", "ADE_AnimateDiffModelSettingsSimple",
     "ADE_AnimateDiffModelSettings", "ADE_AnimateDiffModelSettingsAdvancedAttnStrengths",
     here="nothing, where they change nothing; Stretch Positions for positions, Adjust Motion Weights for weights",
     but="a scale by mask is not possible")  # fmt: skip
part("ADE_ApplyAnimateDiffModel", "ADE_ApplyAnimateDiffModelSimple", here="Apply Motion Module",
     but="several on one model are applied one after the other, as there")  # fmt: skip
part("ADE_AnimateDiffLoRALoader", here="Load Motion LoRA")


@rule("ADE_AnimateDiffUnload", here="nothing: ours take nothing from a model that they were not on")
def unload(work: Work, node: Node) -> None:
    """Take the node out: what comes in goes on."""
    work.take(node)
    work.graph.rewire(Link(node.id, 0), node.inputs.get("model"))
    work.say(node, "exact", "left out; a model of ours from before Apply Motion Module has no motion module")


@rule("ADE_EmptyLatentImageLarge", here="Empty Latent Image (up to 4096 frames)")
def large_latent(work: Work, node: Node) -> None:
    """Convert an empty latent."""
    sizes = {name: work.pass_on(node, name, default) for name, default in
             (("width", 512), ("height", 512), ("batch_size", 1))}  # fmt: skip
    made = work.new("EmptyLatentImage", work.take(node), **sizes)
    work.graph.rewire(Link(node.id, 0), Link(made.id, 0))
    work.say(node, "exact", work.title(made))


@rule("CheckpointLoaderSimpleWithNoiseSelect", here="Load Checkpoint",
      but="near where its `beta_schedule` is not `use existing`, unless a motion module sets one anyway")  # fmt: skip
def checkpoint(work: Work, node: Node) -> None:
    """Convert a checkpoint loader with a schedule of its own, which motion modules replace."""
    made = work.new("CheckpointLoaderSimple", work.take(node), ckpt_name=work.pass_on(node, "ckpt_name", ""))
    for slot in range(3):
        work.graph.rewire(Link(node.id, slot), Link(made.id, slot))
    beta = work.read(node, "beta_schedule", "use existing")
    lost = [] if beta in ("use existing", "sqrt_linear (AnimateDiff)") else [f"its beta_schedule {beta}"]
    if work.read(node, "use_custom_scale_factor", False):
        lost.append("its scale_factor")
    if lost:
        work.say(
            node, "near", f"{work.title(made)}, without {' and '.join(lost)}; motion modules set the schedule"
        )
    else:
        work.say(node, "exact", work.title(made))


def put_models(work: Work, node: Node, modules: list[Module]) -> None:
    """Put modules, contexts and settings on the model that a node takes, and give what comes to who used the node."""
    model: Any = node.inputs.get("model")
    for module in modules:
        model = _put_module(work, node, model, module)
    if not modules:
        model = _put_beta(work, node, model)
    model = put_contexts(work, node, model)
    model = put_settings(work, node, model)
    work.take(node)
    work.graph.rewire(Link(node.id, 0), model)
    if not modules:
        work.say(node, "exact", "its work is done by what its inputs became")


def _put_beta(work: Work, node: Node, model: Any) -> Any:
    """Put a schedule on a model that gets no motion module."""
    beta, lost = choose_beta(work, node, None)
    if lost or beta not in (OWN, LCM):
        work.say(node, "not possible", "a beta_schedule without a motion module. Instead: core's nodes that change a "
                 "model's sampling.")  # fmt: skip
    return put_lcm(work, node, model) if beta == LCM else model


def _note_sdxl(work: Work, node: Node, loader: Node) -> None:
    """Say what differs where a loader's file is for SDXL, as far as its name tells."""
    name = str(work.read(loader, "model_name", ""))
    if _SDXL.search(name):
        why = "AnimateDiff-Evolved takes all norms over the clip, and here those go over it that its authors took so"
        work.say(node, "near", f"{name} is for SDXL: {why}; it runs in ComfyUI, not headless")


def _put_module(work: Work, node: Node, model: Any, module: Module) -> Any:
    """Load a module and put it on a model."""
    motion, at = _load(work, module), module.at
    for lora in work.chain(at, "motion_lora", "prev_motion_lora"):
        made = work.new(
            LORA,
            work.take(lora),
            motion=motion,
            file=work.pass_on(lora, "name", work.read(lora, "lora_name", "")),
            strength=work.pass_on(lora, "strength", 1.0),
        )
        motion = Link(made.id, 0)
        work.say(lora, "exact", work.title(made))
    steps = keyframes(work, work.part(at, "ad_keyframes"))
    strength = module.strength
    if steps or strength.is_varying or not module.scale.is_plain:
        frames = work.frames(node)
        made = work.new(
            STRENGTH,
            at,
            motion=motion,
            frames=frames,
            strength=strength.by_frame or "1",
            between="linear",
            by_step=steps or "1",
            scale=module.scale.number,
            scale_by_frame=module.scale.by_frame or "1",
            mask=strength.mask,
        )
        motion = Link(made.id, 0)
    motion = put_picture(work, node, at, motion)
    file = str(work.read(module.loader, "model_name", ""))
    beta, lost = choose_beta(work, node, file) if module.says_schedule else (OWN, "")
    made = work.new(
        APPLY,
        work.take(at),
        model=model,
        motion=motion,
        strength=strength.number,
        start_percent=work.pass_on(at, "start_percent", 0.0),
        end_percent=work.pass_on(at, "end_percent", 1.0),
        beta_schedule=OWN if beta == LCM else beta,
    )
    made.mode = node.mode
    model = Link(made.id, 0)
    if beta == LCM:
        model = put_lcm(work, node, model)
    work.say(
        at,
        "near" if lost else "exact",
        work.title(made) + (f", near in its beta_schedule: {lost}" if lost else ""),
    )
    return put_camera(work, node, at, module.loader, model)


def _load(work: Work, module: Module) -> Link:
    """Return the module that a loader gives, which is loaded once however often it is applied."""
    loader = work.take(module.loader)
    made = work.made.get((loader.id, LOAD))
    if made is None:
        made = work.new(LOAD, loader, file=work.pass_on(loader, "model_name", ""))
        made.mode = 0 if made.mode == BYPASSED else made.mode
        work.say(loader, "exact", work.title(made))
        settings = work.part(loader, "ad_settings", "motion_model_settings")
        if settings is not None:
            file = str(work.read(loader, "model_name", ""))
            made = put_positions(work, work.take(settings), made, file)
            made = put_weights(work, settings, made, file)
            _say_masked_scale(work, settings)
            if work.name(settings) not in {line.what for line in work.report.lines}:
                work.say(settings, "exact", "left out; but for what its inputs became, it changes nothing")
        work.made[loader.id, LOAD] = made
    return Link(made.id, 0)


def _say_masked_scale(work: Work, settings: Node) -> None:
    """Say that a scale by mask is lost, which settings of old have."""
    if "mask_motion_scale" in settings.inputs:
        work.say(settings, "not possible", "mask_motion_scale: a scale by mask is not here. Instead: Motion Strength's "
                 "scale for the whole picture.")  # fmt: skip


def _module(work: Work, at: Node, loader: Node) -> Module:
    strength = read_multival(work, work.part(at, "effect_multival"), "effect")
    scale = read_multival(work, work.part(at, "scale_multival"), "scale")
    blocks = work.part(at, "per_block")
    if blocks is not None:
        work.say(work.take(blocks), "not possible", NOT_HERE["ADE_PerBlockHighLevel"])
    return Module(at, loader, strength, scale)


def _refuse(work: Work, node: Node, part: Node) -> None:
    why = NOT_HERE.get(part.kind, "a kind of motion model that the converter does not know.")
    work.say(part, "not possible", why)
    work.say(
        node, "not possible", f"left as it is, because {part.kind} can't be converted; its nodes stay with it"
    )
