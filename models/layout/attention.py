"""Layouts as a model obeys them: the words of every entity act inside its boxes, frame by frame. No weights.

With M_i how much of each place entity i's boxes cover, d_i the prediction for that entity alone, d_0 for none, and |.|
a sum over a frame, a condition that carries a ``Layout`` is edited so:

    BoxBias      logits += w (2 M_i - 1) for the tokens of i's phrase
    BoxGather    d = d_0 + sum_i g_i M_i (d_i - d_0),    g_i = |f_i (d_i - d_0)| / |f_i M_i (d_i - d_0)|
                 f_i = prod_j (1 - M_j) over all others: what lies in another's box is that one's

What a phrase changes in the prediction is its effect, spread thinly over all places that the entity might take where a
model has not decided yet; to know its place is to have all of it there. Later, g_i = 1 cuts off what lies outside.

Source: bias: eDiff-I's "paint with words" (Balaji et al. 2022), https://arxiv.org/abs/2211.01324, and LLM-grounded
video diffusion without gradients (Lian et al. 2023), https://arxiv.org/abs/2309.17444. Predictions put together by
region: MultiDiffusion (Bar-Tal et al. 2023), https://arxiv.org/abs/2302.08113; keeping an effect's sum is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..edits.call import LATENTS, Call, Layer
from ..edits.edit import Question
from ..network.time_law import TimeLaw
from ..storyboard.masks import box_masks, join_frames
from ..storyboard.phrases import Ranges
from ..video.frames import check_length
from ..video.shapes import Boxes, Clip, Ids, Masks, Presence
from .gligen import GROUNDING, Grounding

READING, LAYOUT = "reading", "layout"  # keys of a condition's payload
MAX_GAIN = 30.0  # of an entity's effect, where next to nothing of it is in its box


@dataclass(frozen=True, eq=False)
class Region:
    """Where an entity is, and which tokens speak of it; entities named together ("two red balls") share one."""

    spans: Ranges  # ranges of the phrase among the prompt's tokens
    tracks: tuple[tuple[Boxes, Presence], ...]  # boxes of each entity, and frames that it is in
    embedding: Tensor | None = None  # [1, D], the phrase by itself as GLIGEN reads it; None: no GLIGEN
    law: TimeLaw = field(
        default=TimeLaw(), compare=False
    )  # time law of the model; frame ids are of its latents

    @property
    def is_never_absent(self) -> bool:
        """Whether every frame has one of its entities."""
        return bool(torch.stack([present for _, present in self.tracks]).any(0).all())

    def masks(self, frame_ids: Ids, height: int, width: int) -> Masks:
        """Return M_i of some frames on a grid; of a latent frame, all that is covered in one of its frames."""
        length = len(self.tracks[0][0])
        check_length(frame_ids, self.law.latents(length))
        spans = [[frame for frame in self.law.frames(latent) if frame < length] for latent in frame_ids]
        chosen = [frame for span in spans for frame in span]
        masks = [
            join_frames(
                box_masks(boxes[chosen], present[chosen], height, width), [len(span) for span in spans]
            )
            for boxes, present in self.tracks
        ]
        return torch.stack(masks).amax(0)


@dataclass(frozen=True, eq=False)
class Reading:
    """A prompt as attention reads it: its encoded tokens, [1, S, D], and the entities that it names."""

    tokens: Tensor
    regions: tuple[Region, ...] = ()
    pooled: Tensor | None = field(default=None, compare=False)  # [1, P], the prompt as one vector

    def payload(self) -> dict[str, Any]:
        """Return what a condition carries so that edits know the prompt's entities."""
        read = [(region.embedding, region.tracks) for region in self.regions]
        entities = [(text, track) for text, tracks in read if text is not None for track in tracks]
        return {READING: self, **({GROUNDING: Grounding.of(entities)} if entities else {})}


@dataclass(frozen=True, eq=False)
class Layout:
    """A scene's prompt, and what it is with none of its entities, and with one of ``whole.regions`` each."""

    whole: Reading
    bare: Reading
    alone: tuple[Reading, ...]

    def payload(self) -> dict[str, Any]:
        """Return what a condition carries for the edits of this module."""
        first = self.whole.regions[0]
        is_video, frames = first.law.stride > 1, len(first.tracks[0][0])
        return {
            **self.whole.payload(),
            LAYOUT: self,
            **({LATENTS: first.law.latents(frames)} if is_video else {}),
        }


_NOTHING = Reading(torch.empty(1, 0, 0))  # of a condition without a layout


@dataclass(frozen=True)
class BoxBias:
    """Draw an entity's words into its boxes by cross-attention; an ``Edit``'s ``cross_attention``."""

    strength: float = 8.0  # w
    end_percent: float = 1 / 3  # part of sampling after which it is over, as ``Call.progress``

    def bias(self, call: Call, layer: Layer, tokens: int) -> Tensor | None:
        """Return the summand of a layer's logits, [N, L, S] float32; an absent entity has no place for its words.

        S tokens are the longest prompt's in the batch; shorter ones are repeated to it, or end earlier.
        """
        readings = [condition.payload.get(READING, _NOTHING) for condition in call.conditions]
        is_over = self.strength == 0 or call.progress > self.end_percent
        if is_over or not any(reading.regions for reading in readings):
            return None
        height, width = layer.grid(call.size)
        chunks: list[Tensor] = []
        for reading in readings:
            chunk = torch.zeros(call.frames, height * width, tokens)
            for region in reading.regions:
                m_i = region.masks(call.frame_ids, height, width).flatten(1)[:, :, None]
                places = places_of(region.spans, reading.tokens.shape[1], tokens)
                chunk[:, :, places] += (2 * m_i - 1) * self.strength
            chunks.append(chunk.repeat(call.videos, 1, 1))
        return torch.cat(chunks)


@dataclass(frozen=True)
class BoxGather:
    """Move the effect of every entity's phrase into its box; an ``Edit``'s ``conditions``.

    Costs a model call more for each entity, and one for none of them, while it lasts.
    """

    gain_percent: float = 1 / 3  # part of sampling after which g_i = 1, and a single entity is left alone
    end_percent: float = 1.0

    def variants(self, payload: Mapping[str, Any], progress: float) -> Sequence[Question]:
        """Return what is asked; nothing where the whole prompt is the answer."""
        layout = payload.get(LAYOUT)
        if layout is None or not layout.alone or progress > self.end_percent:
            return ()
        is_settled = len(layout.alone) == 1 and progress > self.gain_percent
        if is_settled and layout.whole.regions[0].is_never_absent:
            return ()
        asked = (layout.bare, *layout.alone)
        return [Question(reading.tokens, reading.payload(), reading.pooled) for reading in asked]

    def compose(
        self, payload: Mapping[str, Any], answers: Sequence[Clip], frame_ids: Ids, progress: float
    ) -> Clip:
        """Return d, of the answers d_0, d_1, ... to the variants, clean latents or noise."""
        d_0, *alone = answers
        height, width = d_0.shape[-2:]
        regions = payload[LAYOUT].whole.regions
        m = [region.masks(frame_ids, height, width).to(d_0).unsqueeze(1) for region in regions]
        is_gathering = progress <= self.gain_percent
        if len(alone) == 1 and not is_gathering:
            # Nothing is to be kept apart, and the whole prompt tidies up what was drawn elsewhere.
            m = [m[0].amax((1, 2, 3), keepdim=True).ceil()]
        d = d_0
        for i, (d_i, m_i) in enumerate(zip(alone, m, strict=True)):
            effect, g_i = d_i - d_0, 1.0
            if is_gathering:
                others = [1 - m_j for j, m_j in enumerate(m) if j != i]
                f_i = torch.stack(others).prod(0) if others else 1.0
                whole = (effect * f_i).abs().sum((1, 2, 3), keepdim=True)
                inside = (m_i * effect * f_i).abs().sum((1, 2, 3), keepdim=True)
                g_i = (whole / inside.clamp(min=1e-12)).clamp(1, MAX_GAIN)
            d = d + m_i * effect * g_i
        return d

    def crowded(self, count: int) -> str:
        """Say that so many conditions of one side have a layout."""
        return (
            f"conditioning: got {count} conditions with a layout combined into one; expected one, and others without; "
            "put all entities into one scene, or set Layout Conditioning's method to bias."
        )


def places_of(spans: Ranges, own: int, tokens: int) -> list[int]:
    """Return a phrase's places among a layer's tokens, by its spans among ``own`` tokens of its prompt.

    ComfyUI repeats a shorter prompt to the length of a longer.
    """
    repeats = tokens // own if tokens % own == 0 else 1
    return [place + own * again for again in range(repeats) for span in spans for place in range(*span)]
