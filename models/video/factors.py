"""Factors that change over a clip, over sampling and over the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from .curve import Easing, curve, frame_curve, step_keys
from .frames import pick_frames

ROUNDING = 0.001  # hosts say how far sampling is in whole timesteps, of which there are 1000


@dataclass(frozen=True, eq=False)
class Factors:
    """Factors by frame, by step and by place, which are multiplied.

    Attributes:
        by_frame: [F] float. A factor for each frame; of a longer clip the last goes on.
        by_step: factors by shares of sampling; each holds until the next.
        mask: [N, H, W] 0..1. Factors by place, for all frames or for each; None: everywhere 1.
    """

    by_frame: Tensor
    by_step: Mapping[float, float]
    mask: Tensor | None = None

    def pick(self, frame_ids: Sequence[int]) -> Factors:
        """Return the factors of some of the clip's frames, as of a clip of their own."""
        mask = None if self.mask is None else pick_frames(self.mask, frame_ids)
        return replace(self, by_frame=self._of(frame_ids), mask=mask)

    def at(self, frame_ids: Sequence[int], progress: float, size: Sequence[int]) -> Tensor:
        """Return the factors of some frames.

        Args:
            frame_ids: number of each frame in its clip.
            progress: share of sampling that is done.
            size: height and width of what they are for.

        Returns:
            [F, 1, H, W], or [F, 1, 1, 1] without a mask.
        """
        (step,) = self.at_steps([progress])
        factors = step * self._of(frame_ids).view(-1, 1, 1, 1)
        if self.mask is None:
            return factors
        mask = pick_frames(self.mask, frame_ids)[:, None].float()
        return factors * interpolate(mask, tuple(size), mode="bilinear", antialias=True)

    def scale(
        self, value: float | Tensor, frame_ids: Sequence[int], progress: float, size: Sequence[int]
    ) -> Tensor:
        """Return a value of all frames, or one of each, times their factors; the rest is as ``at`` has it."""
        factors = self.at(frame_ids, progress, size)
        return value * (factors.to(value) if isinstance(value, Tensor) else factors)

    def at_steps(self, progress: Sequence[float]) -> list[float]:
        """Return the factors by step at some shares of sampling."""
        shares = torch.tensor(progress, dtype=torch.float64) + ROUNDING
        return [float(value) for value in curve(self.by_step, shares, "hold")]

    def _of(self, frame_ids: Sequence[int]) -> Tensor:
        last = len(self.by_frame) - 1
        return self.by_frame[[min(frame, last) for frame in frame_ids]]


def read_factors(
    frames: int, strength: str, between: Easing, by_step: str, mask: Tensor | None = None
) -> Factors:
    """Read factors as users write them.

    Args:
        frames: length of the clip.
        strength: factors by frame, as ``curve.frame_curve`` reads them.
        between: way from key to key.
        by_step: factors by share of sampling, as ``curve.step_keys`` reads them.
        mask: factors by place, [N, H, W].

    Raises:
        ValueError: a text is something else.
    """
    by_frame = frame_curve("strength", strength, frames, between)
    return Factors(by_frame, step_keys("by_step", by_step), mask)
