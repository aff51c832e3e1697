"""Places in ComfyUI's UNet where temporal layers run: behind which of its layers, and what is added to its stem.

ComfyUI's own patches do not reach all of these places in every version. So the layers carry torch's forward hooks, as
``hooks`` has them, and the containers that they lie in stay untouched: other packs put layers of theirs in there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ...models.edit import TEMPORAL_SLOTS

KEY = "frameloom"


class Place(NamedTuple):
    """Where a slot lies: behind ``layer``, whose output is ``channels`` wide."""

    layer: nn.Module
    channels: int


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

    for name, place in find_places(unet).items():
        yield place.layer.register_forward_hook(partial(run, name))


def run_stem(hidden: Tensor, transformer_options: dict[str, Any]) -> Tensor:
    """Add what is given behind the UNet's first convolution; ComfyUI's ``input_block_patch``."""
    live = transformer_options.get(KEY)
    is_stem = transformer_options["block"] == ("input", 0)
    return live.run_stem(hidden) if is_stem and live is not None else hidden


PATCHES = {"input_block_patch": run_stem}


def find_places(unet: Any) -> dict[str, Place]:
    """Return where each temporal slot of a UNet lies.

    Raises:
        ValueError: the model is not an SD1.x UNet.
    """
    try:
        down = [_place(block) for block in unet.input_blocks[1:] if _has(block, ResBlock)]
        middle = _place(unet.middle_block)
        up = [_place(block) for block in unet.output_blocks if _has(block, ResBlock)]
    except AttributeError:
        down, middle, up = [], None, []
    places = [*down, *([] if middle is None else [middle]), *up]
    if len(down) != 8 or len(up) != 12 or len(places) != len(TEMPORAL_SLOTS):
        raise ValueError(
            f"model: got {type(unet).__name__} with {len(down)} blocks down and {len(up)} up; expected an SD1.x UNet "
            "with 8 and 12; load an SD1.5 checkpoint or the demo model."
        )
    return dict(zip(TEMPORAL_SLOTS, places, strict=True))


def layers_of(unet: Any) -> Iterator[nn.Module]:
    """Yield what lies in a UNet's blocks, in the order in which it runs."""
    for block in (*unet.input_blocks, unet.middle_block, *unet.output_blocks):
        yield from block.children()


def _has(block: nn.Module, kind: type[nn.Module]) -> bool:
    return any(isinstance(child, kind) for child in block.children())


def _place(block: nn.Module) -> Place:
    """After the spatial transformer of a block if it has one, else after its first residual block."""
    residual: Any = next(child for child in block.children() if isinstance(child, ResBlock))
    transformers = [child for child in block.children() if isinstance(child, SpatialTransformer)]
    return Place(transformers[-1] if transformers else residual, residual.out_channels)
