"""GLIGEN with boxes for each frame in ComfyUI's UNet: a ``middle_patch`` that calls the layers core's loader made.

Core's own way, ``gligen`` on a condition, has one set of boxes for all frames, and is left to core.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ...models.gligen import Gligen, GligenEdit, check_fit
from .network import sd1_size
from .slots import KEY

MODELS_KEY = f"{KEY}.gligen"


def between(tokens: Tensor, extra_options: dict[str, Any]) -> Tensor:
    """Ground the tokens of a transformer, [N, L, C], as the model call says; ComfyUI's ``middle_patch``."""
    live = extra_options.get(KEY)
    if live is None or live.ground is None:
        return tokens
    return live.ground(tokens, extra_options["transformer_index"])


PATCHES = {"middle_patch": between}


def put_on(clone: Any, edit: GligenEdit) -> GligenEdit:
    """Give a model the layers, in the place of an earlier edit's; returns the edit with its network.

    Args:
        clone: a MODEL.
        edit: its ``network`` is what core's GLIGENLoader returned.

    Raises:
        ValueError: the model is not an SD1.x UNet.
        CheckpointError: the layers do not fit it.
    """
    unet, patcher = clone.model.diffusion_model, edit.network
    check_fit(patcher.model, [place.width for place in sd1_size(unet).places if place.depth])
    clone.set_additional_models(MODELS_KEY, [patcher])
    return replace(edit, network=patcher.model)


def to_train_through(edit: GligenEdit, device: torch.device) -> GligenEdit:
    """Return an edit with layers of its own in float32, for gradients: of ComfyUI's, only the numbers are taken.

    Dynamic VRAM keeps native handles on those, which must not be copied.
    """
    theirs: Any = edit.network
    widths = [layer.norm1.normalized_shape[0] for layer in theirs.module_list]
    own = Gligen(widths, theirs.module_list[0].linear.in_features, theirs.position_net.in_dim)
    own.load_state_dict(theirs.state_dict())
    return replace(edit, network=own.to(device).requires_grad_(False))
