"""Cross-frame attention: self-attention in which every frame takes keys and values from other frames of its clip.

With z_f a layer's tokens of frame f, its answer for that frame becomes

    softmax(Q(z_f) K(s_f)^T / sqrt(D)) V(s_f),    s_f = (1 - w) z_f + w a_f    by a strength w

    first               a_f = z_0                  first + previous    a_f = z_0, then z_(f-1), each mixed with z_f
    previous            a_f = z_(f-1)              chosen frame        a_f = z_n

Queries stay a frame's own. Tokens are exchanged before they are projected, which is the same as exchanging keys and
values, since projections act on each token by itself. Where all frames read one anchor, its tokens are handed over
once per condition, not once per frame, and a host projects them once.

Source: Text2Video-Zero (Khachatryan et al. 2023), https://arxiv.org/abs/2303.13439, section 3.3.2; first and previous
frame together: Tune-A-Video (Wu et al. 2022), https://arxiv.org/abs/2212.11565, section 3.2.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor

from ..edits.call import Call
from ..edits.edit import Part, Source
from ..network.unet import SD1

Anchor = Literal["first", "previous", "first + previous", "chosen frame"]


@dataclass(frozen=True, slots=True)
class CrossFrameEdit(Part):
    """Let frames attend to other frames; an ``Edit``'s ``self_attention``.

    Attributes:
        anchor: frames whose tokens are keys and values.
        frame: n, absolute number of the chosen frame.
        strength: w, 0..1; at 1 a frame reads the anchor's tokens alone.
        start_percent, end_percent: part of sampling in which it acts, compared with ``Call.progress``.
        levels: levels of the UNet in which it acts.
        in_control: True: act inside ControlNets too.
    """

    anchor: Anchor = "first"
    frame: int = 0
    strength: float = 1.0
    start_percent: float = 0.0
    end_percent: float = 1.0
    levels: frozenset[int] = frozenset(SD1.levels)
    in_control: bool = True

    def acts(self, call: Call) -> bool:
        """Tell whether it acts: within its part of sampling, and not on a clip of a single frame."""
        is_clip = call.frames > 1 or call.is_part
        return self.strength != 0 and is_clip and self.start_percent <= call.progress <= self.end_percent

    def memory(self) -> AnchorMemory:
        """Return a memory of anchors."""
        return AnchorMemory()

    def read(self, tokens: Tensor, call: Call, memory: AnchorMemory, layer: Hashable) -> Source:
        """Return s_f for all frames f of a layer's tokens z, [B*F*R, L, C].

        Returns:
            Shared [B, L, C] tokens for one anchor at strength 1 of whole pictures, else [B*F*R, S, C].

        Raises:
            ValueError: the rows are no whole number of frames, or a whole clip lacks the chosen frame.
        """
        self._check(tokens, call)
        z = rearrange(tokens, "(b f r) l c -> b f r l c", b=call.videos * len(call.conditions), f=call.frames)
        w, anchors = self.strength, self._anchors(z, call, memory, layer)
        if len(anchors) == 1 and anchors[0].shape[1] == 1 and w == 1 and z.shape[2] == 1:
            return Source(anchors[0][:, 0, 0], is_shared=True)
        s = torch.cat([a.expand_as(z) if w == 1 else torch.lerp(z, a, w) for a in anchors], 3)
        return Source(rearrange(s, "b f r s c -> (b f r) s c"), is_shared=False)

    def _anchors(self, z: Tensor, call: Call, memory: AnchorMemory, layer: Hashable) -> list[Tensor]:
        """Return each a_f of z, [B, F, R, L, C], as such tokens; F = 1 where it is of one frame."""
        anchors: list[Tensor] = []
        if self.anchor != "previous":
            n = self.frame if self.anchor == "chosen frame" else 0
            anchors.append(memory.anchor(z, call, layer, n))
        if "previous" in self.anchor:
            anchors.append(z[:, _previous(call.frame_ids)])
        return anchors

    def _check(self, tokens: Tensor, call: Call) -> None:
        if self.anchor == "chosen frame" and not call.is_part and self.frame not in call.frame_ids:
            raise ValueError(
                f"cross-frame attention: got frame={self.frame}; expected 0 to {max(call.frame_ids)}, a frame of the "
                "clip; lower frame."
            )
        videos = call.videos * len(call.conditions)
        if tokens.shape[0] % (videos * call.frames):
            raise ValueError(
                f"cross-frame attention: got {tokens.shape[0]} rows of tokens for {videos} x {call.frames} frames; "
                "expected a whole number a frame; take out the node behind it that regroups self-attention."
            )


class AnchorMemory:
    """An anchor's tokens by layer and condition, for model calls that see only part of a clip (context windows).

    A call with the anchor in it leaves the anchor's tokens here, a call without it reads the latest, whatever
    conditions share its batch. So all windows of a step read the same anchor if the window that holds it comes first;
    else they read it as of the step before. Of all this, nothing outlives the run. A call that a gradient is taken of
    reads and leaves anchors as the call does that it is about, which comes next and leaves the same.
    """

    def __init__(self) -> None:
        self._tokens: dict[Hashable, Tensor] = {}

    def anchor(self, z: Tensor, call: Call, layer: Hashable, frame: int) -> Tensor:
        """Return the anchor's tokens, [B, 1, R, L, C].

        Args:
            z: [B, F, R, L, C]. Tokens of the call.
            call: model call that the layer is in.
            layer: name of the layer.
            frame: absolute number of the anchor. Where it was not seen yet, the clip's first frame here stands in.
        """
        keys = [(layer, condition.index, condition.key) for condition in call.conditions]
        place = call.frame_ids.index(frame if frame in call.frame_ids else min(call.frame_ids))
        tokens = z[:, place : place + 1]
        parts = list(zip(keys, tokens.chunk(len(keys)), strict=True))
        if frame not in call.frame_ids:
            return torch.cat([self._remembered(key, part) for key, part in parts])
        if call.is_part:
            self._tokens |= {key: part.detach().clone() for key, part in parts}
        return tokens

    def _remembered(self, key: Hashable, part: Tensor) -> Tensor:
        """Return what was kept under a key if it is of the shape of a part, [videos, 1, R, L, C], else the part."""
        kept = self._tokens.get(key)
        return kept if kept is not None and kept.shape == part.shape else part


def _previous(frame_ids: tuple[int, ...]) -> list[int]:
    """Return for each frame the place of the latest one before it in the call; the earliest has itself."""
    return [
        max(
            (other for other in range(len(frame_ids)) if frame_ids[other] < frame),
            key=frame_ids.__getitem__,
            default=place,
        )
        for place, frame in enumerate(frame_ids)
    ]
