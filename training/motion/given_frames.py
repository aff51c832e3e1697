"""Choose the frames of a clip that a mask adapter is given in training, as a mixture of its later tasks."""

from __future__ import annotations

import torch
from torch import Tensor

# Shares of clips by the frames given: none keeps text to video, both ends is NUWA-XL's local job, first is prediction.
NONE, ENDS, FIRST, LAST, SOME = 0.20, 0.45, 0.20, 0.05, 0.10
MOST = 3  # largest number of frames that are given at random places
LEAST_BETWEEN = 3  # smallest number of frames with something between the ends


def draw_given(clips: int, frames: int, generator: torch.Generator) -> Tensor:
    """Draw the given frames of each clip.

    20 % of clips have none, 45 % both ends, 20 % the first ones (one in half of the cases, else one to F // 2), 5 % the
    last alone, and 10 % one to three anywhere. At least one frame of a clip is not given.

    Args:
        clips: number of clips, B.
        frames: number of frames, F, at least ``LEAST_BETWEEN``.
        generator: source of the random numbers; the result depends on it alone.

    Returns:
        [B, F] bool, true for given frames.
    """
    kind = torch.rand(clips, generator=generator)
    count = torch.randint(1, min(MOST, frames - 1) + 1, (clips, 1), generator=generator)
    some = torch.rand(clips, frames, generator=generator).argsort(1).argsort(1) < count
    prefix = torch.randint(1, frames // 2 + 1, (clips, 1), generator=generator)
    prefix[torch.rand(clips, generator=generator) < 0.5] = 1
    limits = torch.tensor([NONE, ENDS, FIRST, LAST]).cumsum(0)
    index = (kind[:, None] >= limits).sum(1)  # 0 none, 1 ends, 2 first, 3 last, 4 some
    given = torch.zeros(clips, frames, dtype=torch.bool)
    given[:, 0] = index == 1
    given[:, -1] = (index == 1) | (index == 3)
    given |= (index == 2)[:, None] & (torch.arange(frames) < prefix)
    return torch.where((index == 4)[:, None], some, given)
