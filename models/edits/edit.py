"""The seams of a frozen network: what of its work an edit may change, and the methods of what changes it.

A technique is an ``Edit``: a part for each seam that it changes. Parts speak of clips and of one model call at a time,
read the ``Call``, which says what N pictures are, and never a host's options. Their arguments are said here, once for
all. How several edits compose is ``active``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from einops import rearrange, repeat
from torch import Tensor

from ..network.unet import UNetSize
from ..video.shapes import Clip, Hidden, Ids, Sigmas, Tokens
from .call import Call, Layer, Plan

if TYPE_CHECKING:
    from .run import Once, Start

Change = Callable[[Tokens, int], Tokens]
"""Tokens of a transformer, and its number in the network's order; to such tokens."""


class Question(NamedTuple):
    """What is asked in a condition's place."""

    tokens: Tensor  # [1, S, D]
    payload: dict[str, Any]
    pooled: Tensor | None = (
        None  # [1, P], its prompt as one vector, for networks that read it; None: the condition's
    )


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

    def note(self, plan: Plan) -> str | None:
        """Return what to tell the user about a sampling run before it begins; None: nothing."""
        del plan


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

    def arrange(self, noise: Clip) -> Clip:
        """Return a clip's start noise, made of other start noise of one video, from frame 0."""
        ...


class Run(Protocol):
    """One sampling run, or several in its place."""

    def sample(self, once: Once, start: Start, sigmas: Sigmas) -> Clip:
        """Return a clip, by what samples once, and what a plain run begins with and goes down by."""
        ...


class Result(Protocol):
    """What becomes of a clip when a run has drawn it."""

    def finish(self, clip: Clip) -> Clip:
        """Return what goes on of a clip, [F, C, H, W], that was sampled down to noise level 0."""
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

    @property
    def anchored(self) -> bool:
        """Whether a window is asked about with the frame before it, of which the answer is not taken."""
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


class Grid(Protocol):
    """Frames side by side in one picture, which the network is asked about in their place."""

    @property
    def side(self) -> int:
        """Frames of a row and of a column of a picture; 1: a picture is a frame."""
        ...


class Conditions(Protocol):
    """Several questions in a condition's place, and one prediction of the answers."""

    def variants(self, payload: Mapping[str, Any], progress: float) -> Sequence[Question]:
        """Return the questions; none: the condition itself is asked.

        Both methods are given the condition's payload, and ``progress`` as ``Call`` has it.
        """
        ...

    def compose(
        self, payload: Mapping[str, Any], answers: Sequence[Clip], frame_ids: Ids, progress: float
    ) -> Clip:
        """Return one prediction of clean latents, an answer to each question, in their order."""
        ...

    def crowded(self, count: int) -> str:
        """Return the error where so many conditions of one side would be asked as several."""
        ...


class CFG(Protocol):
    """How far predictions go from the negative prompt's to the positive's."""

    def scale(self, value: float | Tensor, frame_ids: Ids, progress: float, size: Sequence[int]) -> Tensor:
        """Return the guidance of each frame, [F, 1, H or 1, W or 1], in place of a number, or of such.

        ``progress`` is as ``Call`` has it, ``size`` the height and width of the latents.
        """
        ...


class Chunks(Protocol):
    """How many frames of a clip the network's own layers see at once; edits see all of them."""

    @property
    def frames(self) -> int:
        """Most frames in one part of a model call, at least 1."""
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
        """Return a layer's energy, [], summed over the frames of one clip and one condition, which is guided.

        Its queries are [F, heads, L, D], its keys [F or 1, heads, S, D].
        """
        ...

    def shift(self, gradient: Clip, sigma: float) -> Clip:
        """Return how far clean latents move, in the model's units, by the energy's slope by the network's input."""
        ...


class Input(Protocol):
    """What is added behind the network's first convolution."""

    def add(self, hidden: Hidden, call: Call) -> Hidden:
        """Return what goes on from the first convolution."""
        ...


@dataclass(frozen=True, slots=True)
class Added:
    """What is added to a UNet from beside it, as a ControlNet adds it."""

    skips: tuple[Hidden, ...]  # to what its way up takes in from its way down, the shallowest first
    middle: Hidden  # to what comes from its middle block

    def __add__(self, other: Added) -> Added:
        """Return the sum, place by place."""
        skips = tuple(one + more for one, more in zip(self.skips, other.skips, strict=True))
        return Added(skips, self.middle + other.middle)


class Residuals(Protocol):
    """A network beside the UNet, whose features are added to the UNet's, as a ControlNet's are."""

    def memory(self) -> Any:
        """Return what it remembers between the calls of a run: nothing yet."""
        ...

    def residuals(self, tokens: Tokens, call: Call, time: Time | None, memory: Any) -> Added | None:
        """Return what is added in a model call, for tokens of the prompt with a row for each picture; None: nothing.

        It is asked once for the whole call, before the UNet is; temporal layers of its own attend as ``time`` says.
        """
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

    def run(
        self, slot: str, hidden: Hidden, call: Call, time: Time | None, merges: Sequence[TokenMerge] = ()
    ) -> Hidden:
        """Return what goes on from a slot; without a way of attention over time, it goes over all frames.

        ``merges`` change what the first attention reads, in their order.
        """
        ...


class TokenMerge(Protocol):
    """What one part of *temporal_attention* does in one slot, in one model call."""

    def rows(self, rows: slice) -> TokenMerge:
        """Return the same for some rows of places, of which tokens are then."""
        ...

    def merge(self, tokens: Tokens, frames: slice) -> Tokens:
        """Return what attention reads in place of tokens, [N, f, C], of some frames of the call, position included.

        N are the videos of the batch, and in each of them the places, row by row.
        """
        ...


class TemporalAttention(Protocol):
    """What the first attention of temporal layers reads beside its own tokens."""

    def memory(self) -> Any:
        """Return what it remembers between the calls of a run: nothing yet."""
        ...

    def merges(self, slot: str, hidden: Hidden, call: Call, memory: Any) -> TokenMerge | None:
        """Return what it does in a slot, which works on ``hidden``; None: nothing."""
        ...


class Skips(Protocol):
    """What meets where a UNet's way up takes in what its way down has made."""

    def join(self, hidden: Hidden, skip: Hidden, call: Call, factor: int) -> tuple[Hidden, Hidden]:
        """Return both as a block of the way up takes them: its own features, and those of the way down.

        ``factor`` is the channels of the former over the width of the network's finest level.
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

    def fuse(self, tokens: Tokens, attend: Callable[[slice], Tokens]) -> Tokens:
        """Return one answer, [N, F, C], of those of attention to frames that follow each other.

        Of the tokens, [N, F, C], this reads shape, dtype and device alone.
        """
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """What a layer of self-attention reads in place of its own tokens."""

    tokens: Tokens
    is_shared: bool  # [B, S, C], one row for all frames of a video; else [B*F, S, C], one a frame

    def per_frame(self, frames: int) -> Tokens:
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

    def read(self, tokens: Tokens, call: Call, memory: Any, layer: Hashable) -> Source:
        """Return the tokens that the keys and values of a ``Layer`` come from.

        Its own are [B*F*R, L, C]; R > 1 where another pack has cut each picture into tiles.
        """
        ...


@dataclass(frozen=True, slots=True)
class Merged:
    """What a layer of self-attention attends among in place of its tokens.

    Attributes:
        tokens: tokens that are left of each condition's frames, [B, M, C].
        found: place among them where each token of the frames is found, [B, F*L].
        frames: F, frames of each condition.
    """

    tokens: Tokens
    found: Tensor
    frames: int

    def undo(self, output: Tokens) -> Tokens:
        """Return the layer's output for every token, [B*F, L, C], of that for what is left, [B, M, C]."""
        every = torch.stack([rows[found] for rows, found in zip(output, self.found, strict=True)])
        return rearrange(every, "b (f l) c -> (b f) l c", f=self.frames)


class Merge(Protocol):
    """Tokens of self-attention that are merged before a layer, and taken apart behind it."""

    @property
    def levels(self) -> frozenset[int]:
        """Levels of the network in which it acts."""
        ...

    def memory(self) -> Any:
        """Return what it remembers between the calls of a run: nothing yet."""
        ...

    def merge(self, tokens: Tokens, call: Call, memory: Any, layer: Layer) -> Merged:
        """Return what is left of a layer's tokens, [B*F, L, C]."""
        ...


class Between(Protocol):
    """What changes tokens between self-attention and cross-attention."""

    def change(self, call: Call) -> Change | None:
        """Return what it does in a model call; None: nothing."""
        ...


class CrossAttention(Protocol):
    """What is added to the logits of cross-attention."""

    def bias(self, call: Call, layer: Layer, tokens: int) -> Tensor | None:
        """Return what is added to all layers of a layer's level, [N, L, S] float, of S tokens; None: nothing."""
        ...


class Observer(Protocol):
    """Sees what cross-attention reads in every model call, and changes nothing."""

    @property
    def levels(self) -> frozenset[int]:
        """Levels of the network in which it looks."""
        ...

    def see(self, query: Tensor, key: Tensor, call: Call, layer: Layer) -> None:
        """Take note of one layer.

        Its queries are [N, heads, L, D], its keys [N, heads, S, D] of S tokens of the prompt: one row for each picture,
        or for every so many in a row.
        """
        ...


@dataclass(frozen=True, slots=True)
class Edit:
    """A technique, as what it does at each seam; None: nothing."""

    name: str  # technique's name, for errors
    schedule: Schedule | None = None
    noise: Noise | None = None
    run: Run | None = None
    result: Result | None = None
    windows: Windows | None = None
    grid: Grid | None = None
    conditions: Conditions | None = None
    cfg: CFG | None = None
    chunks: Chunks | None = None
    guide: Guide | None = None
    input: Input | None = None
    residuals: Residuals | None = None
    slots: Slots | None = None
    skips: Skips | None = None
    time: Time | None = None
    temporal_attention: TemporalAttention | None = None
    self_attention: SelfAttention | None = None
    merge: Merge | None = None
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
            if seam not in (*_IN_KEYS.values(), "chunks") and part is not self.slots
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
