"""Put an edit on a clone of a ComfyUI model, through its wrappers, patches and additional models alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.patcher_extension import WrappersMP

from ...models.edit import Edit, TemporalEdit
from ...models.family import check_edit
from ...models.motion_checkpoint import check_fit
from . import gligen, patches, run, schedule, windows
from .family import family_of
from .motion import ComfyMotion
from .network import sd1_size
from .slots import KEY

_WRAPPERS = (
    (WrappersMP.OUTER_SAMPLE, run.outer_sample),
    (WrappersMP.SAMPLER_SAMPLE, run.sampler_sample),
    (WrappersMP.PREDICT_NOISE, run.predict_noise),
    (WrappersMP.CALC_COND_BATCH, run.calc_cond_batch),
    (WrappersMP.DIFFUSION_MODEL, run.diffusion_model),
)


def install(model: Any, edit: Edit) -> Any:
    """Return a clone of a model with an edit added behind those it has.

    Args:
        model: a MODEL.
        edit: what to add.

    Returns:
        A clone; the model itself, and the network they share, stay as they are until the clone samples.

    Raises:
        ValueError: the model's family can't take the edit.
        CheckpointError: a motion module, or GLIGEN, does not fit the model.
        HostError: the model's schedule can't be replaced.
    """
    check_edit(family_of(model), edit)
    clone = model.clone()
    if edit.temporal is not None:
        edit = replace(edit, temporal=_add_motion(clone, edit.temporal))
    if edit.gligen is not None:
        edit = replace(edit, gligen=gligen.put_on(clone, edit.gligen))
    patches.put_on(clone, edit)
    if edit.schedule is not None:
        sampling = schedule.reschedule(clone, edit.schedule)
        clone.add_object_patch("model_sampling", sampling)
        clone.set_attachments(run.SCHEDULE_KEY, sampling.sigmas.clone())
    if edit.windows is not None:
        windows.put_on(clone, edit.windows)
    clone.set_attachments(KEY, (*installed(model), edit))
    is_unet = isinstance(clone.model.diffusion_model, UNetModel)
    for kind, wrapper in _WRAPPERS:
        clone.remove_wrappers_with_key(kind, KEY)
        if is_unet or kind != WrappersMP.DIFFUSION_MODEL:  # of others, each has arguments of its own
            clone.add_wrapper_with_key(kind, KEY, wrapper)
    return clone


def installed(model: Any) -> tuple[Edit, ...]:
    """Return the edits a model has, in their order."""
    return model.get_attachment(KEY) or ()


def _add_motion(clone: Any, temporal: TemporalEdit) -> TemporalEdit:
    """Add a motion module to a clone; returns the edit with the module that is used."""
    motion: ComfyMotion = temporal.motion
    check_fit(motion.weights, sd1_size(clone.model.diffusion_model).slots)
    present = clone.get_additional_models_with_key(KEY)
    if any(motion.patcher.is_clone(other) for other in present):
        motion = motion.separate()
    clone.set_additional_models(KEY, [*present, motion.patcher])
    return replace(temporal, motion=motion)
