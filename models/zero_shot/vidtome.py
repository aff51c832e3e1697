"""VidToMe: frames of a chunk share tokens of self-attention, and chunks share some with those before.

In every step the clip is cut into chunks of frames. In a layer of self-attention, of all tokens of a chunk

1. those of one frame, chosen at random, are targets; of the others, the share ``local_ratio`` that is most like its
   nearest target is merged into it. What is left, T, is local.
2. T and the tokens that earlier chunks of the step have left, G, are merged likewise by ``global_ratio``: T into G or G
   into T, by the toss of a coin. G is then T, with targets in the place of its merged tokens.
3. The layer attends among what is left, and a merged token gets what its target gets.

Likeness is the cosine. A target keeps its own value ("replace" in the published code), so merging is a choice of rows,
and undoing it another.

Source: VidToMe (Li et al. 2023), https://arxiv.org/abs/2312.10656, section 3.2; chunks and numbers are those of
https://github.com/lixirui142/VidToMe. It matches prompts' tokens together; here each condition has its own match, so
that nothing depends on which conditions share a call.
"""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import normalize

from ..edits.call import Call, Layer
from ..edits.edit import Edit, Merged, Part
from ..video.shapes import Tokens
from ..video.windows import Window

LEVELS = frozenset({0, 1})  # those of the published code: the finest grid and that of half its sides
# Seams of edits that let frames read each other, or cut clips, in a way of their own.
_INSTEAD = ("windows", "grid", "slots", "time", "self_attention", "merge")


def match(source: Tensor, target: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
    """Choose the sources that are merged into targets.

    Args:
        source: tokens, [S, C].
        target: tokens, [D, C].
        ratio: share of the sources that is merged.

    Returns:
        Numbers of the sources that are kept, [K], and where each source is found, [S], in kept sources and targets laid
        end to end.
    """
    likeness, nearest = (normalize(source, dim=-1) @ normalize(target, dim=-1).T).max(-1)
    order = likeness.argsort(descending=True, stable=True)
    kept = order[int(len(source) * ratio) :]
    found = nearest + len(kept)
    found[kept] = torch.arange(len(kept), device=kept.device)
    return kept, found


@dataclass
class Carried:
    """What the chunks of one step have left in a layer, for one condition.

    Attributes:
        sigma: noise level of the step.
        frames: numbers of the frames that were seen.
        tokens: tokens that are left, [G, C].
    """

    sigma: float
    frames: set[int] = field(default_factory=set[int])
    tokens: Tensor | None = None


@dataclass(frozen=True, slots=True)
class VidToMe(Part):
    """Merged tokens in chunks: a part of *windows*, one for each chunk, and of *merge*.

    Attributes:
        chunk: most frames of a chunk.
        local_ratio: share of the tokens beside the chunk's targets that is merged, more than 0.
        global_ratio: share that is merged with those of earlier chunks; 0: chunks know nothing of each other.
        seed: seed of chunks, targets and coins.
        levels: levels of the network in which it acts.
    """

    chunk: int = 4
    local_ratio: float = 0.9
    global_ratio: float = 0.8
    seed: int = 0
    levels: frozenset[int] = LEVELS

    @property
    def length(self) -> int:
        """Frames of a chunk."""
        return self.chunk

    @property
    def overlap(self) -> int:
        """Frames that all chunks have in common."""
        return 0

    @property
    def anchored(self) -> bool:
        """False: a window is asked about alone."""
        return False

    def is_needed(self, frames: int) -> bool:
        """Tell whether a clip is cut into chunks."""
        return frames > 1

    def windows(self, frames: int, step: int) -> list[Window]:
        """Return the chunks of a step, in the order in which they are asked.

        The first is of 1 to ``chunk`` frames, so that chunks end elsewhere in each step. A quarter of them, chosen at
        random, goes first; the others follow in time, or against it where their end is nearer.
        """
        draw = self._draw("chunks", step)
        first = int(torch.randint(1, self.chunk + 1, (1,), generator=draw))
        starts = [0, *range(first, frames, self.chunk)]
        chunks = [tuple(range(*ends)) for ends in zip(starts, [*starts[1:], frames], strict=True)]
        order = [int(number) for number in torch.randperm(len(chunks), generator=draw)]
        lead, rest = order[: len(chunks) // 4], sorted(order[len(chunks) // 4 :])
        if lead and abs(rest[-1] - lead[-1]) < abs(rest[0] - lead[-1]):
            rest.reverse()
        return [chunks[number] for number in lead + rest]

    def weigh(self, window: Window, frames: int) -> list[float]:
        """Return what each frame of a chunk counts: the same."""
        del frames
        return [1.0] * len(window)

    def check(self, edits: Sequence[Edit], conditions: Sequence[Mapping[str, Any]]) -> None:
        """Check that nothing else cuts the clip, or says what frames read of each other.

        Raises:
            ValueError: something does.
        """
        del conditions
        for edit in edits:
            if any(part is not self and seam in _INSTEAD for seam, part in edit.parts()):
                raise ValueError(
                    f"model: got {edit.name} beside VidToMe; expected no other node that cuts clips or lets frames "
                    f"read each other, since VidToMe does; take {edit.name} out of the graph, or VidToMe."
                )

    def memory(self) -> dict[Hashable, Carried]:
        """Return what chunks have left, by layer and condition: nothing yet."""
        return {}

    def merge(self, tokens: Tokens, call: Call, memory: dict[Hashable, Carried], layer: Layer) -> Merged:
        """Return what a layer attends among, for the tokens of a chunk's frames, [B*F, L, C]."""
        draw = self._draw("tokens", call.frame_ids, round(999 * call.progress))
        target = int(torch.randint(call.frames, (1,), generator=draw))
        into_carried = bool(torch.rand(1, generator=draw) > 0.5)
        rows: list[Tensor] = []
        places: list[Tensor] = []
        clips = rearrange(tokens, "(b f) l c -> b f l c", f=call.frames)
        for clip, condition in zip(clips, call.conditions, strict=True):
            place = layer.number, layer.depth, condition.key
            carried = memory.get(place)
            if carried is None or carried.sigma != call.sigma or carried.frames & {*call.frame_ids}:
                memory[place] = carried = Carried(call.sigma)
            left, found = self._merge_chunk(clip, target)
            left, found = self._merge_carried(left, found, carried, into_carried)
            carried.frames |= {*call.frame_ids}
            rows.append(left)
            places.append(found)
        return Merged(torch.stack(rows), torch.stack(places), call.frames)

    def _merge_chunk(self, clip: Tensor, target: int) -> tuple[Tensor, Tensor]:
        """Return what is left of a chunk, [T, C], and where in it each token of the frames, [F, L, C], is: [F*L]."""
        frames, places = clip.shape[:2]
        others = [frame for frame in range(frames) if frame != target]
        source = clip[others].flatten(0, 1)
        kept, found = match(source, clip[target], self.local_ratio)
        left = torch.cat([source[kept], clip[target]])
        by_frame = found.new_empty(frames, places)
        by_frame[others] = found.view(-1, places)
        by_frame[target] = len(kept) + torch.arange(places, device=found.device)
        return left, by_frame.flatten()

    def _merge_carried(
        self, local: Tensor, found: Tensor, carried: Carried, into_carried: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the same of a chunk and earlier ones, and carry on what is left."""
        if self.global_ratio == 0:
            return local, found
        if carried.tokens is None:
            carried.tokens = local
            return local, found
        earlier = carried.tokens
        if into_carried:
            kept, mine = match(local, earlier, self.global_ratio)
            left = torch.cat([local[kept], earlier])
        else:
            kept, _ = match(earlier, local, self.global_ratio)
            left = torch.cat([earlier[kept], local])
            mine = len(kept) + torch.arange(len(local), device=local.device)
        carried.tokens = left[mine]
        return left, mine[found]

    def _draw(self, *place: Any) -> torch.Generator:
        """Return the source of what is drawn at a place of a run."""
        return torch.Generator().manual_seed(zlib.crc32(repr((self.seed, *place)).encode()))


def vidtome_edit(chunk: int, local_ratio: float, global_ratio: float, seed: int) -> Edit:
    """Return VidToMe as an edit."""
    part = VidToMe(chunk, local_ratio, global_ratio, seed)
    return Edit("VidToMe", windows=part, merge=part)
