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

LATENTS = "latents"  # key of a payload: number of latent frames that a condition of a model of video is laid out over


@dataclass(frozen=True, slots=True)
class Plan:
    """A sampling run before it begins."""

    frames: int  # frames of the clip
    timesteps: tuple[float, ...] = ()  # timestep of training, 0 to 999, at which each step begins
    sampler: str | None = None  # ComfyUI's name of the sampler; None: it has none
    cfg: float | None = None  # guidance; None: it is more than one number
    size: tuple[int, int] | None = None  # height and width of the latents; None: not known
    together: int | None = None  # frames that temporal layers see at once; None: all of them


@dataclass(frozen=True, slots=True)
class Condition:
    """Which condition a chunk of the batch belongs to; nothing may depend on the order of chunks."""

    index: int  # 0 for positive, 1 for negative, as the host numbers them
    payload: Mapping[str, Any] = field(default_factory=dict[str, Any])  # value under its key ``PAYLOAD``
    key: Hashable = None  # name that tells the conditions of a run apart, also several of one index


@dataclass(frozen=True, slots=True)
class Call:
    """One model call, as the host made it. The batch is ``len(conditions)`` chunks of ``videos * frames`` pictures."""

    frames: int  # frames of a video in this call (a window's, under windows)
    videos: int  # clips in each chunk
    conditions: tuple[Condition, ...]  # the chunks, in batch order
    frame_ids: tuple[int, ...]  # absolute number of each frame
    sigma: float  # noise level, in the host's variance-exploding units
    progress: float  # part of training's schedule that is done, 0 to 1: ``1 - timestep / 999``
    size: tuple[int, int]  # height and width of the latents
    is_part: bool = False  # True where the call sees some frames of a longer clip (a window)
    held: Held | None = field(default=None, repr=False, compare=False)  # whole clips, not windows of them
    # What parts remember of the calls of a run, by part; of this call alone where a host hands over no other.
    memory: dict[Hashable, Any] = field(default_factory=dict[Hashable, Any], repr=False, compare=False)
    parts: int = (
        1  # parts of some frames each in which the network's own layers are asked: a slot may do as they do
    )


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
    """Return a layer's grid, if there are as many places, tokens of a picture, as it has cells.

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
    """Return the call of a training forward on latents, [B*F, C, H, W]: one condition, whole clips, progress 0.

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
    """Return what a run holds: its clean latents where its mask, [F, 1 or 4, H, W], is 0; nothing without a mask."""
    return None if mask is None else (latents, 1 - mask[:, :1])
