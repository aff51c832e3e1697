"""What a MODEL carries of ours: its edits, and the networks that run beside its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from ...models.edits.edit import Edit
from .load.motion import ComfyMotion
from .seams.live import KEY


def installed(model: Any) -> tuple[Edit, ...]:
    """Return the edits a model has, in their order."""
    return model.get_attachment(KEY) or ()


def loaded(model: Any) -> tuple[Edit, ...]:
    """Return the edits a model has, with their networks as ComfyUI loads them with it."""
    return hand_out(
        installed(model), [patcher.model for patcher in model.get_additional_models_with_key(KEY)]
    )


def hand_out(edits: Sequence[Edit], networks: Sequence[nn.Module]) -> tuple[Edit, ...]:
    """Return edits with networks in place of their own, in the order of both."""
    rest = iter(networks)
    return tuple(edit.with_networks([next(rest) for _ in edit.networks]) for edit in edits)


def with_modules(edit: Edit) -> Edit:
    """Return an edit with the modules of its networks in place of ComfyUI's handles on them."""
    return edit.with_networks([_patcher(network).model for network in edit.networks])


def add_networks(clone: Any, edit: Edit) -> None:
    """Have ComfyUI load the networks of an edit with a clone.

    Two clones of one patcher are one network. So a motion module that the model has already, perhaps with other LoRAs,
    gets a network of its own.
    """
    patchers = list(clone.get_additional_models_with_key(KEY))
    for network in edit.networks:
        if isinstance(network, ComfyMotion) and any(network.patcher.is_clone(other) for other in patchers):
            network = network.separate()
        patchers.append(_patcher(network))
    if patchers:
        clone.set_additional_models(KEY, patchers)


def _patcher(network: Any) -> Any:
    return network.patcher if isinstance(network, ComfyMotion) else network
