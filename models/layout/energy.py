"""Guidance by an energy of cross-attention: predictions move to where a model reads an entity's words in its box.

With A a map of attention to a token, M how much of each place the box covers, |.| a sum over the map, and top the mean
of the k largest, k three quarters of the cells of what follows it and at least one, the energy is LVD's:

    E = 1 - top(A' M) + 4 top(A' (1 - M)),    A' = A |M| / |A|        A' = 1 in the mask where A lies evenly in it

    x_0 <- x_0 - w sigma^2 dE/dx,             x_0 = x + sigma^2 score(x) the clean picture that a noisy x means

since the classifier p(layout | x) ~ exp(-w E(x)) adds -w dE/dx to the score. The network sees x / sqrt(1 + sigma^2), by
which gradients here are taken. It needs no weights, but the memory of a training step.

Source: LLM-grounded video diffusion (Lian et al. 2023), https://arxiv.org/abs/2309.17444, with two departures.
Predictions move, not the sampler's latents, so any sampler will do. And maps are taken as shares of what they have in
all, as in Chen et al. 2023, https://arxiv.org/abs/2304.03373: in the demo model how much a word is read somewhere tells
nothing of where its thing is drawn, the share does. LVD's term for centres of mass, off by default there, and its
repeats within a step are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from ..edits.call import Call, Layer, check_places
from ..edits.edit import Edit, Part
from ..video.shapes import Clip
from .attention import READING, Reading, places_of

SHARE = 0.75  # k over the cells; LVD's default
OUTSIDE = 4.0  # weight of attention outside of a box; LVD's default


def box_energy(attention: Tensor, mask: Tensor) -> Tensor:
    """Return E, [F], the mean over N maps A of each frame, [F, N, L], with M, [F, L].

    Where the mask is empty, E is least for attention that is even.
    """
    share = attention / attention.sum(-1, keepdim=True).clamp(min=1e-12)
    a = share * mask.sum(1).clamp(min=1)[:, None, None]
    inside, outside = (_top(a * part[:, None], part.sum(1)) for part in (mask, 1 - mask))
    return (1 - inside + OUTSIDE * outside).mean(1)


def _top(values: Tensor, cells: Tensor) -> Tensor:
    """Return the mean of each row's k largest values, [F, N], by the cells of each frame, [F]."""
    k = (SHARE * cells).floor().clamp(min=1)[:, None, None]
    kept = torch.arange(values.shape[-1], device=values.device) < k
    largest = values.sort(-1, descending=True).values * kept
    return (largest.sum(-1, keepdim=True) / k)[..., 0]


@dataclass(frozen=True)
class BoxEnergy(Part):
    """Move predictions towards an entity's words being read in its boxes; an ``Edit``'s ``guide``."""

    strength: float = 200.0  # w
    end_percent: float = 1 / 3  # part of sampling after which it is over, as ``Call.progress``
    levels: frozenset[int] = frozenset({1, 2})

    def guided(self, call: Call) -> tuple[int, ...]:
        """Return the numbers of the call's conditions that have a layout to be guided to."""
        if self.strength == 0 or call.progress > self.end_percent:
            return ()
        readings = [condition.payload.get(READING) for condition in call.conditions]
        return tuple(number for number, each in enumerate(readings) if each is not None and each.regions)

    def energy(self, query: Tensor, key: Tensor, call: Call, layer: Layer) -> Tensor:
        """Return the mean of E over heads, tokens of a phrase, and entities, [], summed over frames.

        So a frame's gradient knows no clip length. Query and key are as ``Guide.energy`` has them.
        """
        height, width = check_places(call, layer, query.shape[2])
        reading: Reading = call.conditions[0].payload[READING]
        logits = query.float() @ key.float().mT * query.shape[-1] ** -0.5
        attention = logits.softmax(-1)
        energies: list[Tensor] = []
        for region in reading.regions:
            places = places_of(region.spans, reading.tokens.shape[1], key.shape[2])
            a = rearrange(attention[..., places], "f h l t -> f (h t) l")
            m = region.masks(call.frame_ids, height, width).flatten(1).to(a)
            energies.append(box_energy(a, m).sum())
        return torch.stack(energies).mean()

    def shift(self, gradient: Clip, sigma: float) -> Clip:
        """Return -w sigma^2 dE/dx, by the gradient of what the network sees."""
        return gradient * (-self.strength * sigma**2 / (1 + sigma**2) ** 0.5)

    def check(self, edits: Sequence[Edit], conditions: Sequence[Mapping[str, Any]]) -> None:
        """Refuse what guidance does not go with: predictions that are put together, and core's GLIGEN boxes."""
        if any(edit.conditions is not None for edit in edits):
            raise ValueError(
                "layout: got a model with Layout Conditioning's methods bias + energy and bias + gather; expected one "
                "of the two; take one node out."
            )
        if any(options.get("gligen") is not None for options in conditions):
            raise ValueError(
                "conditioning: got boxes of GLIGENTextBoxApply with Layout Conditioning's method bias + energy; "
                "expected none; connect GLIGEN to Layout Conditioning."
            )
