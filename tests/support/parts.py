"""Parts that only tests know: one that does something at every seam inside a network, and two of them in turn."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from frameloom.models.edits.edit import Added, Part, Source
from frameloom.models.network.sizes import DEMO
from frameloom.models.network.unet import SD1, layer_grid


def skips_of(unet):
    """Width and level of every skip of a UNet, the shallowest first."""
    found = [(unet.widths[0], 0)]
    for level in unet.levels:
        found += [(unet.widths[level], level)] * unet.num_res_blocks
        found += [(unet.widths[level], level + 1)] * (level != unet.levels[-1])
    return found


@dataclass(frozen=True)
class Every(Part):
    """Multiplies by a number and adds another, at whatever seam it is put."""

    number: float = 2.0
    plus: float = 1.0
    off: bool = False
    slots: tuple[str, ...] = tuple(SD1.slots)
    levels: frozenset[int] = frozenset(SD1.levels)
    over_clip = False
    in_control = True
    seen: list = field(default_factory=list, compare=False)

    def acts(self, call):
        return not self.off

    def add(self, hidden, call):
        return self.number * hidden + self.plus

    def join(self, hidden, skip, call, factor):
        return hidden, self.number * skip + self.plus

    def residuals(self, tokens, call, time, memory):
        memory.append(self.number)
        return Added(
            tuple(self._like(tokens, call, *size) for size in skips_of(DEMO.unet)),
            self._like(tokens, call, DEMO.unet.widths[-1], DEMO.unet.levels[-1]),
        )

    def _like(self, tokens, call, width, level):
        return torch.full((len(tokens), width, *layer_grid(call.size, level)), self.number * self.plus).to(
            tokens
        )

    def run(self, slot, hidden, call, time, merges):
        self.seen.append((slot, time))
        return self.number * hidden + self.plus

    def merges(self, slot, hidden, call, memory):
        return self

    def rows(self, rows):
        return self

    def merge(self, tokens, frames):
        return self.number * tokens + 100 * self.plus * torch.linspace(-1, 1, tokens.shape[-1]).to(tokens)

    def memory(self):
        return []

    def read(self, tokens, call, memory, layer):
        memory.append(layer)
        return Source(self.number * tokens + self.plus * len(set(memory)), is_shared=False)

    def change(self, call):
        return None if self.off else lambda tokens, number: self.number * tokens + self.plus * number

    def bias(self, call, layer, tokens):
        height, width = layer.grid(call.size)
        pictures = len(call.conditions) * call.videos * call.frames
        return torch.linspace(0, self.number, tokens).expand(pictures, height * width, -1)

    def see(self, query, key, call, layer):
        self.seen.append((query, key, layer))


@dataclass(frozen=True)
class InTurn(Every):
    """What the second of two parts makes of what the first made."""

    first: Every = field(default_factory=Every)
    second: Every = field(default_factory=Every)

    def add(self, hidden, call):
        return self.second.add(self.first.add(hidden, call), call)

    def join(self, hidden, skip, call, factor):
        return self.second.join(*self.first.join(hidden, skip, call, factor), call, factor)

    def residuals(self, tokens, call, time, memory):
        return self.first.residuals(tokens, call, time, []) + self.second.residuals(tokens, call, time, [])

    def run(self, slot, hidden, call, time, merges):
        return self.second.run(slot, self.first.run(slot, hidden, call, time, merges), call, time, merges)

    def merge(self, tokens, frames):
        return self.second.merge(self.first.merge(tokens, frames), frames)

    def memory(self):
        return [], []

    def read(self, tokens, call, memory, layer):
        one, two = memory
        source = self.first.read(tokens, call, one, layer)
        return self.second.read(source.per_frame(call.frames), call, two, layer)

    def bias(self, call, layer, tokens):
        return self.first.bias(call, layer, tokens) + self.second.bias(call, layer, tokens)
