"""FreeU with a strength for each frame (Si et al. 2023, arXiv 2309.11497).

A UNet's way up reads, side by side, h, features of its own (its backbone, which removes noise), and s, a skip from the
way down (which brings details). FreeU, before each block whose h is four or two times as wide as the finest level:

    h[first half of the channels] <- b h          s <- F^-1(m F(s)),    m = s_scale at the lowest frequencies, else 1

Here frame f has the strength a_f, which goes from one frame to another in a line, and in place of each scale, b and
s_scale, 1 + a_f (scale - 1): 0 is the plain model, 1 the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..edits.call import Call
from ..edits.edit import Part

_fft: Any = torch.fft  # its functions have no types
LOW = torch.tensor([-1, 0])  # the lowest frequencies of each axis, as the authors' code takes them


@dataclass(frozen=True)
class FreeU(Part):
    """What meets at skips.

    Attributes:
        b1: scale of h where it is four times as wide as the finest level.
        b2: scale of h where it is twice as wide.
        s1: scale of the lowest frequencies of s beside the first.
        s2: scale of those beside the second.
        first: strength in frame 0.
        last: strength in frame ``frames`` - 1, and in those behind.
        frames: number of frames over which the strength goes from first to last.
    """

    b1: float = 1.1
    b2: float = 1.2
    s1: float = 0.9
    s2: float = 0.2
    first: float = 1.0
    last: float = 1.0
    frames: int = 16

    def strengths(self, frame_ids: Sequence[int]) -> list[float]:
        """Return a_f of each frame."""
        ways = (min(frame / max(self.frames - 1, 1), 1.0) for frame in frame_ids)
        return [self.first + way * (self.last - self.first) for way in ways]

    def acts(self, call: Call) -> bool:
        """Tell whether any frame of a call has a strength."""
        return any(self.strengths(call.frame_ids))

    def join(self, hidden: Tensor, skip: Tensor, call: Call, factor: int) -> tuple[Tensor, Tensor]:
        """Return h, [N, C, H, W], and s, [N, D, H, W], scaled."""
        scales = {4: (self.b1, self.s1), 2: (self.b2, self.s2)}.get(factor)
        if scales is None:
            return hidden, skip
        strength = hidden.new_tensor(self.strengths(call.frame_ids)).repeat(len(hidden) // call.frames)
        b, s = (1 + strength[:, None, None, None] * (scale - 1) for scale in scales)
        first, second = hidden.chunk(2, dim=1)
        return torch.cat([first * b, second], dim=1), scale_low(skip, s)


def scale_low(x: Tensor, scale: Tensor) -> Tensor:
    """Scale the lowest frequencies of pictures: F^-1(m F(x)).

    Args:
        x: [N, C, H, W].
        scale: factor of each picture, [N, 1, 1, 1].
    """
    spectrum: Tensor = _fft.fft2(x.float())
    spectrum[..., LOW[:, None], LOW] *= scale
    return _fft.ifft2(spectrum).real.to(x.dtype)
