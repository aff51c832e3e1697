"""A model call in parts of its frames: each is a call of the UNet of its own, as if the clip were shorter.

Patches of other packs see the whole clip, as ours do, so that those which count pictures find what they expect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import comfy.model_management
import torch
from torch import Tensor

from ...models.edits.edit import Chunks
from ...models.edits.lockstep import Cut, InPart, Lockstep
from .load.motion import attention_of
from .seams import guide, hooks, patches
from .seams.live import Live

_ROOM = 1.5  # ComfyUI asks conditions together where its estimate fits this often into what is free


def find_cut(chunks: Chunks | None, model: Any, noisy: Tensor, frames: int) -> Cut:
    """Return how a batch is cut; in one part, it is not.

    Args:
        chunks: part that says how many frames go at once; None: as many as there is room for, by core's estimate.
        model: ComfyUI's model that is asked.
        noisy: [N, C, H, W]. Batch of the call.
        frames: frames of each of its videos.
    """

    def fits(pictures: int) -> bool:
        return model.memory_required([pictures, *noisy.shape[1:]]) * _ROOM < _free(noisy.device)

    return Cut.of(len(noisy), frames, chunks, fits)


def find_told(chunks: Chunks | None, patcher: Any, shape: Sequence[int]) -> int:
    """Return for how many frames core is to make room when it loads a model.

    Where that is automatic, as many as the device would hold beside all weights, were nothing else on it: frames can
    go in chunks at no cost, and weights that have no place are slow.

    Args:
        chunks: part that says how many frames go at once; None: it is automatic.
        patcher: model that core loads.
        shape: [F, C, H, W]. Shape of the clip's latents.
    """
    room = _total(patcher.load_device) - patcher.model_size()

    def fits(pictures: int) -> bool:
        return patcher.model.memory_required([pictures, *shape[1:]]) < room

    return Cut.of(shape[0], shape[0], chunks, fits).at_once


def _free(device: torch.device) -> float:
    return comfy.model_management.get_free_memory(device)


def _total(device: torch.device) -> float:
    return comfy.model_management.get_total_memory(device)


def ask_in_parts(
    ask: Callable[[guide.Inputs, Live], Tensor], given: guide.Inputs, live: Live, cut: Cut
) -> Tensor:
    """Return what the UNet answers about a batch, asked in parts.

    Args:
        ask: function that asks the UNet.
        given: arguments of the whole batch.
        live: call of the whole batch.
        cut: parts of the batch.
    """
    step = Lockstep(cut)
    part = Live(InPart(live.active, step), live.unet, live.size)
    options = {**given.options, **_on_whole(given, step)}

    def ask_part(share: list[Any]) -> Tensor:
        noisy, timesteps, context, rest = share
        return ask(guide.Inputs(noisy, timesteps, context, rest, options), part)

    with hooks.at_work(part), attention_of(given.options):
        return step.run(ask_part, [given.noisy, given.timesteps, given.context, given.rest])


def _on_whole(given: guide.Inputs, step: Lockstep) -> dict[str, Any]:
    """Return other packs' patches and replacements, which see whole batches."""
    options, batch = given.options, len(given.noisy)

    def whole(patch: Callable[..., Any]) -> Callable[..., Any]:
        def asked(*args: Any) -> Any:
            is_named = isinstance(args[0], dict)  # middle_block_after_patch has one argument, of named ones
            given: dict[Any, Any] = dict(args[0]) if is_named else dict(enumerate(args))
            mine = {name: value for name, value in given.items() if isinstance(value, Tensor)}

            def work(*tensors: Tensor) -> Any:
                told = {
                    name: _resized(value, batch) if isinstance(value, dict) else value
                    for name, value in (given | dict(zip(mine, tensors, strict=True))).items()
                }
                return patch(told) if is_named else patch(*told.values())

            return step.meet(work, *mine.values())

        return asked

    kept = {
        place: [patch if patches.are_ours(place, [patch]) else whole(patch) for patch in each]
        for place, each in options.get("patches", {}).items()
    }
    replaced = {
        name: {block: whole(patch) for block, patch in blocks.items()}
        for name, blocks in options.get("patches_replace", {}).items()
    }
    return {"patches": kept, "patches_replace": replaced}


def _resized(options: dict[str, Any], batch: int) -> dict[str, Any]:
    """Return a patch's options as they are in a call of the whole batch."""
    shapes = {
        name: [batch, *options[name][1:]]
        for name in ("original_shape", "activations_shape")
        if name in options
    }
    return {**options, **shapes}
