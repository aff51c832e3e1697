"""SparseCtrl's flash: given frames of a clip whose light and contrast differ from those of the frames beside them.

With m_f the mean and the logarithm of the deviation of a frame's latents over the picture, for each channel, a given
frame g is expected to have e_g: what m is at g on the line between the nearest frames on both sides that are not given,
or at an end of the clip what it is at the nearest one. Its flash is d_g = m_g - e_g. It is taken away where

    given frames get     m_g - d_g     so that no given frame has a flash; their colours are no longer the pictures', or
    other frames get     m_f + d(f)    where d goes from d_g to d_g on lines, and on beyond the first and the last: no
                                       flash is left where all d_g are one, as with one given frame

A frame gets other moments by one factor and one summand a channel: z <- (z - mean) * factor + mean'. So what a frame
shows stays. What its neighbours have of its flash counts as theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..video.shapes import Clip

Flash = Literal["as drawn", "given like others", "others like given"]
_LEAST = 1e-6  # of a deviation; less is a plain area, which no factor gives contrast
_PICTURE = (-2, -1)


@dataclass(frozen=True)
class EvenFrames:
    """Take the flash of given frames away; an ``Edit``'s ``result``.

    Attributes:
        places: frames that are given.
        flash: frames that change, in the words of the node.
    """

    places: tuple[int, ...]
    flash: Flash = "given like others"

    def finish(self, clip: Clip) -> Clip:
        """Return the clip without flash, of a sampled one, [F, C, H, W]."""
        given = sorted({place for place in self.places if place < len(clip)})
        others = [frame for frame in range(len(clip)) if frame not in given]
        if not given or not others or self.flash == "as drawn":
            return clip
        now = moments(clip)
        shown = torch.arange(len(clip), dtype=now.dtype, device=now.device)
        flash = now[given] - on_lines(shown[given], shown[others], now[others])
        wanted = now.clone()
        if self.flash == "given like others":
            wanted[given] -= flash
        else:
            wanted[others] += on_lines(shown[others], shown[given], flash)
        changed = given if self.flash == "given like others" else others
        result = clip.clone()
        result[changed] = with_moments(clip[changed], now[changed], wanted[changed])
        return result


def moments(clip: Clip) -> Tensor:
    """Return the mean and the logarithm of the deviation of each channel of each frame, [F, C, 2] float32."""
    values = clip.float()
    deviation = values.std(_PICTURE, correction=0).clamp(min=_LEAST)
    return torch.stack([values.mean(_PICTURE), deviation.log()], -1)


def with_moments(clip: Clip, now: Tensor, wanted: Tensor) -> Clip:
    """Return a clip with other moments, [F, C, 2], than it has."""
    factor = (wanted - now)[..., 1].exp()[..., None, None]
    mean, new_mean = now[..., 0, None, None], wanted[..., 0, None, None]
    return ((clip.float() - mean) * factor + new_mean).to(clip)


def on_lines(at: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """Return values on the lines between knots, [N, ...], and beyond the ends the nearest one.

    Args:
        at: places that are asked about, [N].
        knots: places of values, [K], in order.
        values: [K, ...].
    """
    after = torch.searchsorted(knots, at).clamp(max=len(knots) - 1)
    before = (torch.searchsorted(knots, at, right=True) - 1).clamp(min=0)
    span = (knots[after] - knots[before]).clamp(min=1)
    share = ((at - knots[before]) / span).clamp(0, 1)
    return torch.lerp(values[before], values[after], share.reshape(-1, *[1] * (values.dim() - 1)))
