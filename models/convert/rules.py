"""The rules that there are: which node of another pack becomes what, and how well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .graph import Node
from .work import Work

Run = Callable[[Work, Node], None]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        kinds: nodes that it is for.
        here: words on what they become.
        but: words on what is not exact about it, or nothing.
        run: function that converts a node; None: the node is read by the rules of those that use it.
    """

    kinds: tuple[str, ...]
    here: str
    but: str
    run: Run | None


RULES: list[Rule] = []


def rule(*kinds: str, here: str, but: str = "") -> Callable[[Any], Any]:
    """Add a rule whose function stands below."""

    def add(run: Any) -> Any:
        RULES.append(Rule(kinds, here, but, run))
        return run

    return add


def part(*kinds: str, here: str, but: str = "") -> None:
    """Add a rule for nodes that are read by the rules of those that use them."""
    RULES.append(Rule(kinds, here, but, None))


def runs() -> dict[str, Run]:
    """Return what converts a node, by its class."""
    return {kind: each.run for each in RULES if each.run is not None for kind in each.kinds}


# What is not possible, and what to do instead. A feature that the pack gets moves from here to a rule.
_CAMERA = "poses of a file are not converted. Instead: Camera Poses From Text, with the file's text."
_MOTION_CTRL = "switched off in that pack. Instead: MotionCtrl Camera for its cameras."
_INJECT = (
    "a picture's encoder in another module is not here. Instead: the module that has it, with its picture."
)
_BLOCKS = "strengths for single blocks are not here. Instead: Motion Strength for the whole module."
_CFG = "cfg by a list that is worked out is not here. Instead: by hand, CFG Schedule."
_PAG = "this guidance is not here. Instead: core's PerturbedAttentionGuidance and RescaleCFG."
_SIGMAS = "schedules of noise levels are not here. Instead: Apply Motion Module's beta_schedule."
_REF = "references between windows are not here. Instead: Cross Frame Attention, whose anchor frame all windows read."
_HOOKS = "hooked LoRAs of old. Instead: core's Create Hook LoRA and its like, which replaced them."
_VIEWS = "windows within the module. Instead: Free Noise with fuse on."
_MERGED = "SparseCtrl merged with a ControlNet is not here. Instead: Load SparseCtrl and Apply SparseCtrl."

NOT_HERE: dict[str, str] = {
    "ADE_CameraCtrlAnimateDiffKeyframe": "a camera that begins at a step is not here. Instead: Apply CameraCtrl.",
    **dict.fromkeys((
        "ADE_LoadCameraPoses", "ADE_LoadCameraPosesFromPath", "ADE_ReplaceCameraParameters",
        "ADE_ReplaceOriginalPoseAspectRatio",
    ), _CAMERA),
    **dict.fromkeys((
        "ADE_LoadMotionCtrl_CMCMMOdel", "ADE_LoadMotionCtrl_OMCMMOdel", "ADE_ApplyAnimateDiffModelWithMotionCtrl",
        "ADE_LoadMotionCtrlCameraPosesFromFile",
    ), _MOTION_CTRL),
    "ADE_PIA_AnimateDiffKeyframe": "affinities that begin at a step are not here. Instead: PIA Picture.",
    "ADE_InjectPIAIntoAnimateDiffModel": _INJECT,
    "ADE_InjectI2VIntoAnimateDiffModel": _INJECT,
    **dict.fromkeys((
        "ADE_BlockCombo", "ADE_BlockIndiv", "ADE_PerBlockHighLevel", "ADE_PerBlock_SD15_MidLevel",
        "ADE_PerBlock_SD15_LowLevel", "ADE_PerBlock_SD15_FromFloats", "ADE_PerBlock_SDXL_MidLevel",
        "ADE_PerBlock_SDXL_LowLevel", "ADE_PerBlock_SDXL_FromFloats",
    ), _BLOCKS),
    "ADE_CustomCFGKeyframeFromList": _CFG,
    **dict.fromkeys((
        "ADE_CFGExtrasPAGSimple", "ADE_CFGExtrasPAG", "ADE_CFGExtrasRescaleCFGSimple", "ADE_CFGExtrasRescaleCFG",
        "ADE_PerturbedAttentionGuidanceMultival", "ADE_RescaleCFGMultival",
    ), _PAG),
    **dict.fromkeys((
        "ADE_SigmaScheduleWeightedAverageInterp", "ADE_SigmaScheduleSplitAndCombine", "ADE_SigmaScheduleToSigmas",
    ), _SIGMAS),
    **dict.fromkeys((
        "ADE_ContextExtras_Set", "ADE_ContextExtras_ContextRef", "ADE_ContextExtras_ContextRef_ModeFirst",
        "ADE_ContextExtras_ContextRef_ModeSliding", "ADE_ContextExtras_ContextRef_ModeIndexes",
        "ADE_ContextExtras_ContextRef_TuneAttn", "ADE_ContextExtras_ContextRef_TuneAttnAdain",
        "ADE_ContextExtras_ContextRef_Keyframe", "ADE_ContextExtras_ContextRef_KeyframeInterpolation",
        "ADE_ContextExtras_ContextRef_KeyframeFromList", "ADE_ContextExtras_NaiveReuse",
        "ADE_ContextExtras_NaiveReuse_Keyframe", "ADE_ContextExtras_NaiveReuse_KeyframeInterpolation",
        "ADE_ContextExtras_NaiveReuse_KeyframeFromList",
    ), _REF),
    **dict.fromkeys((
        "ADE_RegisterLoraHook", "ADE_RegisterLoraHookModelOnly", "ADE_RegisterModelAsLoraHook",
        "ADE_RegisterModelAsLoraHookModelOnly", "ADE_CombineLoraHooks", "ADE_CombineLoraHooksFour",
        "ADE_CombineLoraHooksEight", "ADE_SetLoraHookKeyframe", "ADE_AttachLoraHookToCLIP", "ADE_LoraHookKeyframe",
        "ADE_LoraHookKeyframeInterpolation", "ADE_LoraHookKeyframeFromStrengthList",
        "ADE_AttachLoraHookToConditioning", "ADE_PairedConditioningSetMask", "ADE_ConditioningSetMask",
        "ADE_PairedConditioningSetMaskAndCombine", "ADE_ConditioningSetMaskAndCombine",
        "ADE_PairedConditioningSetUnmaskedAndCombine", "ADE_ConditioningSetUnmaskedAndCombine",
        "ADE_PairedConditioningCombine", "ADE_ConditioningCombine", "ADE_TimestepsConditioning",
    ), _HOOKS),
    **dict.fromkeys((
        "ADE_ViewsOnlyContextOptions", "ADE_StandardStaticViewOptions", "ADE_StandardUniformViewOptions",
        "ADE_LoopedUniformViewOptions",
    ), _VIEWS),
    **dict.fromkeys((
        "ADE_VisualizeContextOptionsK", "ADE_VisualizeContextOptionsKAdv", "ADE_VisualizeContextOptionsSCustom",
    ), "a picture of windows. Instead: Context Windows's plan."),
    "ACN_SparseCtrlMergedLoaderAdvanced": _MERGED,
    "ADE_NoisedImageInjection": "pictures put in while sampling are not here. Instead: Hold Frames.",
    "ADE_NoisedImageInjectOptions": "pictures put in while sampling are not here. Instead: Hold Frames.",
    "ADE_AncestralOptions": "noise of its own for an ancestral sampler is not here. Instead: euler, which has none.",
    "ADE_MultivalConvertToMask": "a number for each frame as a mask. Instead: core's mask nodes.",
    "ADE_ConditionExtraction": "one frame's prompt out of a schedule. Instead: CLIP Text Encode.",
    "ADE_ValuesReplace": "numbers by name in prompts are not here. Instead: Prompt Travel's arithmetic in back quotes.",
}  # fmt: skip
