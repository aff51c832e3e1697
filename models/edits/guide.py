"""Guidance by a gradient: a network is asked once more, and predictions move by an energy of its cross-attention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ..video.shapes import Clip, Hidden
from .call import Call, Layer
from .edit import Guide, Observer

SCALE = 2.0**12  # of gradients on their way: large maps' are next to 0 in half precision
PIECE = 4  # frames whose gradient is taken at once where frames are independent of each other

# Runs a UNet on the rows of a batch that a slice says, [N, C, H, W]: (rows' input, slice, their call, observer).
Ask = Callable[[Tensor, slice, Call, Observer], object]


class _Sum:
    """Sums up a guide's energy over the layers of a model call; an ``Observer``."""

    def __init__(self, guide: Guide) -> None:
        self._guide = guide
        self._energies: list[Tensor] = []

    @property
    def levels(self) -> frozenset[int]:
        """Levels of the network in which it looks."""
        return self._guide.levels

    def see(self, query: Tensor, key: Tensor, call: Call, layer: Layer) -> None:
        """Add one layer: [F, heads, L, D] and [F or 1, heads, S, D]."""
        self._energies.append(self._guide.energy(query, key, call, layer))

    def mean(self) -> Tensor:
        """Return the mean over layers, []."""
        return torch.stack(self._energies).mean()


def find_shift(guide: Guide, call: Call, seen: Hidden, ask: Ask, *, apart: bool) -> Clip | None:
    """Return how far a guide moves the clean latents of a model call, whatever the condition.

    Inference mode is left for it. The gradient goes to the latents alone, and nothing keeps its graph.

    Args:
        guide: part of an edit that gives the energy.
        call: model call of one clip for each condition.
        seen: input of the network.
        ask: function that runs the network.
        apart: True where no frame has a say in another's prediction, so gradients may be taken of a few at a time.

    Returns:
        Float32; None: no condition is guided.
    """
    total = None
    step = PIECE if apart else call.frames
    for number in guide.guided(call):
        shifts: list[Tensor] = []
        for start in range(0, call.frames, step):
            ids = call.frame_ids[start : start + step]
            first = number * call.frames + start
            rows = slice(first, first + len(ids))
            conditions = (call.conditions[number],)
            part = replace(call, frames=len(ids), conditions=conditions, frame_ids=ids, parts=1)
            with torch.inference_mode(False), torch.enable_grad():
                noisy, energy = seen[rows].clone().detach().requires_grad_(), _Sum(guide)
                ask(noisy, rows, part, energy)
                (gradient,) = torch.autograd.grad(energy.mean() * SCALE, noisy)
            shifts.append(gradient.float() / SCALE)
        own = guide.shift(torch.cat(shifts), call.sigma)
        total = own if total is None else total + own
    return total
