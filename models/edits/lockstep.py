"""A model call in several parts of its frames, exactly: parts go side by side, and wait where frames see each other.

A network's own layers see one picture at a time, so a call of F frames may be k calls of F / k each, which hold the
activations of as many pictures. Where an edit has a say, every part waits for the others, the edit sees the whole
clip, and each part goes on with its own share of the answer.

A part is a greenlet: a call that is left in the middle and gone back to, on one thread. What torch keeps for a thread
(inference mode, autocast, the device) is then the same in all parts, and the code between, a host's, need not know.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, cast

import torch
from einops import rearrange
from greenlet import getcurrent, greenlet
from torch import Tensor

from .active import Active
from .call import Layer
from .edit import Chunks, Source

Work = Callable[..., Any]
"""Makes tensors of a whole batch's tensors."""


@dataclass(frozen=True)
class Cut:
    """A batch of videos, cut into parts of frames that follow each other.

    Attributes:
        videos: videos in the batch, one behind the other.
        frames: F, frames of each.
        at_once: most frames of a video that are in one part.
    """

    videos: int
    frames: int
    at_once: int

    @classmethod
    def of(cls, pictures: int, frames: int, most: Chunks | None, fits: Callable[[int], bool]) -> Cut:
        """Return how a batch is cut; in one part, it is not.

        Args:
            pictures: pictures in the batch.
            frames: F, frames of each of its videos.
            most: part that says how many frames go at once; None: all, else half of them, a quarter ..., that fit.
            fits: function that tells whether there is room for so many pictures at once.
        """
        videos = pictures // frames
        if most is not None:
            return cls(videos, frames, min(most.frames, frames))
        at_once = frames
        while at_once > 1 and not fits(videos * at_once):
            at_once = -(-at_once // 2)
        return cls(videos, frames, at_once)

    @property
    def parts(self) -> list[slice]:
        """The frames of each part; their numbers differ by one at most."""
        count = -(-self.frames // self.at_once)
        ends = [self.frames * number // count for number in range(count + 1)]
        return [slice(*pair) for pair in pairwise(ends)]

    def take(self, whole: Any, part: slice) -> Any:
        """Return a part's rows of tensors.

        Args:
            whole: tensor with rows for all pictures, several a picture too; or dicts, lists and tuples of such.
                Whatever else there is, belongs to all parts.
            part: frames of the part.
        """
        if isinstance(whole, dict):
            named = cast("dict[str, Any]", whole)
            return {name: self.take(each, part) for name, each in named.items()}
        if isinstance(whole, (list, tuple)):
            row = cast("list[Any]", whole)
            return type(row)(self.take(each, part) for each in row)
        if isinstance(whole, Source):
            return whole if whole.is_shared else replace(whole, tokens=self.take(whole.tokens, part))
        if not isinstance(whole, Tensor) or whole.ndim == 0 or len(whole) % (self.videos * self.frames):
            return whole
        rows = rearrange(whole, "(v f r) ... -> v f r ...", v=self.videos, f=self.frames)[:, part]
        return rearrange(rows, "v f r ... -> (v f r) ...")

    def join(self, parts: Sequence[Any]) -> Any:
        """Return the whole batch of what its parts have, in their order; of dicts and lists of tensors, each."""
        first: Any = parts[0]
        if isinstance(first, dict):
            named = cast("dict[str, Any]", first)
            return {name: self.join([each[name] for each in parts]) for name in named}
        if isinstance(first, (list, tuple)):
            row = cast("list[Any]", first)
            return type(row)(self.join(column) for column in zip(*parts, strict=True))
        if not isinstance(first, Tensor):
            return first
        rows = [rearrange(each, "(v f) ... -> v f ...", v=self.videos) for each in parts]
        return rearrange(torch.cat(rows, dim=1), "v f ... -> (v f) ...")


class Lockstep:
    """Calls of one function on the parts of a batch, which go on together."""

    def __init__(self, cut: Cut) -> None:
        """Take how the batch is cut."""
        self.cut = cut

    def run(self, ask: Callable[[Any], Any], given: Any) -> Any:
        """Return what a function answers about all parts, joined.

        Args:
            ask: function of a part's share of ``given``.
            given: arguments of the whole batch.

        Raises:
            RuntimeError: the calls don't meet equally often.
        """
        parts = [greenlet(partial(ask, self.cut.take(given, frames))) for frames in self.cut.parts]
        for part in parts:
            part.gr_context = copy_context()
        try:
            arrived = [part.switch() for part in parts]
            while not any(part.dead for part in parts):
                whole = self._work(arrived)
                arrived.clear()  # while one part goes on, nothing is kept that it has left behind
                for part, frames in zip(parts, self.cut.parts, strict=True):
                    arrived.append(part.switch(self.cut.take(whole, frames)))
                del whole
        finally:
            unfinished = [part for part in parts if not part.dead]
            for part in unfinished:
                part.throw()
        if unfinished:
            raise RuntimeError(
                "frames in parts: got parts of one clip that took different ways through the network; expected one way "
                "for all; set Apply Motion Module's frames_at_once to the number of frames."
            )
        return self.cut.join(arrived)

    def meet(self, work: Work, *mine: Tensor) -> Any:
        """Wait, within a part, for all parts; return this part's share of what is made of the whole.

        Args:
            work: function of as many tensors as there are in ``mine``, each of the whole batch. One part's does it
                for all.
            *mine: tensors of this part.
        """
        together = getcurrent().parent
        assert together is not None  # who runs the parts
        return together.switch((work, mine))

    def _work(self, arrived: Sequence[tuple[Work, tuple[Tensor, ...]]]) -> Any:
        work = arrived[0][0]
        return work(*(self.cut.join(column) for column in zip(*(mine for _, mine in arrived), strict=True)))


class InPart(Active):
    """What edits do in each part of a model call: wherever one acts, it sees all parts as one batch."""

    def __init__(self, whole: Active, lockstep: Lockstep) -> None:
        """Take what acts in the whole call, and the parts."""
        vars(self).update(vars(whole))
        self._whole, self.meet = whole, lockstep.meet

    def input(self, hidden: Tensor) -> Tensor:
        """Return what goes on from the first convolution, [N, C, H, W]; N are a part's pictures, here and below."""
        return self.meet(self._whole.input, hidden) if self.acts_at("input") else hidden

    def slot(self, name: str, hidden: Tensor) -> Tensor:
        """Return what goes on from a slot, [N, C, H, W]."""
        return self.meet(partial(self._whole.slot, name), hidden)

    def join(self, hidden: Tensor, skip: Tensor, factor: int) -> tuple[Tensor, Tensor]:
        """Return what a block of the way up takes side by side, [N, C, H, W] and [N, D, H, W]."""
        return self.meet(partial(self._whole.join, factor=factor), hidden, skip)

    def read(self, tokens: Tensor, layer: Layer, of: Hashable = None) -> Source | None:
        """Return what a layer of self-attention reads in place of its tokens, [N*R, L, C]."""
        return self.meet(partial(self._whole.read, layer=layer, of=of), tokens)

    def between(self, tokens: Tensor, number: int) -> Tensor:
        """Return what goes from self- to cross-attention, [N, L, C]."""
        return self.meet(partial(self._whole.between, number=number), tokens)

    def bias(self, layer: Layer, query: Tensor, tokens: int) -> Tensor | None:
        """Return what is added to a layer's logits, [N, L, S]."""
        if not self.acts_at("cross_attention"):
            return None
        return self.meet(partial(self._whole.bias, layer, tokens=tokens), query[..., :1])

    def see(self, query: Tensor, key: Tensor, layer: Layer) -> None:
        """Show a layer's queries, [N, heads, L, D], and keys, with a row for each picture."""
        keys = key.repeat_interleave(len(query) // len(key), dim=0)
        self.meet(partial(self._whole.see, layer=layer), query, keys)
