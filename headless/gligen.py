"""GLIGEN on diffusers' UNet: its weights, its place between attentions, and boxes as core's node hangs them on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..models.gligen import Change, Gligen, Grounding, check_boxes, read_gligen
from .guidance import Conditioning
from .loading import fill
from .shared_attention import attention_layers

# An entity's embedding [1, D], and its height, width, top and left in cells of the latents.
Box = tuple[Tensor, int, int, int, int]
CoreBoxes = tuple[str, Gligen, list[Box]]


@torch.inference_mode(False)  # weights made in inference mode could never be trained through
def load_gligen(path: Path, device: torch.device) -> Gligen:
    """Load a GLIGEN file.

    Args:
        path: ``.safetensors``, or a pickle of plain tensors.
        device: where to put it. Half precision on an accelerator, float32 on the CPU; the small network that reads
            boxes is always float32.

    Raises:
        CheckpointError: it is not such a file.
    """
    network, state = read_gligen(path)
    fill(path.name, network, state, device, torch.float32 if device.type == "cpu" else torch.float16)
    network.position_net.float()
    return network


def transformer_blocks(unet: nn.Module) -> list[Any]:
    """Return the block of each transformer of a UNet, in the order in which they run."""
    return [unet.get_submodule(name.rpartition(".")[0]) for name, *_ in attention_layers(unet, "attn2")]


def transformer_widths(unet: nn.Module) -> list[int]:
    """Return the width of each, as ``models.gligen.check_fit`` compares it."""
    return [block.norm2.normalized_shape[0] for block in transformer_blocks(unet)]


@contextmanager
def between_attentions(unet: nn.Module, find: Callable[[], Change | None]) -> Iterator[None]:
    """Change tokens between self- and cross-attention while the context lasts.

    Cross-attention reads changed tokens through the norm before it; what it adds to the plain ones gets the change too.

    Args:
        unet: diffusers'.
        find: returns what acts in the model call that is on; None: nothing.
    """
    with ExitStack() as hooks:
        for number, block in enumerate(transformer_blocks(unet)):
            before, after = _hooks(number, find)
            hooks.callback(block.norm2.register_forward_pre_hook(before).remove)
            hooks.callback(block.attn2.register_forward_hook(after).remove)
        yield


def _hooks(number: int, find: Callable[[], Change | None]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    difference: list[Tensor] = []

    def before(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        change = find()
        if change is None:
            return None
        changed = change(inputs[0], number)
        difference.append(changed - inputs[0])
        return (changed,)

    def after(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor | None:
        return output + difference.pop() if difference else None

    return before, after


def ground_still(boxes: Sequence[Box], shape: torch.Size) -> Grounding:
    """Return core's boxes as a grounding of a clip that stands still.

    Args:
        boxes: of one picture.
        shape: of the noisy latents, [F, C, H, W].

    Raises:
        ValueError: there are more than 30.
    """
    frames, _, height, width = shape
    corners = torch.tensor([
        (x / width, y / height, (x + w) / width, (y + h) / height) for _, h, w, y, x in boxes
    ]).reshape(-1, 4)  # fmt: skip
    present = torch.ones(frames, len(boxes), dtype=torch.bool)
    return Grounding(
        corners.expand(frames, -1, -1), present, torch.cat([embedding for embedding, *_ in boxes])
    )


def share_boxes(
    sides: Mapping[str, Conditioning | None], *, has_edit: bool
) -> dict[str, Conditioning | None]:
    """Give other sides the boxes of the positive one where they have none, as ComfyUI does.

    Args:
        sides: as ``Guidance.sides``.
        has_edit: the model has an edit with GLIGEN.

    Raises:
        ValueError: boxes are of a kind that ComfyUI does not know, or two would act.
    """
    for side in sides.values():
        for _, options in side or ():
            if options.get("gligen") is not None:
                check_boxes(options["gligen"][0], has_edit=has_edit)
    first = "positive" if "positive" in sides else "cond1"
    boxes = [options["gligen"] for _, options in sides[first] or () if options.get("gligen") is not None]
    shared = dict(sides)
    for name, side in sides.items():
        if name == first or not side or any(options.get("gligen") is not None for _, options in side):
            continue
        given = dict.fromkeys(range(len(side)))
        given |= {index % len(side): each for index, each in enumerate(boxes)}
        shared[name] = [
            [tokens, {**options, "gligen": given[place]}] for place, (tokens, options) in enumerate(side)
        ]
    return shared
