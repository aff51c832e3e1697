"""RAVE: a video edited by a model of pictures, which sees k x k of its frames at a time as one picture.

In every step the frames of a clip are shuffled, laid into pictures, denoised there and taken back to their places. In a
picture self-attention and convolutions go over all of its frames, so these get one look; another shuffle in every step
spreads the look over the clip. With P_t the shuffle of step t, G the laying, and d the model's prediction:

    x_{t-1} = step(x_t, P_t^-1 G^-1 d(G P_t x_t, G P_t c))

where c are the pictures of ControlNets, which follow their frames.

Of F frames, F mod k^2 are left after the last full picture. The published code drops them. Here they get a picture with
the last frames of the one before, and a frame of both gets the mean of its two predictions. A clip of fewer than k^2
frames begins again in its picture.

Source: RAVE (Kara et al. 2023), https://arxiv.org/abs/2312.04524, section 3.3; its code at
https://github.com/rehg-lab/RAVE, whose grids are of 3 x 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..edits.call import PAYLOAD
from ..edits.edit import Edit, Part
from ..video.windows import Window

# Seams of edits that see noise, noise levels or pictures, and no frames.
_BESIDE = ("schedule", "noise", "run", "chunks", "skips")


@dataclass(frozen=True, slots=True)
class Rave(Part):
    """Shuffled frames in pictures: a part of *windows*, one for each picture, and of *grid*.

    Attributes:
        side: k, frames of a row and of a column; 1 changes nothing.
        seed: seed of the shuffles.
    """

    side: int = 3
    seed: int = 0

    @property
    def length(self) -> int:
        """Frames of a picture."""
        return self.side**2

    @property
    def overlap(self) -> int:
        """Frames that all pictures have in common."""
        return 0

    @property
    def anchored(self) -> bool:
        """False: a window is asked about alone."""
        return False

    def is_needed(self, frames: int) -> bool:
        """Tell whether a clip is shuffled."""
        return self.side > 1 and frames > 1

    def windows(self, frames: int, step: int) -> list[Window]:
        """Return the frames of each picture of a step, in the order of its cells.

        Args:
            frames: F, length of the clip.
            step: number of the sampler's step, whose shuffle is that drawn after those of the steps before.
        """
        generator = torch.Generator().manual_seed(self.seed)
        draws = [torch.randperm(frames, generator=generator) for _ in range(step + 1)]
        order = [int(frame) for frame in draws[-1]]
        last = max(0, frames - self.length)
        return [tuple(order[min(start, last) :][: self.length]) for start in range(0, frames, self.length)]

    def weigh(self, window: Window, frames: int) -> list[float]:
        """Return what each frame of a picture counts: the same."""
        del frames
        return [1.0] * len(window)

    def check(self, edits: Sequence[Edit], conditions: Sequence[Mapping[str, Any]]) -> None:
        """Check that nothing else acts on frames, which lie in pictures here.

        Raises:
            ValueError: something does.
        """
        for edit in edits:
            wrong = [seam for seam, part in edit.parts() if part is not self and seam not in _BESIDE]
            if wrong:
                raise ValueError(
                    f"model: got {edit.name} beside RAVE; expected no other node that acts on frames, since RAVE lays "
                    f"frames into pictures; take {edit.name} out of the graph, or RAVE."
                )
        for options in conditions:
            if options.get(PAYLOAD) or options.get("gligen") is not None:
                raise ValueError(
                    "conditioning: got a layout, or boxes of GLIGEN, for RAVE; expected a prompt with masks or "
                    "ControlNets at most, since RAVE lays frames into pictures; use Conditioning (Set Mask)."
                )


def rave_edit(side: int, seed: int) -> Edit:
    """Return RAVE as an edit."""
    part = Rave(side, seed)
    return Edit("RAVE", windows=part, grid=part)
