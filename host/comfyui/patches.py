"""Our patches of ComfyUI's transformers and blocks: the one list that sampling, training and checks read.

Each part of an edit that acts through ``transformer_options`` has a file with its ``PATCHES``: ComfyUI's name of a
place, and the function there. A part that is named here acts wherever edits do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...models.edit import Edit
from ...models.errors import HostError
from . import attention, bias, gligen, observe, slots

Patches = dict[str, Any]
_ALL: tuple[Patches, ...] = (
    slots.PATCHES,
    attention.PATCHES,
    bias.PATCHES,
    observe.PATCHES,
    gligen.PATCHES,
)


def of_edit(edit: Edit) -> list[Patches]:
    """Return the patches that an edit acts through."""
    has_encoder = edit.temporal is not None and edit.temporal.motion.weights.size.mask_encoder
    wanted = (
        has_encoder,
        edit.cross_frame is not None,
        edit.bias is not None,
        edit.observe is not None or edit.guide is not None,
        edit.gligen is not None,
    )
    return [patches for patches, is_wanted in zip(_ALL, wanted, strict=True) if is_wanted]


def put_on(clone: Any, edit: Edit) -> None:
    """Give a clone the patches of an edit; it has each once."""
    present = clone.model_options["transformer_options"].get("patches", {})
    for place, patch in (each for patches in of_edit(edit) for each in patches.items()):
        if patch not in present.get(place, ()):
            clone.set_model_patch(patch, place)


def all_patches() -> dict[str, list[Any]]:
    """Return every patch of ours, as a model call's options have them; without an edit they change nothing."""
    found: dict[str, list[Any]] = {}
    for place, patch in (each for patches in _ALL for each in patches.items()):
        found.setdefault(place, []).append(patch)
    return found


def are_ours(place: str, patches: Sequence[Any]) -> bool:
    """Tell whether no patch of a place is another pack's."""
    ours = all_patches().get(place, [])
    return all(patch in ours for patch in patches)


def check_present(edits: Sequence[Edit], options: dict[str, Any]) -> None:
    """Check that a model call has the patches of all edits.

    Args:
        edits: of the model.
        options: ComfyUI's ``transformer_options`` of the call.

    Raises:
        HostError: one was taken out.
    """
    present = options.get("patches", {})
    for edit in edits:
        for place, patch in (each for patches in of_edit(edit) for each in patches.items()):
            if patch not in present.get(place, ()):
                raise HostError(
                    f"model: another pack's node took Frameloom's {place} of {edit.name} out of it; expected it to be "
                    "there; put that node before Frameloom's nodes, or take it out."
                )
