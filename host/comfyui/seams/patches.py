"""Our patches of ComfyUI's transformers and blocks: the one table that sampling, training and checks read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ....models.edits.edit import Edit
from ....models.errors import HostError
from . import between, cross_attention, input, merge, observe, self_attention, skips
from .live import KEY, Live

# What acts through patches, by the seam. A guide looks at cross-attention, in calls of its own.
_SEAMS: dict[str, Any] = {
    "input": input,
    "skips": skips,
    "self_attention": self_attention,
    "merge": merge,
    "between": between,
    "cross_attention": cross_attention,
    "observe": observe,
    "guide": observe,
}
_MODULES = tuple(dict.fromkeys(_SEAMS.values()))


def of_edit(edit: Edit) -> Iterator[tuple[str, Any]]:
    """Yield the places that an edit acts through, as ComfyUI calls them, with our patch there."""
    for seam, _ in edit.parts():
        if seam in _SEAMS:
            yield from _SEAMS[seam].PATCHES.items()


def put_on(clone: Any, edit: Edit) -> None:
    """Give a clone the patches of an edit; it has each once."""
    for place, patch in of_edit(edit):
        if patch not in clone.model_options["transformer_options"].get("patches", {}).get(place, ()):
            clone.set_model_patch(patch, place)


def all_patches() -> dict[str, list[Any]]:
    """Return every patch of ours, as a model call's options have them; without an edit they change nothing."""
    found: dict[str, list[Any]] = {}
    for seam in _MODULES:
        for place, patch in seam.PATCHES.items():
            found.setdefault(place, []).append(patch)
    return found


def tell(live: Live, options: dict[str, Any]) -> dict[str, Any]:
    """Return a model call's options, ComfyUI's ``transformer_options``, with what our patches read in them."""
    told = {**options, KEY: live}
    for seam in _MODULES:
        if hasattr(seam, "begin"):
            told |= seam.begin(live, options)
    return told


def are_ours(place: str, patches: Sequence[Any]) -> bool:
    """Tell whether no patch of a place is another pack's."""
    ours = all_patches().get(place, [])
    return all(patch in ours for patch in patches)


def check_present(edits: Sequence[Edit], options: dict[str, Any]) -> None:
    """Check that a model call has the patches of all edits.

    Args:
        edits: edits of the model.
        options: ComfyUI's ``transformer_options`` of the call.

    Raises:
        HostError: one was taken out.
    """
    present = options.get("patches", {})
    for edit in edits:
        for place, patch in of_edit(edit):
            if patch not in present.get(place, ()):
                raise HostError(
                    f"model: another pack's node took Frameloom's {place} of {edit.name} out of it; expected it to be "
                    "there; put that node before Frameloom's nodes, or take it out."
                )
