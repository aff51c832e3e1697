"""Which frames of a clip a mask adapter is given in training: a mixture of what it will be asked to fill."""

from __future__ import annotations

import torch
from torch import Tensor

# Shares of clips by what is given: none keeps text to video, both ends is NUWA-XL's local job, the first is prediction.
NONE, ENDS, FIRST, LAST, SOME = 0.20, 0.45, 0.20, 0.05, 0.10
MOST = 3  # frames that are given at random
LEAST_BETWEEN = 3  # frames of a clip that has something between its ends


def draw_given(clips: int, frames: int, generator: torch.Generator) -> Tensor:
    """Draw which frames of each clip are given.

    Nothing (20 % of clips), both ends (45 %), the first ones (20 %: one in half of the cases, else one to F // 2), the
    last alone (5 %), or one to three anywhere (10 %). At least one frame of a clip is not given.

    Args:
        clips: number of clips, B.
        frames: number of frames, F, at least 3.
        generator: source of the random numbers; the result depends on it alone.

    Returns:
        [B, F] bool, true for given frames.

    Raises:
        ValueError: as ``check_between``.
    """
    check_between(frames)
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


def check_between(frames: int) -> None:
    """Check that a clip has something between its ends.

    Args:
        frames: number of frames of the clip.

    Raises:
        ValueError: it hasn't.
    """
    if frames < LEAST_BETWEEN:
        raise ValueError(
            f"frames={frames} leaves nothing between a clip's ends; expected at least {LEAST_BETWEEN}; raise the data "
            "set's frames."
        )
