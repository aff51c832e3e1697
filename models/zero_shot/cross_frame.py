"""Cross-frame attention: self-attention in which every frame takes keys and values from other frames of its clip.

With z_f a layer's tokens of frame f, its answer for that frame becomes

    softmax(Q(z_f) K(s_f)^T / sqrt(D)) V(s_f),    s_f = (1 - w) z_f + w a_f    by a strength w

    first               a_f = z_0                  first + previous    a_f = z_0, then z_(f-1), each mixed with z_f
    previous            a_f = z_(f-1)              chosen frame        a_f = z_n

Tokens are exchanged before they are projected, which is the same as exchanging keys and values. Where all frames read
one anchor, its tokens are handed over once a condition, and a host projects them once.

Source: Text2Video-Zero (Khachatryan et al. 2023), https://arxiv.org/abs/2303.13439, section 3.3.2; first and previous
frame together: Tune-A-Video (Wu et al. 2022), https://arxiv.org/abs/2212.11565, section 3.2.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

import torch
from einops import rearrange
from torch import Tensor

from ..edits.call import Call
from ..edits.edit import Part, Source
from ..network.unet import SD1, UNetSize, check_levels
from ..video.shapes import Ids, Tokens

Anchor = Literal["first", "previous", "first + previous", "chosen frame"]
AnchorMemory: TypeAlias = dict[Hashable, Tensor]
"""Tokens of z_n, [videos, 1, R, L, C], by layer and condition, for calls that see part of a clip (context windows).

A call with frame n leaves them, and a call without reads the latest: this step's, if the window of n comes first.
"""


@dataclass(frozen=True, slots=True)
class CrossFrameEdit(Part):
    """Let frames attend to other frames; an ``Edit``'s ``self_attention``."""

    anchor: Anchor = "first"
    frame: int = 0  # n
    strength: float = 1.0  # w, 0..1
    start_percent: float = 0.0  # part of sampling in which it acts, as ``Call.progress``
    end_percent: float = 1.0
    levels: frozenset[int] = frozenset(SD1.levels)
    in_control: bool = True  # True: it acts inside ControlNets too

    def acts(self, call: Call) -> bool:
        """Tell whether it acts: in its part of sampling, and not on a clip of a single frame."""
        is_clip = call.frames > 1 or call.is_part
        return self.strength != 0 and is_clip and self.start_percent <= call.progress <= self.end_percent

    def check_fit(self, network: UNetSize) -> None:
        """Check that a network attends at its levels; of several, some may be missing."""
        check_levels(self.levels, network, "cross-frame attention")

    def memory(self) -> AnchorMemory:
        """Return a memory of nothing yet."""
        return AnchorMemory()

    def read(self, tokens: Tokens, call: Call, memory: AnchorMemory, layer: Hashable) -> Source:
        """Return s_f for all frames f: one row for all where whole pictures read one anchor at strength 1."""
        check_call(self, tokens, call)
        z = rearrange(tokens, "(b f r) l c -> b f r l c", b=call.videos * len(call.conditions), f=call.frames)
        w, at = self.strength, partial(_anchor, z, call, memory, layer)
        match self.anchor:
            case "first":
                a = [at(0)]
            case "chosen frame":
                a = [at(self.frame)]
            case "previous":
                a = [z[:, _previous(call.frame_ids)]]
            case "first + previous":
                a = [at(0), z[:, _previous(call.frame_ids)]]
        if len(a) == 1 and a[0].shape[1] == 1 and w == 1 and z.shape[2] == 1:
            return Source(a[0][:, 0, 0], is_shared=True)
        s = torch.cat([a_f.expand_as(z) if w == 1 else torch.lerp(z, a_f, w) for a_f in a], 3)
        return Source(rearrange(s, "b f r s c -> (b f r) s c"), is_shared=False)


def _anchor(z: Tensor, call: Call, memory: AnchorMemory, layer: Hashable, n: int) -> Tensor:
    """Return z_n, [B, 1, R, L, C]: of the call, or as it is remembered, or the first frame's of the call."""
    f = call.frame_ids.index(n if n in call.frame_ids else min(call.frame_ids))
    keys = [(layer, condition.index, condition.key) for condition in call.conditions]
    here = list(zip(keys, z[:, f : f + 1].chunk(len(keys)), strict=True))
    if n not in call.frame_ids:
        kept = [(memory.get(key, z_n), z_n) for key, z_n in here]
        return torch.cat([old if old.shape == z_n.shape else z_n for old, z_n in kept])
    if call.is_part:
        memory.update((key, z_n.detach().clone()) for key, z_n in here)
    return z[:, f : f + 1]


def _previous(frame_ids: Ids) -> list[int]:
    """Return for each frame the place of the latest one before it in the call; the earliest has itself."""
    order = sorted(range(len(frame_ids)), key=frame_ids.__getitem__)
    before = dict(zip(order, [order[0], *order[:-1]], strict=True))
    return [before[place] for place in range(len(frame_ids))]


def check_call(edit: CrossFrameEdit, tokens: Tokens, call: Call) -> None:
    """Check that a call has the chosen frame, if it is of a whole clip, and a layer's rows for each frame.

    Raises:
        ValueError: it has not.
    """
    if edit.anchor == "chosen frame" and not call.is_part and edit.frame not in call.frame_ids:
        raise ValueError(
            f"cross-frame attention: got frame={edit.frame}; expected 0 to {max(call.frame_ids)}, a frame of the "
            "clip; lower frame."
        )
    videos = call.videos * len(call.conditions)
    if tokens.shape[0] % (videos * call.frames):
        raise ValueError(
            f"cross-frame attention: got {tokens.shape[0]} rows of tokens for {videos} x {call.frames} frames; "
            "expected a whole number a frame; take out the node behind it that regroups self-attention."
        )
