"""Cross-attention whose logits are added to, as a mask of ComfyUI's own attention functions.

Three official points work together. The ``attn2`` patch says that a layer's cross-attention comes next; the override of
attention in the model call's options, which ComfyUI asks for every attention, gives it the bias as a mask and calls the
override it found; the ``attn2`` output patch sees to it that this happened. So other packs' patches, replacements and
overrides stay, and a replacement that leaves the bias out is named. SageAttention takes masks and forgets them: ComfyUI
is told not to use it for a layer with a bias, and of an override that attends by itself the answer is not taken.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor
from torch.nn import functional

from ....models.errors import HostError
from .live import KEY, Live

BIASED = f"{KEY}.bias"
OVERRIDE = "optimized_attention_override"
MASK_PLACE = (
    4  # place of the mask among the arguments of ComfyUI's attention functions, behind q, k, v and heads
)


def announce(
    query: Tensor, key: Tensor, value: Tensor, extra_options: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """Make a layer's bias ready; ComfyUI's ``attn2_patch``."""
    biased = extra_options.get(BIASED)
    if biased is not None:
        live, biased.block = biased.live, extra_options["block"]
        biased.ready = live.active.bias(live.layer(extra_options), query, key.shape[1])
    return query, key, value


def confirm(output: Tensor, extra_options: dict[str, Any]) -> Tensor:
    """Check that a layer took its bias; ComfyUI's ``attn2_output_patch``.

    Raises:
        HostError: the layer's cross-attention did without it.
    """
    biased = extra_options.get(BIASED)
    if biased is not None and biased.ready is not None:
        raise HostError(
            f"layout: cross-attention of block {biased.block} was replaced by a node that does not go through "
            "ComfyUI's attention options; expected it to; take that node (IPAdapter, say) out of the model, or "
            "set Layout Conditioning's strength to 0."
        )
    return output


PATCHES = {"attn2_patch": announce, "attn2_output_patch": confirm}


def begin(live: Live, options: dict[str, Any]) -> dict[str, Any]:
    """Return what a model call's options need: its biases, and the override that gives them to layers."""
    if not live.active.acts_at("cross_attention"):
        return {}
    biased = Biased(live, options.get(OVERRIDE))
    return {BIASED: biased, OVERRIDE: biased.attend}


class Biased:
    """The biases of one model call.

    Attributes:
        live: the call.
        block: block whose cross-attention comes next.
        ready: bias of that layer, until it is taken.
    """

    def __init__(self, live: Live, earlier: Any) -> None:
        """Take the call, and the override that others may have put in its options."""
        self.live, self._earlier = live, earlier
        self.block: tuple[str, int] = ("", 0)
        self.ready: Tensor | None = None

    def attend(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Attend, with the bias where one is ready; ComfyUI's override of attention."""
        bias, self.ready = self.ready, None
        if bias is None:
            ask = function if self._earlier is None else partial(self._earlier, function)
            return ask(*args, **kwargs)
        bias = functional.pad(bias, (0, args[1].shape[-2] - bias.shape[-1]))  # tokens that others added
        return attend_with(bias, self._earlier, function, args, kwargs)


def attend_with(
    bias: Tensor, earlier: Any, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Attend with a bias on top of the mask that is given.

    Args:
        bias: summand of the logits, as ComfyUI's functions take masks.
        earlier: override that others put in the options; None: there is none. Its answer is taken if it asks for
            ``function`` with a mask.
        function: ComfyUI's function that attends.
        args: arguments of it by their place.
        kwargs: arguments of it by name.
    """
    mask = args[MASK_PLACE] if len(args) > MASK_PLACE else kwargs.pop("mask", None)
    mask = bias if mask is None else bias + mask
    args = (*args[:MASK_PLACE], mask, *args[MASK_PLACE + 1 :]) if len(args) >= MASK_PLACE else args
    kwargs = {
        **kwargs,
        "low_precision_attention": False,
        **({} if len(args) > MASK_PLACE else {"mask": mask}),
    }
    asked = False

    def note(*args: Any, **kwargs: Any) -> Any:
        nonlocal asked
        asked = (args[MASK_PLACE] if len(args) > MASK_PLACE else kwargs.get("mask")) is not None
        return function(*args, **kwargs)

    if earlier is not None:
        answer = earlier(note, *args, **kwargs)
        if asked:
            return answer
    return function(*args, **kwargs)
