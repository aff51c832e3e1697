"""The seams of a frozen network: what of its work an edit may change, and the methods of what changes it.

A technique is an ``Edit``: a part for each seam that it changes. Parts speak of clips and of one model call at a time,
read the ``Call``, and never a host's options. Their arguments are said here, once for all. How several edits compose
is ``active``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Protocol

from einops import repeat
from torch import Tensor

from ..network.unet import UNetSize
from .call import Call, Layer

if TYPE_CHECKING:
    from .run import Once, Start

Change = Callable[[Tensor, int], Tensor]
"""Tokens of a transformer, [N, L, C], and its number in the network's order; to such tokens."""


class Part:
    """What the part of any seam may say beside that seam's methods; these answers are for one that says nothing.

    A class attribute ``KEY`` says what stands for it in keys of finished work, as ``keys.plain`` has it.
    """

    __slots__ = ()

    def acts(self, call: Call) -> bool:
        """Tell whether it changes anything in a model call; where it does not, the call is bit-identical without it."""
        del call
        return True

    @property
    def networks(self) -> tuple[Any, ...]:
        """Networks that run beside the model: as the host loaded them, or as ``with_networks`` was given them."""
        return ()

    def with_networks(self, networks: Sequence[Any]) -> Part:
        """Return the same part with other networks in place of its own, in their order."""
        del networks
        return self

    def check_fit(self, network: UNetSize) -> None:
        """Check that it goes with a network.

        Raises:
            CheckpointError: it was made for another one.
        """

    def check(self, edits: Sequence[Edit], conditions: Sequence[Mapping[str, Any]]) -> None:
        """Check, before a run, that nothing is there that it can't work beside.

        Args:
            edits: edits on the model, itself among them.
            conditions: options of every condition of the run.

        Raises:
            ValueError: something is.
        """

    def note(self, frames: int) -> str | None:
        """Return what to tell the user about sampling a clip of so many frames; None: nothing."""
        del frames


class Schedule(Protocol):
    """Noise levels to sample with; what the model predicts stays as it is."""

    @property
    def name(self) -> str:
        """Name of the schedule, as ComfyUI has it."""
        ...

    def betas(self) -> Tensor:
        """Return the variance that each timestep of training adds, [1000] float64."""
        ...


class Noise(Protocol):
    """What a run starts from."""

    def arrange(self, noise: Tensor) -> Tensor:
        """Return a clip's start noise, [F, C, H, W], made of other start noise of one video, from frame 0."""
        ...


class Run(Protocol):
    """One sampling run, or several in its place."""

    def sample(self, once: Once, start: Start, sigmas: Tensor) -> Tensor:
        """Return a clip, [F, C, H, W].

        Args:
            once: function that samples once.
            start: noise and latents that a plain run begins with.
            sigmas: [steps + 1], descending, of a plain run.
        """
        ...


class Windows(Protocol):
    """Windows of frames in which a long clip is asked about."""

    @property
    def length(self) -> int:
        """Frames of a window."""
        ...

    @property
    def overlap(self) -> int:
        """Frames that windows which follow each other have in common."""
        ...

    def is_needed(self, frames: int) -> bool:
        """Tell whether a clip is asked about in windows."""
        ...

    def windows(self, frames: int, step: int) -> Sequence[tuple[int, ...]]:
        """Return the windows of a step: absolute numbers of their frames, none twice in one."""
        ...

    def weigh(self, window: tuple[int, ...], frames: int) -> list[float]:
        """Return what each frame of a window counts, more than 0."""
        ...


class Conditions(Protocol):
    """Several questions in a condition's place, and one prediction of the answers."""

    def variants(
        self, payload: Mapping[str, Any], progress: float
    ) -> Sequence[tuple[Tensor, dict[str, Any]]]:
        """Return tokens, [1, S, D], and payload of each question; none: the condition itself is asked.

        Args:
            payload: payload of the condition.
            progress: part of sampling that is done, as ``Call.progress``.
        """
        ...

    def compose(
        self, payload: Mapping[str, Any], answers: Sequence[Tensor], frame_ids: Sequence[int], progress: float
    ) -> Tensor:
        """Return one prediction, [F, C, H, W].

        Args:
            payload: payload of the condition.
            answers: [F, C, H, W] each, clean latents: one for each question, in their order.
            frame_ids: absolute number of each frame.
            progress: part of sampling that is done, as ``Call.progress``.
        """
        ...

    def crowded(self, count: int) -> str:
        """Return the error where so many conditions of one side would be asked as several."""
        ...


class Guide(Protocol):
    """An energy of cross-attention, by whose gradient predictions move."""

    @property
    def levels(self) -> frozenset[int]:
        """Levels of the network whose layers' energies are averaged."""
        ...

    def guided(self, call: Call) -> tuple[int, ...]:
        """Return the numbers of the call's conditions that are guided."""
        ...

    def energy(self, query: Tensor, key: Tensor, call: Call, layer: Layer) -> Tensor:
        """Return a layer's energy, [], summed over frames.

        Args:
            query: [F, heads, L, D].
            key: [F or 1, heads, S, D].
            call: model call of one condition, which is guided, and one clip.
            layer: layer whose attention it is.
        """
        ...

    def shift(self, gradient: Tensor, sigma: float) -> Tensor:
        """Return how far clean latents move, in the model's units, [F, C, H, W].

        Args:
            gradient: [F, C, H, W]. Slope of the energy by the input of the network.
            sigma: noise level.
        """
        ...


class Input(Protocol):
    """What is added behind the network's first convolution."""

    def add(self, hidden: Tensor, call: Call) -> Tensor:
        """Return what goes on from the first convolution, [N, C, H, W], N pictures as ``call`` says."""
        ...


class Slots(Protocol):
    """Layers that run in a network's temporal slots."""

    @property
    def slots(self) -> Sequence[str]:
        """Names of the slots that it runs in."""
        ...

    @property
    def over_clip(self) -> bool:
        """Whether it wants the network's residual norms taken over all frames of a clip."""
        ...

    def run(self, slot: str, hidden: Tensor, call: Call, time: Time | None) -> Tensor:
        """Return what goes on from a slot, [N, C, H, W].

        Args:
            slot: name of the slot.
            hidden: [N, C, H, W]. Features that come in, N pictures as ``call`` says.
            call: model call.
            time: way of attention over frames; None: over all of them.
        """
        ...


class Skips(Protocol):
    """What meets where a UNet's way up takes in what its way down has made."""

    def join(self, hidden: Tensor, skip: Tensor, call: Call, factor: int) -> tuple[Tensor, Tensor]:
        """Return both as a block of the way up takes them, side by side.

        Args:
            hidden: features of the way up, [N, C, H, W], N pictures as ``call`` says.
            skip: features of the way down, [N, D, H, W].
            call: the model call.
            factor: C over the width of the network's finest level.
        """
        ...


class Time(Protocol):
    """How attention over time goes over the frames of a clip."""

    @property
    def length(self) -> int:
        """Frames that are attended to at once."""
        ...

    def is_needed(self, frames: int) -> bool:
        """Tell whether a clip is longer than that; else attention goes over all of it."""
        ...

    def fuse(self, tokens: Tensor, attend: Callable[[slice], Tensor]) -> Tensor:
        """Return one answer, [N, F, C], of those of attention to parts of a clip.

        Args:
            tokens: [N, F, C] float. Features of a clip; this reads shape, dtype and device alone.
            attend: function of frames that follow each other to [N, length, C].
        """
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """What a layer of self-attention reads in place of its own tokens.

    Attributes:
        tokens: [B, S, C]. One row for all frames of a video, or [B*F, S, C], one a frame.
        is_shared: True where one row is for all frames.
    """

    tokens: Tensor
    is_shared: bool

    def per_frame(self, frames: int) -> Tensor:
        """Return [B*F, S, C], a view where rows are shared."""
        return repeat(self.tokens, "b s c -> (b f) s c", f=frames) if self.is_shared else self.tokens


class SelfAttention(Protocol):
    """What self-attention reads in place of its own tokens."""

    @property
    def levels(self) -> frozenset[int]:
        """Levels of the network in which it acts."""
        ...

    @property
    def in_control(self) -> bool:
        """Whether it acts inside ControlNets too."""
        ...

    def memory(self) -> Any:
        """Return what it remembers of a network's layers between the calls of a run: nothing yet."""
        ...

    def read(self, tokens: Tensor, call: Call, memory: Any, layer: Hashable) -> Source:
        """Return the tokens that a layer's keys and values come from.

        Args:
            tokens: [B*F*R, L, C]. Tokens of the layer; R > 1 where another pack has cut each picture into tiles.
            call: model call.
            memory: value of ``memory``, of this run and network.
            layer: layer that reads, a ``Layer``.
        """
        ...


class Between(Protocol):
    """What changes tokens between self-attention and cross-attention."""

    def change(self, call: Call) -> Change | None:
        """Return what it does in a model call; None: nothing."""
        ...


class CrossAttention(Protocol):
    """What is added to the logits of cross-attention."""

    def bias(self, call: Call, layer: Layer, tokens: int) -> Tensor | None:
        """Return what is added to all layers of a layer's level, [N, L, S] float; None: nothing.

        Args:
            call: model call, of N pictures.
            layer: one layer of the level, of L places.
            tokens: S, number of the prompts' tokens in the batch.
        """
        ...


class Observer(Protocol):
    """Sees what cross-attention reads in every model call, and changes nothing."""

    @property
    def levels(self) -> frozenset[int]:
        """Levels of the network in which it looks."""
        ...

    def see(self, query: Tensor, key: Tensor, call: Call, layer: Layer) -> None:
        """Take note of one layer.

        Args:
            query: [N, heads, L, D], N pictures as ``call`` says, L places of the layer's grid row by row.
            key: [N, heads, S, D]. S tokens of the prompt: one row for each picture, or for every so many in a row.
            call: model call.
            layer: layer whose attention it is.
        """
        ...


@dataclass(frozen=True, slots=True)
class Edit:
    """A technique, as what it does at each seam; None: nothing.

    Attributes:
        name: name of the technique, for errors.
        schedule: noise levels to sample with.
        noise: start noise of a run.
        run: one sampling run, or several.
        windows: windows in which a long clip is asked about.
        conditions: several questions in a condition's place.
        guide: an energy by whose gradient predictions move.
        input: summand behind the first convolution.
        slots: layers in the temporal slots.
        skips: tensors that meet where the way up takes in the way down.
        time: way of attention in slots over frames.
        self_attention: tokens that self-attention reads.
        between: change of tokens between both attentions.
        cross_attention: summand of logits of cross-attention.
        observe: observer of cross-attention.
    """

    name: str
    schedule: Schedule | None = None
    noise: Noise | None = None
    run: Run | None = None
    windows: Windows | None = None
    conditions: Conditions | None = None
    guide: Guide | None = None
    input: Input | None = None
    slots: Slots | None = None
    skips: Skips | None = None
    time: Time | None = None
    self_attention: SelfAttention | None = None
    between: Between | None = None
    cross_attention: CrossAttention | None = None
    observe: Observer | None = None

    def parts(self) -> Iterator[tuple[str, Any]]:
        """Yield the seams that it changes, each with its part."""
        for seam in SEAMS:
            if (part := getattr(self, seam)) is not None:
                yield seam, part

    def own_parts(self) -> list[Part]:
        """Return its parts that say more than their seam's methods, each once: one may be at several seams."""
        return list({id(part): part for _, part in self.parts() if isinstance(part, Part)}.values())

    @property
    def networks(self) -> tuple[Any, ...]:
        """Networks that run beside the model, in the order of its parts."""
        return tuple(network for part in self.own_parts() for network in part.networks)

    def with_networks(self, networks: Sequence[Any]) -> Edit:
        """Return the same edit with other networks in place of its own, in the order of ``networks``."""
        rest = list(networks)
        made: dict[int, Part] = {}
        for part in self.own_parts():
            count = len(part.networks)
            made[id(part)], rest = part.with_networks(rest[:count]) if count else part, rest[count:]
        return replace(self, **{seam: made.get(id(part), part) for seam, part in self.parts()})

    def for_key(self) -> dict[str, Any]:
        """Return what stands for it in keys of finished work: for good, whatever seams are called here."""
        known = {name: getattr(self, seam) for name, seam in _IN_KEYS.items()}
        later = {
            seam: part
            for seam, part in self.parts()
            if seam not in _IN_KEYS.values() and part is not self.slots
        }
        return {"type": "Edit", "name": self.name, **known, **later}


SEAMS: tuple[str, ...] = tuple(field.name for field in fields(Edit) if field.name != "name")

# What the seams of the first finished works are called in their keys, where those without a part stand too.
_IN_KEYS = {
    "temporal": "slots",
    "schedule": "schedule",
    "cross_frame": "self_attention",
    "observe": "observe",
    "bias": "cross_attention",
    "compose": "conditions",
    "gligen": "between",
    "guide": "guide",
    "windows": "windows",
    "noise": "noise",
    "fusion": "time",
    "reinit": "run",
}
