"""A motion module as an edit: its layers in the temporal slots, its encoders behind the first convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from ..edits.call import Call, Plan
from ..edits.edit import Edit, Part, Schedule, Time, TokenMerge
from ..network.unet import UNetSize
from ..video.curve import Easing, frame_curve
from ..video.factors import Factors
from . import trained_clips
from .checkpoint import check_fit
from .few_steps import find_few_steps
from .lora import loras_in_slot
from .mask_adapter import given_in
from .mixing import Mixing

STILL = (
    "Apply Motion Module: got a latent of 1 frame, which is sampled as a still, without the motion module; expected "
    "the frames of a clip; set batch_size of Empty Latent Image to their number (16 for most motion modules)."
)

NO_PICTURE = (
    "{name} is made to animate a picture; got none; expected one, without which it makes a video of the prompt alone; "
    "put {node} between Load Motion Module and Apply Motion Module."
)

ROWS_IN_PARTS = 4
"""Rows that a slot works out at a time in a call of parts; with 4 it needs less than a part of the network's layers."""


@dataclass(frozen=True, eq=False)
class Varying:
    """A motion module's strength where it changes, and how sharply it attends.

    Attributes:
        factors: factors on what it adds.
        scale: factor on the logits of its attention over time, for all frames or by frame that is looked at: less looks
            at more frames.
    """

    factors: Factors
    scale: float | Factors = 1.0


def read_scale(scale: float, frames: int, by_frame: str, between: Easing) -> float | Factors:
    """Return a ``Varying``'s scale: a number, times factors by frame that ``curve.frame_curve`` reads.

    Raises:
        ValueError: the text is something else, or has a factor below 0.
    """
    factors = frame_curve("scale_by_frame", by_frame, frames, between)
    if (factors < 0).any():
        raise ValueError(
            f"scale_by_frame: got {float(factors.min()):g}; expected 0 or more, since it is a factor on logits; raise "
            "it."
        )
    return scale if bool((factors == 1).all()) else Factors(scale * factors, {0.0: 1.0})


@dataclass(frozen=True, slots=True)
class AtOnce:
    """Frames that go through the network at once.

    Attributes:
        frames: most of them, at least 1.
    """

    frames: int


def motion_edit(
    name: str, motion: Any, schedule: Schedule | None = None, frames_at_once: int = 0, **settings: float
) -> Edit:
    """Return the edit of a motion module.

    Args:
        name: name of the edit.
        motion: module that the host's ``load_motion`` returned, or a ``training.Learner``.
        schedule: the beta schedule to sample with; None: the model's own.
        frames_at_once: most frames that go through the network's own layers at once; 0: as the host finds room.
        settings: ``strength``, ``start_percent`` and ``end_percent`` of ``TemporalEdit``.
    """
    part = TemporalEdit(motion, **settings)
    varying, picture = getattr(motion, "varying", None), getattr(motion, "picture", None)
    camera = getattr(motion, "camera", None)
    if camera is not None:
        part = CameraMotionEdit(motion, **settings, varying=varying, picture=picture, camera=camera)
    elif picture is not None:
        part = PictureEdit(motion, **settings, varying=varying, picture=picture)
    elif varying is not None:
        part = VaryingEdit(motion, **settings, varying=varying)
    return Edit(
        name,
        schedule=schedule,
        chunks=AtOnce(frames_at_once) if frames_at_once else None,
        slots=part,
        input=part if motion.weights.size.mask_encoder or picture is not None else None,
    )


@dataclass(frozen=True, slots=True)
class TemporalEdit(Part):
    """Run a motion module in the temporal slots.

    Attributes:
        motion: module that the host's ``load_motion`` returned, or a ``training.Learner``.
        strength: factor on the module's change: ``x + strength * (module(x) - x)``. 0 leaves the model bit-identical.
        start_percent, end_percent: part of sampling in which it acts, compared with ``Call.progress``.
        network: ``MotionModel`` that runs in the place of the module's own; None: the module's.
    """

    motion: Any
    strength: float = 1.0
    start_percent: float = 0.0
    end_percent: float = 1.0
    network: Any = field(default=None, compare=False)

    def acts(self, call: Call) -> bool:
        """Tell whether it acts: within its part of sampling, and on more than a single frame."""
        return (
            self.strength != 0 and self.start_percent <= call.progress <= self.end_percent and call.frames > 1
        )

    @property
    def slots(self) -> Sequence[str]:
        """Names of the slots it has."""
        return self._running.slots

    @property
    def over_clip(self) -> bool:
        """Whether it was trained with the UNet's residual norms over whole clips (AnimateDiff v1)."""
        return self.motion.weights.clip_norm

    @property
    def networks(self) -> tuple[Any, ...]:
        """The module, or the network that runs in its place."""
        return (self.motion if self.network is None else self.network,)

    def with_networks(self, networks: Sequence[Any]) -> TemporalEdit:
        """Return the same edit that runs another network."""
        (network,) = networks
        return replace(self, network=network)

    def run(
        self, slot: str, hidden: Tensor, call: Call, time: Time | None, merges: Sequence[TokenMerge] = ()
    ) -> Tensor:
        """Run a slot, [N, C, H, W] to the same."""
        rows = ROWS_IN_PARTS if call.parts > 1 else 0
        loras = loras_in_slot(getattr(self.motion, "loras", ()), self._running, slot, hidden, call)
        mixing = Mixing(time, self.scale_of(hidden, call), merges, loras, self.views_of(call))
        return self._running(slot, hidden, call.frames, self.strength_of(hidden, call), mixing, rows)

    def strength_of(self, hidden: Tensor, call: Call) -> float | Tensor:
        """Return the factor on the module's change of [N, C, H, W], or factors by picture and place."""
        del hidden, call
        return self.strength

    def add(self, hidden: Tensor, call: Call) -> Tensor:
        """Add what the mask encoder makes of what is held to [N, C, H, W]."""
        held = given_in(call) if self.motion.weights.size.mask_encoder else None
        return hidden if held is None else self._running.mask_encoder(hidden, held, self.strength)

    def views_of(self, call: Call) -> Tensor | None:
        """Return the numbers of each video's cameras, [B, F, 12]; None: it has none."""
        del call

    def check_fit(self, network: UNetSize) -> None:
        """Check that the module is for a network."""
        check_fit(self.motion.weights, network.slots)

    def note(self, plan: Plan) -> str | None:
        """Say that a single frame is drawn without it, that it lacks a picture, or that a run does not fit it."""
        if plan.frames == 1:
            return STILL
        size = self.motion.weights.size
        if (size.picture_encoder or size.image_encoder) and getattr(self, "picture", None) is None:
            node = "PIA Picture" if size.picture_encoder else "AnimateLCM Picture"
            return NO_PICTURE.format(name=self.motion.weights.name, node=node)
        name, settings = find_few_steps(self.motion)
        said = None if settings is None else settings.misfit(name, plan)
        return said or trained_clips.misfit(self.motion.weights.name, self.motion.weights.family, plan)

    def scale_of(self, hidden: Tensor, call: Call) -> float | Tensor:
        """Return the factor on the logits of its attention, or factors by frame that is looked at, [F]."""
        del hidden, call
        return 1.0

    @property
    def _running(self) -> Any:
        return self.motion.network if self.network is None else self.network


@dataclass(frozen=True, slots=True)
class VaryingEdit(TemporalEdit):
    """Run a motion module whose strength changes; a mask encoder's does not.

    Attributes:
        varying: strengths, in proportion to ``strength``; None: it stays.
    """

    varying: Any = None

    def strength_of(self, hidden: Tensor, call: Call) -> float | Tensor:
        """Return factors by picture and place, [N, 1, H or 1, W or 1]."""
        if self.varying is None:
            return self.strength
        factors = self.strength * self.varying.factors.at(call.frame_ids, call.progress, hidden.shape[-2:])
        return factors.to(hidden).repeat(len(hidden) // call.frames, 1, 1, 1)

    def scale_of(self, hidden: Tensor, call: Call) -> float | Tensor:
        """Return the factor on the logits of its attention, or factors by frame that is looked at, [F]."""
        scale = 1.0 if self.varying is None else self.varying.scale
        if not isinstance(scale, Factors):
            return scale
        return scale.at(call.frame_ids, call.progress, hidden.shape[-2:]).flatten().to(hidden)


@dataclass(frozen=True, slots=True)
class PictureEdit(VaryingEdit):
    """Run a motion module that is given a picture.

    Attributes:
        picture: a ``pictures.Picture``, or none; what it adds is in proportion to the module's strength.
    """

    picture: Any = None

    def add(self, hidden: Tensor, call: Call) -> Tensor:
        """Add what is made of what is held, and of the picture, to [N, C, H, W]."""
        hidden = VaryingEdit.add(self, hidden, call)
        change = None if self.picture is None else self.picture.begin(hidden, call, self._running)
        return hidden if change is None else hidden + self.strength_of(hidden, call) * change

    def run(
        self, slot: str, hidden: Tensor, call: Call, time: Time | None, merges: Sequence[TokenMerge] = ()
    ) -> Tensor:
        """Run a slot, [N, C, H, W] to the same, on what the picture is added to."""
        change = None if self.picture is None else self.picture.enter(slot, hidden, call, self._running)
        if change is None:
            return VaryingEdit.run(self, slot, hidden, call, time, merges)
        moved = VaryingEdit.run(self, slot, hidden + change, call, time, merges)
        return moved + (self.strength_of(hidden, call) - 1) * change


@dataclass(frozen=True, slots=True)
class CameraMotionEdit(PictureEdit):
    """Run a motion module that reads a camera.

    Attributes:
        camera: a ``motion_ctrl.ModuleCamera``.
    """

    camera: Any = None

    def views_of(self, call: Call) -> Tensor | None:
        """Return the numbers of each video's cameras, [B, F, 12]."""
        return self.camera.views(call)
