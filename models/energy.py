"""Guidance by an energy of cross-attention: predictions move to where a model reads an entity's words in its box.

No weights, but a gradient: slower than a bias, and it needs the memory of a training step.

Source: LLM-grounded video diffusion (Lian et al. 2023), https://arxiv.org/abs/2309.17444, with two departures.
Predictions move, not the sampler's latents, so any sampler will do. And maps are taken as shares of what they have in
all, as in Chen et al. 2023, https://arxiv.org/abs/2304.03373: in the demo model how much a word is read somewhere tells
nothing of where its thing is drawn, the share does. LVD's term for centres of mass, off by default there, and its
repeats within a step are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from torch import Tensor

from .edit import AttentionObserver, Call, Edit
from .layout import READING, Reading, places_of
from .network.unet import layer_grid

SHARE = 0.75  # of a box's cells, and of the others, that count: those most attended to. LVD's default
OUTSIDE = 4.0  # what attention outside of a box weighs against attention lacking inside. LVD's default
SCALE = 2.0**12  # of gradients on their way: large maps' are next to 0 in half precision
PIECE = 4  # frames whose gradient is taken at once where frames are independent of each other

# Runs a UNet on the rows of a batch that a slice says, [N, C, H, W]: (rows' input, slice, their call, observer).
Ask = Callable[[Tensor, slice, Call, AttentionObserver], object]


def box_energy(attention: Tensor, mask: Tensor) -> Tensor:
    """Return how far attention is from lying inside a mask: LVD's top-k energy, of a map's shares.

    ``1 - mean(top k of A * M) + 4 * mean(top k of A * (1 - M))``, k three quarters of the cells of M, or of 1 - M, and
    at least one. A is 1 everywhere in the mask where all attention lies there evenly. Where the mask is empty the
    energy is least for attention that is even.

    Args:
        attention: [F, N, L] float, 0..1. N maps of each frame, on a grid row by row.
        mask: [F, L] float, 0..1. How much of each cell is inside.

    Returns:
        [F], the mean over maps.
    """
    share = attention / attention.sum(-1, keepdim=True).clamp(min=1e-12)
    shares = share * mask.sum(1).clamp(min=1)[:, None, None]
    inside, outside = (_top(shares * part[:, None], part.sum(1)) for part in (mask, 1 - mask))
    return (1 - inside + OUTSIDE * outside).mean(1)


def _top(values: Tensor, cells: Tensor) -> Tensor:
    """Return the mean of each row's largest values, [F, N]; ``cells``: [F], of which ``SHARE`` counts."""
    count = (SHARE * cells).floor().clamp(min=1)[:, None, None]
    kept = torch.arange(values.shape[-1], device=values.device) < count
    return ((values.sort(-1, descending=True).values * kept).sum(-1, keepdim=True) / count)[..., 0]


@dataclass(frozen=True)
class BoxEnergy:
    """Move predictions towards an entity's words being read in its boxes; an ``Edit``'s ``guide``.

    Guidance by a classifier's gradient, the classifier being ``p(layout | x) ~ exp(-strength * E(x))``. In variance
    exploding units the clean picture that a noisy x means is ``x + sigma^2 * score(x)`` (Tweedie); the energy adds
    ``-strength * dE/dx`` to the score, so the clean picture moves by ``-strength * sigma^2 * dE/dx``. The network sees
    ``x / sqrt(1 + sigma^2)``, which is what gradients here are taken by.

    Attributes:
        strength: of the energy.
        end_percent: part of sampling after which it is over, compared with ``Call.progress``.
        levels: of the UNet, whose layers' energies are averaged.
    """

    strength: float = 200.0
    end_percent: float = 1 / 3
    levels: frozenset[int] = frozenset({1, 2})

    def guided(self, call: Call) -> tuple[int, ...]:
        """Return the numbers of the call's conditions that have a layout to be guided to.

        Args:
            call: the model call.
        """
        if self.strength == 0 or call.progress > self.end_percent:
            return ()
        readings = [condition.payload.get(READING) for condition in call.conditions]
        return tuple(number for number, each in enumerate(readings) if each is not None and each.regions)

    def energy(self, query: Tensor, key: Tensor, call: Call, level: int) -> Tensor:
        """Return the energy of a layer, summed over frames, so that a frame's gradient knows no clip length.

        Args:
            query: [F, heads, L, D].
            key: [F or 1, heads, S, D].
            call: of one condition, which has a layout, and one clip.
            level: the layer's.

        Returns:
            [], the mean over heads, tokens of a phrase and entities.

        Raises:
            ValueError: the layer's grid is not the latents' at its level.
        """
        grid = layer_grid(call.size, level)
        if query.shape[2] != grid[0] * grid[1]:
            raise ValueError(
                f"cross-attention at level {level} has {query.shape[2]} places; expected {grid[0]} x {grid[1]} for "
                f"latents of {call.size[0]} x {call.size[1]}; take nodes that resize features out of the model."
            )
        reading: Reading = call.conditions[0].payload[READING]
        logits = query.float() @ key.float().mT * query.shape[-1] ** -0.5
        attention = logits.softmax(-1)
        energies = []
        for region in reading.regions:
            places = places_of(region.spans, reading.tokens.shape[1], key.shape[2])
            maps = rearrange(attention[..., places], "f h l t -> f (h t) l")
            mask = region.masks(call.frame_ids, *grid).flatten(1).to(maps)
            energies.append(box_energy(maps, mask).sum())
        return torch.stack(energies).mean()

    def shift(self, gradient: Tensor, sigma: float) -> Tensor:
        """Return how far the clean latents move, in the model's units.

        Args:
            gradient: [F, C, H, W]. Of the energy, by what the network sees.
            sigma: noise level.
        """
        return gradient * (-self.strength * sigma**2 / (1 + sigma**2) ** 0.5)


class _Sum:
    """Sums up a guide's energy over the layers of a model call; an ``edit.AttentionObserver``."""

    def __init__(self, guide: BoxEnergy) -> None:
        self._guide = guide
        self._energies: list[Tensor] = []

    @property
    def levels(self) -> frozenset[int]:
        """Levels of the UNet in which it looks."""
        return self._guide.levels

    def see(self, query: Tensor, key: Tensor, call: Call, level: int) -> None:
        """Add one layer: [F, heads, L, D] and [F or 1, heads, S, D]."""
        self._energies.append(self._guide.energy(query, key, call, level))

    def mean(self) -> Tensor:
        """Return the mean over layers, []."""
        return torch.stack(self._energies).mean()


def find_shift(guide: BoxEnergy, call: Call, seen: Tensor, ask: Ask, *, apart: bool) -> Tensor | None:
    """Return how far a guide moves the clean latents of a model call, whatever the condition.

    Inference mode is left for it. The gradient goes to the latents alone, and nothing keeps its graph.

    Args:
        guide: of an edit.
        call: the model call.
        seen: [N, C, H, W]. What the network sees, N pictures as the call says, of one clip for each condition.
        ask: runs the network.
        apart: no frame has a say in another's prediction, so gradients may be taken of a few at a time.

    Returns:
        [F, C, H, W] float32; None: no condition is guided.
    """
    total = None
    step = PIECE if apart else call.frames
    for number in guide.guided(call):
        shifts = []
        for start in range(0, call.frames, step):
            ids = call.frame_ids[start : start + step]
            first = number * call.frames + start
            rows = slice(first, first + len(ids))
            conditions = (call.conditions[number],)
            part = replace(call, frames=len(ids), conditions=conditions, frame_ids=ids)
            with torch.inference_mode(False), torch.enable_grad():
                noisy, energy = seen[rows].clone().detach().requires_grad_(), _Sum(guide)
                ask(noisy, rows, part, energy)
                (gradient,) = torch.autograd.grad(energy.mean() * SCALE, noisy)
            shifts.append(gradient.float() / SCALE)
        own = guide.shift(torch.cat(shifts), call.sigma)
        total = own if total is None else total + own
    return total


def keep_frames_apart(edits: Sequence[Edit], call: Call) -> bool:
    """Tell whether no edit lets a frame have a say in another's prediction in a model call.

    Args:
        edits: of the model.
        call: the model call.
    """
    parts = [part for edit in edits for part in (edit.temporal, edit.cross_frame) if part is not None]
    return all(part.strength_at(call) == 0 for part in parts)


def find_guide(edits: Sequence[Edit], *, has_boxes: bool) -> BoxEnergy | None:
    """Return what guides a model, the last edit's; None: nothing.

    Args:
        edits: of the model.
        has_boxes: a condition has boxes of core's GLIGENTextBoxApply.

    Raises:
        ValueError: something is there that guidance does not go with.
    """
    guide = next((edit.guide for edit in edits[::-1] if edit.guide is not None), None)
    if guide is not None and any(edit.compose is not None for edit in edits):
        raise ValueError(
            "layout: got a model with Layout Conditioning's methods bias + energy and bias + gather; expected one of "
            "the two; take one node out."
        )
    if guide is not None and has_boxes:
        raise ValueError(
            "conditioning: got boxes of GLIGENTextBoxApply with Layout Conditioning's method bias + energy; expected "
            "none; connect GLIGEN to Layout Conditioning."
        )
    return guide


def check_trainable(edits: Sequence[Edit]) -> None:
    """Check that a model can be trained through.

    Args:
        edits: of the model.

    Raises:
        ValueError: an edit guides sampling.
    """
    if any(edit.guide is not None for edit in edits):
        raise ValueError(
            "model: got Layout Conditioning's method bias + energy, which guides sampling; expected a model to train "
            "through; take the node out."
        )
