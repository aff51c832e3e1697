"""Places in ComfyUI's UNet where temporal layers run: markers without weights, put in and taken out by its injections.

A marker is a child of a block's ``Sequential`` that ComfyUI hands to ``run_slot``. It has no parameters, and existing
children keep their names, so state dicts, LoRA keys and loaders never see it. A marker that is left in a model by
another clone does nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock
from comfy.patcher_extension import PatcherInjection
from torch import Tensor, nn

from ...models.edit import TEMPORAL_SLOTS

KEY = "frameloom"
MARKER = "frameloom_slot"


class Slot(nn.Module):
    """A marker: says which slot runs here."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, hidden: Tensor) -> Tensor:
        """Change nothing; ``run_slot`` is called in its stead when a run is on."""
        return hidden


class Place(NamedTuple):
    """Where a slot lies: after the child ``after`` of ``block``; ``channels`` wide."""

    block: nn.Sequential
    after: str
    channels: int


def run_slot(
    layer: Slot,
    hidden: Tensor,
    emb: Tensor,
    context: Tensor,
    transformer_options: dict[str, Any],
    *_: Any,
) -> Tensor:
    """Run a slot; ComfyUI's ``forward_timestep_embed_patch``."""
    live = transformer_options.get(KEY)
    return hidden if live is None else live.run_slot(layer.name, hidden, transformer_options)


def run_stem(hidden: Tensor, transformer_options: dict[str, Any]) -> Tensor:
    """Add what is given behind the UNet's first convolution; ComfyUI's ``input_block_patch``."""
    live = transformer_options.get(KEY)
    is_stem = transformer_options["block"] == ("input", 0)
    return live.run_stem(hidden) if is_stem and live is not None else hidden


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


def injection() -> PatcherInjection:
    """Return ComfyUI's handle that puts markers in and takes them out.

    ComfyUI may call either twice, or on a module that another clone left as it is; both bear that.
    """
    return PatcherInjection(
        inject=lambda patcher: put_in(patcher.model.diffusion_model),
        eject=lambda patcher: take_out(patcher.model.diffusion_model),
    )


def put_in(unet: Any) -> None:
    """Put a marker in each slot's place, once."""
    take_out(unet)
    for name, place in find_places(unet).items():
        insert_after(place.block, place.after, MARKER, Slot(name))


def take_out(unet: Any) -> None:
    """Take all markers out."""
    for block in (*unet.input_blocks, unet.middle_block, *unet.output_blocks):
        remove(block, lambda child: isinstance(child, Slot))


def are_in(unet: Any) -> bool:
    """Tell whether every slot has its marker."""
    return all(MARKER in place.block._modules for place in find_places(unet).values())


def insert_after(block: nn.Sequential, after: str, name: str, module: nn.Module) -> None:
    """Put a child behind another. A ``Sequential`` runs in the order of its dict, whatever the names."""
    children = list(block._modules.items())
    block._modules.clear()
    for key, child in children:
        block._modules[key] = child
        if key == after:
            block._modules[name] = module


def remove(block: nn.Sequential, doomed: Callable[[nn.Module | None], bool]) -> None:
    """Take out the children that ``doomed`` says."""
    for key in [key for key, child in block._modules.items() if doomed(child)]:
        del block._modules[key]


def _has(block: nn.Module, kind: type[nn.Module]) -> bool:
    return any(isinstance(child, kind) for child in block.children())


def _place(block: nn.Sequential) -> Place:
    """After the spatial transformer of a block if it has one, else after its first residual block."""
    named = [(key, child) for key, child in block._modules.items() if re.fullmatch(r"\d+", key)]
    residual: Any = next((key, child) for key, child in named if isinstance(child, ResBlock))
    attention = [key for key, child in named if isinstance(child, SpatialTransformer)]
    return Place(block, attention[-1] if attention else residual[0], residual[1].out_channels)
