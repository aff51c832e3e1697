"""Places in ComfyUI's UNet where temporal layers run: behind which of its layers, and what is added to its stem.

ComfyUI's own patches do not reach all of these places in every version. So the layers carry torch's forward hooks, as
``hooks`` has them, and the containers that they lie in stay untouched: other packs put layers of theirs in there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .network import modules_in, sd1_size

KEY = "frameloom"


def hook(unet: Any, live: Callable[[], Any]) -> Iterator[RemovableHandle]:
    """Run the temporal slots of a UNet as a model call says, until the handles are removed.

    Args:
        unet: an SD1.x UNet.
        live: returns the model call that is on, with a method ``run_slot``; None: no call is.

    Yields:
        Handles of the hooks.
    """

    def run(name: str, _layer: nn.Module, _inputs: Any, hidden: Tensor) -> Tensor:
        call = live()
        return hidden if call is None else call.run_slot(name, hidden)

    for place, module in modules_in(unet, sd1_size(unet)):
        yield module.register_forward_hook(partial(run, place.slot))


def run_stem(hidden: Tensor, transformer_options: dict[str, Any]) -> Tensor:
    """Add what is given behind the UNet's first convolution; ComfyUI's ``input_block_patch``."""
    live = transformer_options.get(KEY)
    is_stem = transformer_options["block"] == ("input", 0)
    return live.run_stem(hidden) if is_stem and live is not None else hidden


PATCHES = {"input_block_patch": run_stem}


def layers_of(unet: Any) -> Iterator[nn.Module]:
    """Yield what lies in a UNet's blocks, in the order in which it runs."""
    for block in (*unet.input_blocks, unet.middle_block, *unet.output_blocks):
        yield from block.children()
