"""How a motion module's layers work in one slot and one model call, beside their own weights.

A motion LoRA changes a weight W to W + s B A. Where its strength s is one number, hosts merge it. Where it changes from
frame to frame, every linear layer answers for a token x of frame f

    W x + s_f B A x

So attention's queries, and its answer, are as strong as the frame that looks; keys and values are as strong as the
frame that is looked at. A frame of strength 0 still sees what the LoRA makes of its neighbours.

Source: LoRA (Hu et al. 2021), https://arxiv.org/abs/2106.09685, equation 3, which is linear in B A.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from ..edits.edit import Time, TokenMerge
from ..video.frames import frames_to_tokens
from ..video.shapes import Tokens

ALL_FRAMES = slice(None)
VIEW_NUMBERS = 12
"""Numbers of a camera's view, 3 x 4, that MotionCtrl's projections read beside tokens."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerLoRA:
    """A motion LoRA's change of one linear layer, which differs from frame to frame.

    Attributes:
        down: matrix A, [R, C].
        up: matrix B, [D, R].
        strength: factors of a call's frames and their places, [F, 1, H or 1, W or 1].
    """

    down: Tensor
    up: Tensor
    strength: Tensor

    def rows(self, rows: slice) -> LayerLoRA:
        """Return the same for some rows of places."""
        return self if self.strength.shape[2] == 1 else replace(self, strength=self.strength[:, :, rows])

    def change(self, tokens: Tokens, frames: slice) -> Tensor:
        """Return s B A x of tokens x, [N, f, C], of some of the frames: [N, f, D]."""
        strength = frames_to_tokens(self.strength, len(self.strength))[:, frames]
        if len(strength) > 1:  # places, which every video of the batch has
            strength = strength.repeat(len(tokens) // len(strength), 1, 1)
        return linear(strength * linear(tokens, self.down), self.up)


@dataclass(frozen=True, slots=True, eq=False)
class Mixing:
    """How a slot's layers mix the frames of a clip.

    Attributes:
        time: windows for attention; None: it goes over all frames.
        scale: factor on attention's logits; or one for each frame that is looked at, [F].
        merges: changes of what the first attention of the first block reads, in their order.
        loras: changes of what a linear layer answers.
        views: numbers of each video's cameras, [B, F, 12]; None: all 0.
    """

    time: Time | None = None
    scale: float | Tensor = 1.0
    merges: Sequence[TokenMerge] = ()
    loras: Mapping[nn.Module, Sequence[LayerLoRA]] = field(
        default_factory=dict[nn.Module, Sequence[LayerLoRA]]
    )
    views: Tensor | None = None

    @property
    def tells_frames_apart(self) -> bool:
        """Whether attention treats a frame by its number, and not by its place in a window alone."""
        return bool(self.merges or self.loras) or isinstance(self.scale, Tensor)

    def rows(self, rows: slice) -> Mixing:
        """Return the same for some rows of places."""
        loras = {layer: [each.rows(rows) for each in changes] for layer, changes in self.loras.items()}
        return replace(self, merges=[each.rows(rows) for each in self.merges], loras=loras)

    def after_first(self) -> Mixing:
        """Return the same for the attentions behind the first."""
        return replace(self, merges=()) if self.merges else self

    def beside_views(self, tokens: Tokens) -> Tensor:
        """Return tokens, [N, F, C], with the numbers of their frame's camera behind them, [N, F, C + 12]."""
        if self.views is None:
            return pad(tokens, (0, VIEW_NUMBERS))
        views = self.views.to(tokens).repeat_interleave(len(tokens) // len(self.views), dim=0)
        return torch.cat([tokens, views], dim=-1)

    def apply(self, layer: nn.Module, tokens: Tokens, frames: slice = ALL_FRAMES) -> Tensor:
        """Return what a linear layer answers to tokens, [N, f, C], of some of the frames."""
        answer = layer(tokens)
        for each in self.loras.get(layer, ()):
            answer = answer + each.change(tokens, frames)
        return answer


PLAIN = Mixing()
"""Attention over all frames, by the module's own weights alone."""
