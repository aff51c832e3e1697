"""Put an edit on a clone of a ComfyUI model, through its wrappers, patches and additional models alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.patcher_extension import WrappersMP

from ...models.edits.edit import Edit
from ...models.network.family import check_offered
from . import run, video_run
from .installed import add_networks, installed, with_modules
from .load.family import family_of
from .seams import patches, schedule, windows
from .seams.live import KEY
from .seams.network import size_of

_WRAPPERS = (
    (WrappersMP.OUTER_SAMPLE, run.outer_sample),
    (WrappersMP.PREPARE_SAMPLING, run.prepare_sampling),
    (WrappersMP.SAMPLER_SAMPLE, run.sampler_sample),
    (WrappersMP.PREDICT_NOISE, run.predict_noise),
    (WrappersMP.CALC_COND_BATCH, run.calc_in_pictures),
    (WrappersMP.CALC_COND_BATCH, run.calc_cond_batch),
    (WrappersMP.DIFFUSION_MODEL, run.diffusion_model),
)


def install(model: Any, edit: Edit) -> Any:
    """Return a clone of a model with an edit added behind those it has.

    Args:
        model: a MODEL.
        edit: edit to add.

    Returns:
        A clone; the model itself, and the network they share, stay as they are until the clone samples.

    Raises:
        ValueError: the model's family can't take the edit.
        CheckpointError: a network of the edit does not fit the model.
        HostError: the model's schedule can't be replaced.
    """
    family = family_of(model)
    check_offered(family, dict(edit.parts()), edit.name)
    if family.law is not None:
        return _install_on_video(model, edit)
    size = size_of(model.model.diffusion_model)
    if size is not None:
        for part in with_modules(edit).own_parts():
            part.check_fit(size)
    clone = model.clone()
    add_networks(clone, edit)
    patches.put_on(clone, edit)
    if edit.schedule is not None:
        schedule.put_on(clone, edit.schedule)
    if edit.windows is not None:
        windows.put_on(clone, edit.windows)
    clone.set_attachments(KEY, (*installed(model), edit))
    is_unet = isinstance(clone.model.diffusion_model, UNetModel)
    # Of others, each network has arguments of its own.
    _wrap(clone, [each for each in _WRAPPERS if is_unet or each[0] != WrappersMP.DIFFUSION_MODEL])
    return clone


def _install_on_video(model: Any, edit: Edit) -> Any:
    clone = model.clone()
    if edit.windows is not None:
        windows.put_on(clone, edit.windows)
    clone.set_attachments(KEY, (*installed(model), edit))
    if edit.cross_attention is not None:
        _wrap(clone, video_run.WRAPPERS)
    return clone


def _wrap(clone: Any, wrappers: Sequence[tuple[str, Any]]) -> None:
    """Give a clone our wrappers, each once."""
    for kind in dict(wrappers):
        clone.remove_wrappers_with_key(kind, KEY)
    for kind, wrapper in wrappers:
        clone.add_wrapper_with_key(kind, KEY, wrapper)
