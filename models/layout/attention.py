"""Layouts as a model obeys them: the words of every entity act inside its boxes, frame by frame. No weights.

Two edits, for the same condition, which carries a ``Layout``. With M_i how much of each place entity i's boxes cover:

- ``BoxBias`` adds w (2 M_i - 1) to the logits of cross-attention for the tokens of i's phrase, as in eDiff-I (Balaji et
  al. 2022, https://arxiv.org/abs/2211.01324, "paint with words") and the gradient-free side of LLM-grounded video
  diffusion (Lian et al. 2023, https://arxiv.org/abs/2309.17444).
- ``BoxGather`` also asks the model for every entity by itself, d_i, and for none of them, d_0. What an entity's phrase
  changes in the prediction is its effect; the effect is moved into the box, its sum kept:

      d = d_0 + sum_i g_i M_i (d_i - d_0),    g_i = |f_i (d_i - d_0)| / |f_i M_i (d_i - d_0)|,    f_i = prod_j (1 - M_j)

  with |.| a sum over a frame, and j all others: what lies in another entity's box is that entity's, seen by a prompt
  that doesn't know it. Where a model has not decided yet, the effect of a phrase is spread thinly over all places that
  the entity might take; to know its place is to have all of it there. Later, g_i = 1 cuts off what lies outside.
  Predictions put together by region: MultiDiffusion (Bar-Tal et al. 2023, https://arxiv.org/abs/2302.08113).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..edits.call import Call, Layer
from ..storyboard.masks import box_masks
from ..storyboard.phrases import Ranges
from ..video.frames import check_length
from ..video.shapes import Boxes, Clip, Masks, Presence
from .gligen import GROUNDING, Grounding

READING, LAYOUT = "reading", "layout"  # keys of a condition's payload
MAX_GAIN = 30.0  # of an entity's effect, where next to nothing of it is in its box


@dataclass(frozen=True, eq=False)
class Region:
    """Where an entity is, and which tokens speak of it.

    Entities that the prompt names together ("two red balls") share a region, with a track each.

    Attributes:
        spans: [start, stop) ranges of the phrase among the prompt's tokens.
        tracks: boxes of each entity, and the frames where it is present.
        embedding: [1, D]. The phrase by itself as GLIGEN reads it; None: GLIGEN is not used.
    """

    spans: Ranges
    tracks: tuple[tuple[Boxes, Presence], ...]
    embedding: Tensor | None = None

    @property
    def is_never_absent(self) -> bool:
        """Whether every frame has one of its entities."""
        return bool(torch.stack([present for _, present in self.tracks]).any(0).all())

    def masks(self, frame_ids: Sequence[int], height: int, width: int) -> Masks:
        """Return M_i of some frames on a grid.

        Raises:
            ValueError: a frame lies behind the storyboard's end.
        """
        check_length(frame_ids, len(self.tracks[0][0]))
        chosen = list(frame_ids)
        masks = [box_masks(boxes[chosen], present[chosen], height, width) for boxes, present in self.tracks]
        return torch.stack(masks).amax(0)


@dataclass(frozen=True, eq=False)
class Reading:
    """A prompt as attention reads it.

    Attributes:
        tokens: [1, S, D]. The encoded prompt.
        regions: entities that it names.
    """

    tokens: Tensor
    regions: tuple[Region, ...] = ()

    def payload(self) -> dict[str, Any]:
        """Return what a condition carries so that edits know the prompt's entities."""
        entities = [
            (region.embedding, track)
            for region in self.regions
            for track in region.tracks
            if region.embedding is not None
        ]
        return {READING: self, **({GROUNDING: Grounding.of(entities)} if entities else {})}


@dataclass(frozen=True, eq=False)
class Layout:
    """A scene's prompt, and what it is without some of its entities.

    Attributes:
        whole: prompt with all of them.
        bare: prompt with none.
        alone: prompts with one of them each, in the order of ``whole.regions``.
    """

    whole: Reading
    bare: Reading
    alone: tuple[Reading, ...]

    def payload(self) -> dict[str, Any]:
        """Return what a condition carries for the edits of this module."""
        return {**self.whole.payload(), LAYOUT: self}


@dataclass(frozen=True)
class BoxBias:
    """Draw an entity's words into its boxes by cross-attention; an ``Edit``'s ``cross_attention``.

    Attributes:
        strength: w, at the start.
        end_percent: part of sampling after which it is over, compared with ``Call.progress``.
    """

    strength: float = 8.0
    end_percent: float = 1 / 3

    def bias(self, call: Call, layer: Layer, tokens: int) -> Tensor | None:
        """Return what is added to a layer's logits, [N, L, S] float32; None: there is nothing to add.

        A frame in which an entity is absent has no place for its words. S tokens are the longest prompt's in the batch;
        shorter ones are repeated to it, or end earlier.
        """
        if self.strength == 0 or call.progress > self.end_percent:
            return None
        readings = [condition.payload.get(READING, _NOTHING) for condition in call.conditions]
        if not any(reading.regions for reading in readings):
            return None
        grid = layer.grid(call.size)
        chunks: list[Tensor] = []
        for reading in readings:
            own = torch.zeros(call.frames, grid[0] * grid[1], tokens)
            for region in reading.regions:
                inside = region.masks(call.frame_ids, *grid).flatten(1)
                places = places_of(region.spans, reading.tokens.shape[1], tokens)
                own[:, :, places] += (2 * inside - 1)[:, :, None] * self.strength
            chunks.append(own.repeat(call.videos, 1, 1))
        return torch.cat(chunks)


_NOTHING = Reading(torch.empty(1, 0, 0))  # of a condition without a layout


@dataclass(frozen=True)
class BoxGather:
    """Move the effect of every entity's phrase into its box; an ``Edit``'s ``conditions``.

    Costs a model call more for each entity, and one for none of them, while it lasts.

    Attributes:
        gain_percent: part of sampling in which effects are gathered from the whole picture; after it, what lies outside
            of an entity's box is only cut off, and of a single entity nothing is.
        end_percent: part of sampling after which it is over.
    """

    gain_percent: float = 1 / 3
    end_percent: float = 1.0

    def variants(
        self, payload: Mapping[str, Any], progress: float
    ) -> Sequence[tuple[Tensor, dict[str, Any]]]:
        """Return tokens, [1, S, D], and payloads to ask in a condition's place; none: the condition itself is asked."""
        layout = payload.get(LAYOUT)
        if layout is None or not layout.alone or progress > self.end_percent:
            return ()
        is_settled = len(layout.alone) == 1 and progress > self.gain_percent
        if is_settled and layout.whole.regions[0].is_never_absent:
            return ()  # the whole prompt is the answer in every frame
        return [(reading.tokens, reading.payload()) for reading in (layout.bare, *layout.alone)]

    def compose(
        self, payload: Mapping[str, Any], answers: Sequence[Clip], frame_ids: Sequence[int], progress: float
    ) -> Clip:
        """Return d, of the answers d_0, d_1, ... to the variants, clean latents or noise."""
        d_0, *alone = answers
        size = d_0.shape[-2], d_0.shape[-1]
        regions = payload[LAYOUT].whole.regions
        m = [region.masks(frame_ids, *size).to(d_0).unsqueeze(1) for region in regions]
        is_gathering = progress <= self.gain_percent
        if len(alone) == 1 and not is_gathering:
            # Nothing is to be kept apart, and the whole prompt tidies up what was drawn elsewhere.
            m = [m[0].amax((1, 2, 3), keepdim=True).ceil()]
        d = d_0
        for i, (d_i, m_i) in enumerate(zip(alone, m, strict=True)):
            effect = d_i - d_0
            moved = m_i * effect
            d = d + (moved * _gain(effect, moved, m[:i] + m[i + 1 :]) if is_gathering else moved)
        return d


def _gain(effect: Clip, moved: Clip, others: Sequence[Tensor]) -> Tensor:
    """Return g_i, [F, 1, 1, 1], of an effect, what of it is in the box, and other boxes, [F, 1, H, W] each."""
    free = torch.stack([1 - m_j for m_j in others]).prod(0) if others else 1.0
    whole, inside = ((each * free).abs().sum((1, 2, 3), keepdim=True) for each in (effect, moved))
    return (whole / inside.clamp(min=1e-12)).clamp(1, MAX_GAIN)


def places_of(spans: Ranges, own: int, tokens: int) -> list[int]:
    """Return a phrase's places among a layer's tokens; ComfyUI repeats a shorter prompt to the length of a longer.

    Args:
        spans: [start, stop) ranges of the phrase among its prompt's tokens.
        own: tokens of the prompt.
        tokens: tokens of the layer.
    """
    repeats = tokens // own if tokens % own == 0 else 1
    return [place + own * again for again in range(repeats) for span in spans for place in range(*span)]
