"""What edits are told of each call of a network."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from ..video.frames import count_videos

Held = tuple[Tensor, Tensor]
"""Clean latents in the model's own scale, [N, 4, H, W], and a mask of them, [N, 1, H, W], 1 where they are held."""

PAYLOAD = "frameloom"  # key of a condition under which a payload of ours rides with it


@dataclass(frozen=True, slots=True)
class Condition:
    """Which condition a chunk of the batch belongs to.

    Attributes:
        index: 0 for positive, 1 for negative, as the host numbers them; nothing may depend on the order of chunks.
        payload: value that was attached to the condition under the key ``PAYLOAD``.
        key: name that tells the conditions of a run apart, also several of one index.
    """

    index: int
    payload: Mapping[str, Any] = field(default_factory=dict[str, Any])
    key: Hashable = None


@dataclass(frozen=True, slots=True)
class Call:
    """One model call, as the host made it. The batch is ``len(conditions)`` chunks of ``videos * frames`` pictures.

    Attributes:
        frames: frames per video in this call (a window's, under windows).
        videos: clips folded into each chunk.
        conditions: the chunks, in batch order.
        frame_ids: absolute index of each frame, ``frames`` long.
        sigma: noise level, in the host's variance-exploding units.
        progress: part of training's schedule that is done, 0 to 1: ``1 - timestep / 999``.
        size: height and width of the latents.
        is_part: True where the call sees some frames of a longer clip (a window).
        held: clean latents of the whole clip, N = videos * its length, and where they are held; None: nothing is.
        parts: number of parts, of some frames each, in which the network's own layers are asked: a part that holds
            much at once may do as they do.
    """

    frames: int
    videos: int
    conditions: tuple[Condition, ...]
    frame_ids: tuple[int, ...]
    sigma: float
    progress: float
    size: tuple[int, int]
    is_part: bool = False
    held: Held | None = field(default=None, repr=False, compare=False)
    parts: int = 1


class Layer(Protocol):
    """A transformer block of a network, as ``network`` says it."""

    @property
    def number(self) -> int:
        """Number of its transformer, from 0 in the order in which the network runs them."""
        ...

    @property
    def depth(self) -> int:
        """Number of the block in its transformer."""
        ...

    @property
    def level(self) -> int:
        """Level of its grid: 0 is the finest, and the only one where a network keeps its grid."""
        ...

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of its tokens for latents of a size."""
        ...


def check_places(call: Call, layer: Layer, places: int) -> tuple[int, int]:
    """Return a layer's grid, if it has a token for each cell of it.

    Args:
        call: model call that the layer is in.
        layer: layer that has cross-attention.
        places: tokens that it has for a picture.

    Raises:
        ValueError: it has others.
    """
    height, width = layer.grid(call.size)
    if places != height * width:
        raise ValueError(
            f"cross-attention at level {layer.level} has {places} places; expected {height} x {width} for latents of "
            f"{call.size[0]} x {call.size[1]}; take nodes that resize features, and areas of conditions, out of the "
            "graph."
        )
    return height, width


def training_call(noisy: Tensor, frames: int, held: Held | None = None) -> Call:
    """Return the call of a training forward: one condition, whole clips, progress 0.

    Args:
        noisy: [B*F, C, H, W]. Latents of the batch.
        frames: frames per video.
        held: frames that the call is told of, such as the clips' ends: N = B*F.

    Raises:
        ValueError: the batch is not a multiple of frames.
    """
    return Call(
        frames=frames,
        videos=count_videos(noisy.shape[0], frames),
        conditions=(Condition(0),),
        frame_ids=tuple(range(frames)),
        sigma=0.0,
        progress=0.0,
        size=(noisy.shape[-2], noisy.shape[-1]),
        held=held,
    )


def held_by_mask(latents: Tensor, mask: Tensor | None) -> Held | None:
    """Return what a sampling run holds: the latents where its mask does not generate.

    Args:
        latents: [F, 4, H, W]. Start of the run, clean, in the model's own scale.
        mask: [F, 1 or 4, H, W]. 1 where to generate; None: everywhere, so nothing is held.
    """
    return None if mask is None else (latents, 1 - mask[:, :1])
