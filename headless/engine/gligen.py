"""GLIGEN on diffusers' UNet: its weights, and boxes as core's node hangs them on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ...models.layout.gligen import Gligen, Grounding, check_boxes, read_gligen
from ..weights.device import weight_dtype
from ..weights.loading import fill
from .guidance import Conditioning

# An entity's embedding [1, D], and its height, width, top and left in cells of the latents.
Box = tuple[Tensor, int, int, int, int]
CoreBoxes = tuple[str, Gligen, list[Box]]


@torch.inference_mode(False)  # weights made in inference mode could never be trained through
def load_gligen(path: Path, device: torch.device) -> Gligen:
    """Load a GLIGEN file.

    Args:
        path: ``.safetensors``, or a pickle of plain tensors.
        device: device to put it on. Half precision on an accelerator, float32 on the CPU; the small network that reads
            boxes is always float32.

    Raises:
        CheckpointError: it is not such a file.
    """
    network, state = read_gligen(path)
    fill(network, state.items(), device, weight_dtype(device))
    network.position_net.float()
    return network


def ground_still(boxes: Sequence[Box], shape: torch.Size) -> Grounding:
    """Return core's boxes as a grounding of a clip that stands still.

    Args:
        boxes: boxes of one picture.
        shape: shape of the noisy latents, [F, C, H, W].

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
    sides: Mapping[str, Conditioning | None],
) -> dict[str, Conditioning | None]:
    """Give other sides the boxes of the positive one where they have none, as ComfyUI does.

    Args:
        sides: conditions by name, as ``Guidance.sides``.

    Raises:
        ValueError: boxes are of a kind that ComfyUI does not know.
    """
    for side in sides.values():
        for _, options in side or ():
            if options.get("gligen") is not None:
                check_boxes(options["gligen"][0])
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
