"""GLIGEN with boxes for each frame in ComfyUI's UNet: a ``middle_patch`` that calls the layers core's loader made.

Core's own way, ``gligen`` on a condition, has one set of boxes for all frames, and is left to core.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy.ldm.modules.attention import SpatialTransformer
from torch import Tensor

from ...models.gligen import GligenEdit, check_fit
from . import slots
from .slots import KEY


class GligenPatch:
    """What a model's transformers call between their attentions."""

    def __init__(self, patcher: Any) -> None:
        """Take what core's GLIGENLoader returned."""
        self._patcher = patcher

    def __call__(self, tokens: Tensor, extra_options: dict[str, Any]) -> Tensor:
        """Ground the tokens of a transformer, [N, L, C], as the model call says."""
        live = extra_options.get(KEY)
        if live is None or live.ground is None:
            return tokens
        return live.ground(tokens, extra_options["transformer_index"])

    def models(self) -> list[Any]:
        """Return what ComfyUI has to load with the model."""
        return [self._patcher]


def put_on(clone: Any, edit: GligenEdit) -> GligenEdit:
    """Give a model the patch, in the place of an earlier edit's; returns the edit with its network.

    Raises:
        ValueError: the model is not an SD1.x UNet.
        CheckpointError: the layers do not fit it.
    """
    unet, patcher = clone.model.diffusion_model, edit.network
    slots.find_places(unet)
    blocks = (*unet.input_blocks, unet.middle_block, *unet.output_blocks)
    transformers: list[Any] = [
        child for block in blocks for child in block.children() if isinstance(child, SpatialTransformer)
    ]
    widths = [each.transformer_blocks[0].norm2.normalized_shape[0] for each in transformers]
    check_fit(patcher.model, widths)
    patches = clone.model_options["transformer_options"].setdefault("patches", {})
    others = [patch for patch in patches.get("middle_patch", []) if not isinstance(patch, GligenPatch)]
    patches["middle_patch"] = others
    clone.set_model_patch(GligenPatch(patcher), "middle_patch")
    return replace(edit, network=patcher.model)
