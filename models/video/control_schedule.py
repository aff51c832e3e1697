"""A ControlNet's strength by frame, by step, by place, by depth and by side of guidance.

What it adds to the UNet is multiplied by all of them: that to skip connection k of n, the finest of which is 0, by
``soft ** (n - k)``, that to the middle by 1.

Source: ControlNet's guess mode, https://github.com/lllyasviel/ControlNet, whose factor is 0.825, for depths; latent and
timestep keyframes of Advanced-ControlNet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from .curve import curve
from .frames import pick_frames

ROUNDING = 0.001  # hosts say how far sampling is in whole timesteps, of which there are 1000
NO_CONTROL = (
    "Control Schedule: got a condition without a ControlNet; expected one on each; connect what comes out of Apply "
    "ControlNet."
)


@dataclass(frozen=True, eq=False)
class ControlSchedule:
    """Factors on what a ControlNet adds.

    Attributes:
        by_frame: [F] float. A factor for each frame; of a longer clip the last goes on.
        by_step: factors by shares of sampling.
        soft: factor from one depth to the next coarser, 1 at the middle.
        negative: factor on the negative prompt's side.
        mask: [N, H, W] 0..1. Factors by place, for all frames or for each; None: everywhere 1.
    """

    by_frame: Tensor
    by_step: Mapping[float, float]
    soft: float = 1.0
    negative: float = 1.0
    mask: Tensor | None = None

    def pick(self, frame_ids: Sequence[int]) -> ControlSchedule:
        """Return the schedule of some of the clip's frames, as a clip of their own."""
        mask = None if self.mask is None else pick_frames(self.mask, frame_ids)
        return replace(self, by_frame=self._of(frame_ids), mask=mask)

    def weigh(
        self,
        added: Tensor,
        depth: int | None,
        depths: int,
        *,
        frame_ids: Sequence[int],
        progress: float,
        sides: Sequence[int],
    ) -> Tensor:
        """Return what is added to one skip connection or to the middle, weighed.

        Args:
            added: batch of features, [chunks * F, C, H, W]; sizes may be 1 where they are the same everywhere.
            depth: number of the skip connection, from the finest; None: the middle.
            depths: number of skip connections.
            frame_ids: number of each frame in its clip.
            progress: share of sampling that is done.
            sides: side of each chunk, 1 the negative prompt's.
        """
        (step,) = self.at([progress])
        step *= 1.0 if depth is None else self.soft ** (depths - depth)
        side = torch.tensor([self.negative if each == 1 else 1.0 for each in sides])
        factor = step * (side[:, None] * self._of(frame_ids)).flatten().view(-1, 1, 1, 1)
        if self.mask is not None:
            mask = pick_frames(self.mask, frame_ids)[:, None].float()
            mask = interpolate(mask, added.shape[-2:], mode="bilinear", antialias=True)
            factor = factor * mask.expand(len(frame_ids), -1, -1, -1).repeat(len(sides), 1, 1, 1)
        return added * factor.to(added)

    def at(self, progress: Sequence[float]) -> list[float]:
        """Return the factors by step at some shares of sampling; each holds until the next."""
        shares = torch.tensor(progress, dtype=torch.float64) + ROUNDING
        return [float(value) for value in curve(self.by_step, shares, "hold")]

    def _of(self, frame_ids: Sequence[int]) -> Tensor:
        last = len(self.by_frame) - 1
        return self.by_frame[[min(frame, last) for frame in frame_ids]]
