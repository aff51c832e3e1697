"""What a technique may change in a frozen Stable Diffusion UNet, and what it is told on every call.

A technique is an ``Edit``. A host installs edits on a clone of its model and makes one ``Call`` for every model call.
Techniques read the call; they never read a host's options, store a frame count, or assume how many conditions share a
batch. Edits compose in the order they were installed.

A part is added here when a technique needs it, with a contract test on both hosts.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from torch import Tensor

from .frames import count_videos
from .mask_adapter import join_given
from .schedules import BetaSchedule

if TYPE_CHECKING:
    from .cross_frame import CrossFrameEdit
    from .energy import BoxEnergy
    from .free_init import NoiseReinit
    from .free_noise import NoiseShuffle, WindowFusion
    from .gligen import GligenEdit
    from .windows import WindowPlan

_Condition = TypeVar("_Condition")
Given = tuple[Tensor, Tensor]
"""Clean latents in the model's own scale, [N, 4, H, W], and a mask of them, [N, 1, H, W], 1 where they are given."""

PAYLOAD = "frameloom"  # key of a condition under which a payload of ours rides with it


@dataclass(frozen=True, slots=True)
class Condition:
    """Which condition a chunk of the batch belongs to.

    Attributes:
        index: 0 for positive, 1 for negative, as the host numbers them; nothing may depend on the order of chunks.
        payload: what was attached to the condition under the key ``PAYLOAD``.
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
        size: height and width of the latents.
        is_part: the call sees some frames of a longer clip (a window).
        given: what is known of the whole clip's frames, [videos * length, 5, H, W] as ``mask_adapter.join_given``;
            None: nothing.
    """

    frames: int
    videos: int
    conditions: tuple[Condition, ...]
    frame_ids: tuple[int, ...]
    sigma: float
    progress: float
    size: tuple[int, int]
    is_part: bool = False
    given: Tensor | None = field(default=None, repr=False, compare=False)


def training_call(noisy: Tensor, frames: int, given: Given | None = None) -> Call:
    """Return the call of a training forward: one condition, whole clips, progress 0.

    Args:
        noisy: [B*F, C, H, W]. Its batch.
        frames: frames per video.
        given: clean latents [B*F, 4, H, W] and a mask [B*F, 1, H, W] of them, 1 where a mask adapter is told.

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
        given=None if given is None else join_given(*given),
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
        """Levels of the UNet in which it looks, as ``network.unet.UNetSize`` counts them."""
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


class AttentionBias(Protocol):
    """Adds to the logits of cross-attention."""

    def bias(self, call: Call, level: int, tokens: int) -> Tensor | None:
        """Return what to add in the layers of a level: [N, L, S] float, N pictures as ``call`` says; None: nothing.

        Args:
            call: the model call.
            level: of the UNet, as ``network.unet.UNetSize`` counts them.
            tokens: S, of the prompts in the batch.
        """
        ...


class Composition(Protocol):
    """Asks the model several things in a condition's place, and makes one prediction of the answers."""

    def variants(
        self, payload: Mapping[str, Any], progress: float
    ) -> Sequence[tuple[Tensor, dict[str, Any]]]:
        """Return the tokens, [1, S, D], and the payload of each; none: the condition itself is asked.

        Args:
            payload: of the condition.
            progress: as ``Call.progress``.
        """
        ...

    def compose(
        self, payload: Mapping[str, Any], answers: Sequence[Tensor], frame_ids: Sequence[int], progress: float
    ) -> Tensor:
        """Return the prediction, [F, C, H, W], from those of the variants in their order.

        Args:
            payload: of the condition.
            answers: [F, C, H, W] each, clean latents.
            frame_ids: absolute number of each frame.
            progress: as ``Call.progress``.
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
        bias: adds to the logits of cross-attention; those of several edits add up.
        compose: makes a prediction of several; the last edit's counts.
        gligen: changes tokens between self- and cross-attention; the last edit's counts.
        guide: moves predictions by the gradient of an energy of cross-attention; the last edit's counts.
        windows: asks about a long clip in windows of frames; the last edit's counts.
        noise: arranges what a run starts from; the last edit's counts.
        fusion: lets motion modules attend within windows of the frames they are given; the last edit's counts.
        reinit: samples a clip several times; the last edit's counts.
    """

    name: str
    temporal: TemporalEdit | None = None
    schedule: BetaSchedule | None = None
    cross_frame: CrossFrameEdit | None = None
    observe: AttentionObserver | None = None
    bias: AttentionBias | None = None
    compose: Composition | None = None
    gligen: GligenEdit | None = None
    guide: BoxEnergy | None = None
    windows: WindowPlan | None = None
    noise: NoiseShuffle | None = None
    fusion: WindowFusion | None = None
    reinit: NoiseReinit | None = None


def check_composed(composed: Sequence[_Condition]) -> _Condition | None:
    """Return the condition of one side that is asked as several, or None.

    Raises:
        ValueError: there are two, and what they change can't be told apart in their average.
    """
    if len(composed) > 1:
        raise ValueError(
            f"conditioning: got {len(composed)} conditions with a layout combined into one; expected one, and others "
            "without; put all entities into one scene, or set Layout Conditioning's method to bias."
        )
    return composed[0] if composed else None


class CallBias:
    """What the edits add to cross-attention in one model call, worked out once for each level."""

    def __init__(self, call: Call, parts: Sequence[AttentionBias]) -> None:
        self._call, self._parts = call, tuple(parts)
        self._made: dict[Any, Tensor | None] = {}

    def at(self, level: int, query: Tensor, tokens: int) -> Tensor | None:
        """Return the bias of a layer, [N, L, S] of the query's kind; None: there is none.

        Args:
            level: of the UNet.
            query: the layer's, [N, L, ...].
            tokens: S.

        Raises:
            ValueError: the layer's places are not those of the latents at its level.
        """
        key = (level, tokens, query.dtype, query.device)
        if key not in self._made:
            made = [one for part in self._parts if (one := part.bias(self._call, level, tokens)) is not None]
            self._made[key] = sum(made[1:], made[0]).to(query) if made else None
        bias = self._made[key]
        if bias is not None and bias.shape[1] != query.shape[1]:
            raise ValueError(
                f"cross-attention at level {level} has {query.shape[1]} places; expected {bias.shape[1]} for latents "
                f"of {self._call.size[0]} x {self._call.size[1]}; take nodes that resize features, and areas of "
                "conditions, out of the graph."
            )
        return bias
