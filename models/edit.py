"""What a technique may change in a frozen Stable Diffusion UNet, and what it is told on every call.

A technique is an ``Edit``. A host installs edits on a clone of its model and makes one ``Call`` for every model call.
Techniques read the call; they never read a host's options, store a frame count, or assume how many conditions share a
batch. Edits compose in the order they were installed.

A part is added here when a technique needs it, with a contract test on both hosts.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from .frames import count_videos
from .schedules import BetaSchedule

if TYPE_CHECKING:
    from .cross_frame import CrossFrameEdit

# Temporal slots of SD1.x, in the order the UNet runs them. Names are AnimateDiff's, and so are the places: after the
# spatial transformer of a block if it has one, else after its residual block, always before an upsampler.
TEMPORAL_SLOTS: tuple[str, ...] = (
    *(f"down_blocks.{level}.motion_modules.{index}" for level in range(4) for index in range(2)),
    "mid_block.motion_modules.0",
    *(f"up_blocks.{level}.motion_modules.{index}" for level in range(4) for index in range(3)),
)


@dataclass(frozen=True, slots=True)
class Condition:
    """Which condition a chunk of the batch belongs to.

    Attributes:
        index: 0 for positive, 1 for negative, as the host numbers them; nothing may depend on the order of chunks.
        payload: what was attached to the condition under the key ``"frameloom"``.
        key: tells the conditions of a run apart, also several of one index.
    """

    index: int
    payload: Mapping[str, Any] = field(default_factory=dict)
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
        progress: 0 at the first timestep of training's schedule, 1 at the last; ``1 - timestep / 999``.
        is_part: the call sees some frames of a longer clip (a window).
    """

    frames: int
    videos: int
    conditions: tuple[Condition, ...]
    frame_ids: tuple[int, ...]
    sigma: float
    progress: float
    is_part: bool = False


def training_call(batch: int, frames: int) -> Call:
    """Return the call of a training forward: one condition, whole clips, progress 0.

    Args:
        batch: pictures in it, B*F.
        frames: frames per video.

    Raises:
        ValueError: the batch is not a multiple of frames.
    """
    return Call(
        frames=frames,
        videos=count_videos(batch, frames),
        conditions=(Condition(0),),
        frame_ids=tuple(range(frames)),
        sigma=0.0,
        progress=0.0,
    )


@dataclass(frozen=True, slots=True)
class TemporalEdit:
    """Run a motion module after the UNet's temporal slots.

    Attributes:
        motion: what the host's ``load_motion`` returned.
        strength: of the module's change: ``x + strength * (module(x) - x)``. 0 leaves the model bit-identical.
        start_percent, end_percent: part of sampling in which it acts, compared with ``Call.progress``.
    """

    motion: Any
    strength: float = 1.0
    start_percent: float = 0.0
    end_percent: float = 1.0

    def strength_at(self, call: Call) -> float:
        """Return the strength for one call: 0 outside the active part, and for a single frame."""
        active = self.start_percent <= call.progress <= self.end_percent
        return self.strength if active and call.frames > 1 else 0.0


class AttentionObserver(Protocol):
    """Sees what cross-attention reads in every model call, and changes nothing."""

    @property
    def levels(self) -> frozenset[int]:
        """Levels of the UNet in which it looks, as in ``cross_frame.LEVELS``."""
        ...

    def see(self, query: Tensor, key: Tensor, call: Call, level: int) -> None:
        """Take note of one layer.

        Args:
            query: [N, heads, L, D], N pictures as ``call`` says, L places of the layer's grid row by row.
            key: [N, heads, S, D], or one row for every so many pictures that follow each other; S tokens of the prompt.
            call: the model call.
            level: the layer's.
        """
        ...


@dataclass(frozen=True, slots=True)
class Edit:
    """A technique, as the parts of the UNet's work that it changes.

    Attributes:
        name: says in errors whose edit it is.
        temporal: a motion module.
        schedule: the beta schedule to sample with; prediction type stays the model's.
        cross_frame: self-attention that reads other frames.
        observe: looks at cross-attention; predictions stay bit-identical.
    """

    name: str
    temporal: TemporalEdit | None = None
    schedule: BetaSchedule | None = None
    cross_frame: CrossFrameEdit | None = None
    observe: AttentionObserver | None = None
