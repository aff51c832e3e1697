"""What other packs' nodes, and core's, keep in an editor's file: the names of their values, in order.

A line for each node; several where older versions kept other values, the newest first. Behind a colon stands what a
value is: i a whole number, f a number, b on or off, none a text. * is a value without a name: what the editor keeps
behind a seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..files.json_text import as_array, as_object

_CONTEXT = "fuse_method use_on_equal_length:b start_percent:f guarantee_steps:i"
_RUN = "steps:i cfg:f sampler_name scheduler"
_SIX = " ".join(f"motion_type{number}" for number in range(1, 7))
_SIX_STRONG = " ".join(f"motion_type{number} strength{number}:f" for number in range(1, 7))
_LAYER = "batch_offset:i noise_type seed_gen_override seed_offset:i"
_SCHEDULE = "text max_frames:i print_output:b pre_text app_text start_frame:i"

VALUES: dict[str, tuple[str, ...]] = {
    # AnimateDiff-Evolved: loaders
    "ADE_AnimateDiffLoaderGen1": ("model_name beta_schedule",),
    "ADE_AnimateDiffLoaderWithContext": (
        "model_name beta_schedule motion_scale:f apply_v2_models_properly:b",
    ),
    "AnimateDiffLoaderV1": ("model_name unlimited_area_hack:b beta_schedule",),
    "ADE_AnimateDiffLoaderV1Advanced": (
        "model_name unlimited_area_hack:b context_length:i context_stride:i context_overlap:i context_schedule "
        "closed_loop:b beta_schedule",
    ),
    "ADE_UseEvolvedSampling": ("beta_schedule",),
    "ADE_LoadAnimateDiffModel": ("model_name",),
    "ADE_LoadAnimateDiffModelWithCameraCtrl": ("model_name camera_ctrl",),
    "ADE_ApplyAnimateDiffModel": ("start_percent:f end_percent:f",),
    "ADE_ApplyAnimateDiffModelWithCameraCtrl": ("start_percent:f end_percent:f",),
    "ADE_CameraPoseBasic": ("motion_type speed:f frame_length:i",),
    "ADE_CameraPoseCombo": (f"{_SIX} speed:f frame_length:i",),
    "ADE_CameraPoseAdvanced": (f"{_SIX_STRONG} speed:f frame_length:i",),
    "ADE_ApplyAnimateDiffModelWithPIA": ("start_percent:f end_percent:f",),
    "ADE_InputPIA_PaperPresets": ("preset batch_index:i print_values:b",),
    "ADE_LoadAnimateLCMI2VModel": ("model_name",),
    "ADE_ApplyAnimateLCMI2VModel": ("ref_drift:f apply_ref_when_disabled:b start_percent:f end_percent:f",),
    "ADE_AnimateDiffLoRALoader": ("name strength:f",),
    "CheckpointLoaderSimpleWithNoiseSelect": (
        "ckpt_name beta_schedule use_custom_scale_factor:b scale_factor:f",
    ),
    "ADE_EmptyLatentImageLarge": ("width:i height:i batch_size:i",),
    "ADE_AnimateDiffCombine": ("frame_rate:i loop_count:i filename_prefix format pingpong:b save_image:b",),
    # AnimateDiff-Evolved: contexts
    "ADE_StandardStaticContextOptions": (f"context_length:i context_overlap:i {_CONTEXT}",),
    "ADE_StandardUniformContextOptions": (f"context_length:i context_stride:i context_overlap:i {_CONTEXT}",),
    "ADE_LoopedUniformContextOptions": (
        f"context_length:i context_stride:i context_overlap:i closed_loop:b {_CONTEXT}",
    ),
    "ADE_AnimateDiffUniformContextOptions": (
        f"context_length:i context_stride:i context_overlap:i context_schedule closed_loop:b {_CONTEXT}",
    ),
    "ADE_BatchedContextOptions": ("context_length:i start_percent:f guarantee_steps:i",),
    "ADE_ViewsOnlyContextOptions": ("start_percent:f guarantee_steps:i",),
    "ADE_StandardStaticViewOptions": ("view_length:i view_overlap:i fuse_method",),
    "ADE_StandardUniformViewOptions": ("view_length:i view_stride:i view_overlap:i fuse_method",),
    "ADE_LoopedUniformViewOptions": (
        "view_length:i view_stride:i view_overlap:i closed_loop:b fuse_method use_on_equal_length:b",
    ),
    # AnimateDiff-Evolved: strengths
    "ADE_MultivalDynamic": ("float_val:f",),
    "ADE_MultivalScaledMask": ("min_float_val:f max_float_val:f scaling",),
    "ADE_AnimateDiffKeyframe": ("start_percent:f inherit_missing:b guarantee_steps:i",),
    "ADE_AnimateDiffModelSettings_Release": ("min_motion_scale:f max_motion_scale:f",),
    "ADE_AnimateDiffModelSettingsSimple": ("motion_pe_stretch:i min_motion_scale:f max_motion_scale:f",),
    "ADE_AnimateDiffModelSettings": (
        "pe_strength:f attn_strength:f other_strength:f motion_pe_stretch:i cap_initial_pe_length:i "
        "interpolate_pe_to_length:i initial_pe_idx_offset:i final_pe_idx_offset:i min_motion_scale:f "
        "max_motion_scale:f",
    ),
    "ADE_AnimateDiffModelSettingsAdvancedAttnStrengths": (
        "pe_strength:f attn_strength:f attn_q_strength:f attn_k_strength:f attn_v_strength:f "
        "attn_out_weight_strength:f attn_out_bias_strength:f other_strength:f motion_pe_stretch:i "
        "cap_initial_pe_length:i interpolate_pe_to_length:i initial_pe_idx_offset:i final_pe_idx_offset:i "
        "min_motion_scale:f max_motion_scale:f",
    ),
    "ADE_AdjustPESweetspotStretch": ("sweetspot:i new_sweetspot:i print_adjustment:b",),
    "ADE_AdjustPEFullStretch": ("pe_stretch:i print_adjustment:b",),
    "ADE_AdjustPEManual": (
        "cap_initial_pe_length:i interpolate_pe_to_length:i initial_pe_idx_offset:i final_pe_idx_offset:i "
        "print_adjustment:b",
    ),
    "ADE_AdjustWeightAllAdd": ("all_ADD:f print_adjustment:b",),
    "ADE_AdjustWeightAllMult": ("all_MULT:f print_adjustment:b",),
    "ADE_AdjustWeightIndivAdd": ("pe_ADD:f attn_ADD:f other_ADD:f print_adjustment:b",),
    "ADE_AdjustWeightIndivMult": ("pe_MULT:f attn_MULT:f other_MULT:f print_adjustment:b",),
    "ADE_AdjustWeightIndivAttnAdd": (
        "pe_ADD:f attn_ADD:f attn_q_ADD:f attn_k_ADD:f attn_v_ADD:f attn_out_weight_ADD:f attn_out_bias_ADD:f "
        "other_ADD:f print_adjustment:b",
    ),
    "ADE_AdjustWeightIndivAttnMult": (
        "pe_MULT:f attn_MULT:f attn_q_MULT:f attn_k_MULT:f attn_v_MULT:f attn_out_weight_MULT:f "
        "attn_out_bias_MULT:f other_MULT:f print_adjustment:b",
    ),
    # AnimateDiff-Evolved: sampling
    "ADE_AnimateDiffSamplingSettings": (
        "batch_offset:i noise_type seed_gen seed_offset:i adapt_denoise_steps:b",
    ),
    "ADE_NoiseLayerReplace": (_LAYER,),
    "ADE_NoiseLayerAdd": (f"{_LAYER} noise_weight:f",),
    "ADE_NoiseLayerAddWeighted": (f"{_LAYER} noise_weight:f balance_multiplier:f",),
    "ADE_NoiseLayerNormalizedSum": (f"{_LAYER} noise_weight:f",),
    "ADE_IterationOptsDefault": ("iterations:i iter_batch_offset:i iter_seed_offset:i",),
    "ADE_IterationOptsFreeInit": (
        "iterations:i filter d_s:f d_t:f n_butterworth:i sigma_step:i apply_to_1st_iter:b init_type "
        "iter_batch_offset:i iter_seed_offset:i",
    ),
    "ADE_SigmaSchedule": ("beta_schedule",),
    "ADE_RawSigmaSchedule": (
        "raw_beta_schedule linear_start:f linear_end:f sampling lcm_original_timesteps:i zsnr:b",
    ),
    "ADE_SigmaScheduleWeightedAverage": ("weight_A:f",),
    "ADE_CustomCFGSimple": ("cfg:f",),
    "ADE_CustomCFGKeyframeSimple": ("cfg:f start_percent:f guarantee_steps:i",),
    "ADE_CustomCFGKeyframe": ("start_percent:f guarantee_steps:i",),
    "ADE_CustomCFGKeyframeInterpolation": (
        "start_percent:f end_percent:f cfg_start:f cfg_end:f interpolation intervals:i print_keyframes:b",
    ),
    # AnimateDiff-Evolved: schedules
    "ADE_PromptScheduling": ("prompts print_schedule:b max_length:i tensor_interp",),
    "ADE_PromptSchedulingLatents": ("prompts print_schedule:b tensor_interp",),
    "ADE_ValueScheduling": ("values print_schedule:b max_length:i",),
    "ADE_ValueSchedulingLatents": ("values print_schedule:b",),
    # FizzNodes
    "BatchPromptSchedule": (
        f"{_SCHEDULE} pw_a:f pw_b:f pw_c:f pw_d:f end_frame:i",
        "text max_frames:i print_output:b start_frame:i end_frame:i",
        "text max_frames:i pre_text app_text pw_a:f pw_b:f pw_c:f pw_d:f",
    ),
    "BatchPromptScheduleLatentInput": (
        "text print_output:b pre_text app_text start_frame:i pw_a:f pw_b:f pw_c:f pw_d:f end_frame:i",
        "text print_output:b start_frame:i end_frame:i",
    ),
    "PromptSchedule": (
        "text max_frames:i current_frame:i print_output:b pre_text app_text pw_a:f pw_b:f pw_c:f pw_d:f",
        "text max_frames:i current_frame:i pre_text app_text pw_a:f pw_b:f pw_c:f pw_d:f",
        "text max_frames:i print_output:b",
    ),
    "BatchValueSchedule": ("text max_frames:i print_output:b",),
    "BatchValueScheduleLatentInput": ("text print_output:b",),
    # Advanced-ControlNet
    "ControlNetLoaderAdvanced": ("control_net_name",),
    "ACN_ControlNetLoaderAdvanced": ("control_net_name",),
    "ACN_AdvancedControlNetApply": ("strength:f start_percent:f end_percent:f",),
    "ACN_AdvancedControlNetApply_v2": ("strength:f start_percent:f end_percent:f",),
    "TimestepKeyframe": (
        "start_percent:f strength:f null_latent_kf_strength:f inherit_missing:b guarantee_steps:i",
        "start_percent:f strength:f null_latent_kf_strength:f inherit_missing:b guarantee_usage:b",
    ),
    "LatentKeyframe": ("batch_index:i strength:f",),
    "LatentKeyframeGroup": ("index_strengths print_keyframes:b",),
    "LatentKeyframeTiming": (
        "batch_index_from:i batch_index_to_excl:i strength_from:f strength_to:f interpolation print_keyframes:b",
    ),
    "ScaledSoftControlNetWeights": (
        "base_multiplier:f flip_weights:b uncond_multiplier:f",
        "base_multiplier:f uncond_multiplier:f",
    ),
    "ACN_ScaledSoftControlNetWeights": ("base_multiplier:f uncond_multiplier:f",),
    "ACN_SparseCtrlLoaderAdvanced": (
        "sparsectrl_name use_motion:b motion_strength:f motion_scale:f context_aware sparse_hint_mult:f "
        "sparse_nonhint_mult:f sparse_mask_mult:f",
    ),
    "ACN_SparseCtrlIndexMethodNode": ("indexes",),
    "ACN_SparseCtrlSpreadMethodNode": ("spread",),
    "ControlNetApplyAdvanced": ("strength:f start_percent:f end_percent:f",),
    # ArtVentureX's AnimateDiff
    "AnimateDiffModuleLoader": ("model_name",),
    "AnimateDiffLoraLoader": ("lora_name alpha:f",),
    "AnimateDiffSampler": (f"inject_method frame_number:i seed:i * {_RUN} denoise:f",),
    "AnimateDiffSlidingWindowOptions": (
        "context_length:i context_stride:i context_overlap:i context_schedule closed_loop:b",
    ),
    "AnimateDiffCombine": (
        "frame_rate:i loop_count:i save_image:b filename_prefix format pingpong:b",
        "frame_rate:i loop_count:i save_image filename_prefix",
    ),
    # VideoHelperSuite, which keeps names in newer files
    "VHS_VideoCombine": ("frame_rate:f loop_count:i filename_prefix format pingpong:b save_output:b",),
    "VHS_LoadVideo": (
        "video force_rate:f force_size custom_width:i custom_height:i frame_load_cap:i skip_first_frames:i "
        "select_every_nth:i",
    ),
    "VHS_SelectEveryNthImage": ("select_every_nth:i skip_first_images:i",),
    # ComfyUI's own, whose values are read or changed
    "EmptyLatentImage": ("width:i height:i batch_size:i",),
    "KSampler": (f"seed:i * {_RUN} denoise:f", f"seed:i {_RUN} denoise:f"),
    "KSamplerAdvanced": (
        f"add_noise noise_seed:i * {_RUN} start_at_step:i end_at_step:i return_with_leftover_noise",
        f"add_noise noise_seed:i {_RUN} start_at_step:i end_at_step:i return_with_leftover_noise",
    ),
    "SamplerCustom": ("add_noise:b noise_seed:i * cfg:f",),
    "CFGGuider": ("cfg:f",),
    "KSampler (Efficient)": (f"seed:i * {_RUN} denoise:f preview_method vae_decode",),
    "KSampler Adv. (Efficient)": (
        f"add_noise noise_seed:i * {_RUN} start_at_step:i end_at_step:i return_with_leftover_noise preview_method "
        "vae_decode",
    ),
    "RandomNoise": ("noise_seed:i *", "noise_seed:i"),
    "LoadVideo": ("file *", "file"),
}


def name_values(kind: str, values: Any, sockets: Sequence[str] = ()) -> dict[str, Any]:
    """Return a node's values by name.

    Args:
        kind: class of the node.
        values: node's ``widgets_values``: a list in an order that ``VALUES`` knows, or an object that has names.
        sockets: names of the values that have a socket, in order.

    Returns:
        Values by name; of a node that is not known, those of an object alone.
    """
    named = as_object(values)
    if named is not None:
        return dict(named)
    given = as_array(values)
    if given is None or kind not in VALUES:
        return {}
    names = places(kind, given)
    if not names and len(sockets) == len(given):
        names = list(sockets)
    return {
        name: value for name, value in zip(names, given, strict=False) if name != "*" and value is not None
    }


def places(kind: str, values: list[Any]) -> list[str]:
    """Return the name of each value of a list; of a node whose values fit no line of ``VALUES``, none."""
    for line in VALUES.get(kind, ()):
        parts = [part.partition(":") for part in line.split()]
        if all(_fits(part[2], value, part[0]) for part, value in zip(parts, values, strict=False)):
            return [name for name, _, _ in parts]
    return []


def _fits(mark: str, value: Any, name: str) -> bool:
    if value is None or name == "*":
        return value is None or isinstance(value, str | bool)
    if mark == "b":
        return isinstance(value, bool)
    if mark in ("i", "f"):
        whole = isinstance(value, int | float) and not isinstance(value, bool)
        return whole and (mark == "f" or isinstance(value, int) or value.is_integer())
    return isinstance(value, str)
