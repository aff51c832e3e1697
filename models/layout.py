"""Layouts as a model obeys them: the words of every entity act inside its boxes, frame by frame. No weights.

Two edits, for the same condition, which carries a ``Layout``:

- ``BoxBias`` adds to the logits of cross-attention for the tokens of an entity's phrase, inside its box, and takes away
  outside of it, as in eDiff-I (Balaji et al. 2022, https://arxiv.org/abs/2211.01324, "paint with words") and the
  gradient-free side of LLM-grounded video diffusion (Lian et al. 2023, https://arxiv.org/abs/2309.17444).
- ``BoxGather`` also asks the model for every entity by itself and for none of them. What an entity's phrase changes in
  the prediction is its effect; the effect is moved into the box, its sum kept. Where a model has not decided yet, the
  effect of a phrase is spread thinly over all places that the entity might take; to know its place is to have all of
  it there. Predictions put together by region: MultiDiffusion (Bar-Tal et al. 2023, https://arxiv.org/abs/2302.08113).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .edits.call import Call, Layer
from .frames import check_length
from .gligen import GROUNDING, Grounding
from .layout_masks import box_masks
from .phrases import Ranges

READING, LAYOUT = "reading", "layout"  # keys of a condition's payload
MAX_GAIN = 30.0  # of an entity's effect, where next to nothing of it is in its box


@dataclass(frozen=True, eq=False)
class Region:
    """Where an entity is, and which tokens speak of it.

    Entities that the prompt names together ("two red balls") share a region, with a track each.

    Attributes:
        spans: [start, stop) ranges of the phrase among the prompt's tokens.
        tracks: for each entity its boxes [F, 4] float, and [F] bool where it is present, as
            ``storyboard.Entity.boxes_at`` returns them.
        embedding: [1, D]. The phrase by itself as GLIGEN reads it; None: GLIGEN is not used.
    """

    spans: Ranges
    tracks: tuple[tuple[Tensor, Tensor], ...]
    embedding: Tensor | None = None

    @property
    def is_never_absent(self) -> bool:
        """Whether every frame has one of its entities."""
        return bool(torch.stack([present for _, present in self.tracks]).any(0).all())

    def masks(self, frame_ids: Sequence[int], height: int, width: int) -> Tensor:
        """Return how much of each cell of a grid its boxes cover in some frames: [F, H, W] float32.

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
        regions: of the entities that it names.
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
        whole: with all of them.
        bare: with none.
        alone: with one of them each, in the order of ``whole.regions``.
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
        strength: added to the logits of a phrase's tokens inside the box, and taken away outside, at the start.
        end_percent: part of sampling after which it is over, compared with ``Call.progress``.
    """

    strength: float = 8.0
    end_percent: float = 1 / 3

    def bias(self, call: Call, layer: Layer, tokens: int) -> Tensor | None:
        """Return what is added to a layer's logits; a shorter prompt's tokens are repeated to S, or end earlier.

        Returns:
            [B*F, H*W, S] float32, B the chunks of the batch, or None where there is nothing to add. A frame in which an
            entity is absent has no place for its words.
        """
        if self.strength == 0 or call.progress > self.end_percent:
            return None
        readings = [condition.payload.get(READING) for condition in call.conditions]
        if not any(reading is not None and reading.regions for reading in readings):
            return None
        grid = layer.grid(call.size)
        chunks = []
        for reading in readings:
            own = torch.zeros(call.frames, grid[0] * grid[1], tokens)
            if reading is not None:
                for region in reading.regions:
                    inside = region.masks(call.frame_ids, *grid).flatten(1)
                    places = places_of(region.spans, reading.tokens.shape[1], tokens)
                    own[:, :, places] += (2 * inside - 1)[:, :, None] * self.strength
            chunks.append(own.repeat(call.videos, 1, 1))
        return torch.cat(chunks)


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
        """Return tokens, [1, S, D], and payload of each question in a condition's place; none: it is asked itself."""
        layout = payload.get(LAYOUT)
        if layout is None or not layout.alone or progress > self.end_percent:
            return ()
        if (
            len(layout.alone) == 1
            and progress > self.gain_percent
            and layout.whole.regions[0].is_never_absent
        ):
            return ()  # the whole prompt is the answer in every frame
        return [(reading.tokens, reading.payload()) for reading in (layout.bare, *layout.alone)]

    def compose(
        self, payload: Mapping[str, Any], answers: Sequence[Tensor], frame_ids: Sequence[int], progress: float
    ) -> Tensor:
        """Return the prediction that the variants' predictions mean.

        Returns:
            [F, C, H, W].
        """
        bare, *alone = answers
        size = bare.shape[-2], bare.shape[-1]
        regions = payload[LAYOUT].whole.regions
        masks = [region.masks(frame_ids, *size).to(bare).unsqueeze(1) for region in regions]
        if len(alone) == 1 and progress > self.gain_percent:
            # Nothing is to be kept apart, and the whole prompt tidies up what was drawn elsewhere.
            masks = [masks[0].amax((1, 2, 3), keepdim=True).ceil()]
        total = bare
        for number, (answer, mask) in enumerate(zip(alone, masks, strict=True)):
            effect = answer - bare
            moved = mask * effect
            if progress <= self.gain_percent:
                # What lies in another entity's box is that entity's, seen by a prompt that doesn't know it.
                others = masks[:number] + masks[number + 1 :]
                free = torch.stack([1 - other for other in others]).prod(0) if others else 1.0
                amount, inside = (_amount(each) for each in (effect * free, moved * free))
                moved = moved * (amount / inside.clamp(min=1e-12)).clamp(1, MAX_GAIN)
            total = total + moved
        return total


def _amount(effect: Tensor) -> Tensor:
    """Return the sum of an effect's size in each frame, [F, 1, 1, 1]."""
    return effect.abs().sum((1, 2, 3), keepdim=True)


def places_of(spans: Ranges, own: int, tokens: int) -> list[int]:
    """Return a phrase's places among a layer's tokens; ComfyUI repeats a shorter prompt to the length of a longer.

    Args:
        spans: of the phrase among its prompt's tokens.
        own: tokens of the prompt.
        tokens: of the layer.
    """
    repeats = tokens // own if tokens % own == 0 else 1
    return [place + own * again for again in range(repeats) for span in spans for place in range(*span)]
