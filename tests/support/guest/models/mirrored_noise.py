"""Start noise that goes there and back: the second half of a clip has that of the first half, backwards."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class MirroredNoise:
    """What a run starts from, as the seam ``noise`` has it."""

    def arrange(self, noise: Tensor) -> Tensor:
        """Return start noise, [F, C, H, W], whose frame F - 1 - k is frame k, of noise of a clip, [F, C, H, W]."""
        frames = len(noise)
        return noise[[min(frame, frames - 1 - frame) for frame in range(frames)]]
