"""A ControlNet's strength by frame, by step, by place, by depth and by side of guidance.

What it adds to the UNet is multiplied by all of them: that to skip connection k of n, the finest of which is 0, by
``soft ** (n - k)``, that to the middle by 1.

Source: ControlNet's guess mode, https://github.com/lllyasviel/ControlNet, whose factor is 0.825, for depths; latent and
timestep keyframes of Advanced-ControlNet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from .factors import Factors
from .grid import Tiles


@dataclass(frozen=True, eq=False)
class ControlSchedule:
    """Factors on what a ControlNet adds.

    Attributes:
        factors: factors by frame, by step and by place.
        soft: factor from one depth to the next coarser, 1 at the middle.
        negative: factor on the negative prompt's side.
    """

    factors: Factors
    soft: float = 1.0
    negative: float = 1.0

    def pick(self, frame_ids: Sequence[int]) -> ControlSchedule:
        """Return the schedule of some of the clip's frames, as a clip of their own."""
        return replace(self, factors=self.factors.pick(frame_ids))

    def weigh(
        self,
        added: Tensor,
        depth: int | None,
        depths: int,
        *,
        frame_ids: Sequence[int],
        progress: float,
        sides: Sequence[int],
        tiles: Tiles | None = None,
    ) -> Tensor:
        """Return what is added to one skip connection or to the middle, weighed.

        Args:
            added: batch of features, [chunks * F, C, H, W]; sizes may be 1 where they are the same everywhere.
            depth: number of the skip connection, from the finest; None: the middle.
            depths: number of skip connections.
            frame_ids: number of each frame in its clip.
            progress: share of sampling that is done.
            sides: side of each chunk, 1 the negative prompt's.
            tiles: pictures in which the frames lie, one picture for each F of the batch; None: none.
        """
        size = added.shape[-2:]
        if tiles is None:
            factors = self.factors.at(frame_ids, progress, size)
        else:
            cell = [-(-length // tiles.side) for length in size]
            by_cell = self.factors.at(frame_ids, progress, cell).expand(-1, -1, *cell)
            factors = interpolate(tiles.tile(by_cell), tuple(size))
        factors = torch.cat([factors * (self.negative if side == 1 else 1.0) for side in sides])
        return added * (factors * (1.0 if depth is None else self.soft ** (depths - depth))).to(added)


def exchange_controls(
    sides: Sequence[Sequence[Any]], exchange: Callable[[Any], Any]
) -> list[list[list[Any]]]:
    """Return CONDITIONINGs with other ControlNets.

    Args:
        sides: lists of tokens and options.
        exchange: function from a condition's ControlNet to another one.

    Raises:
        ValueError: a condition has none.
    """

    def of(options: Mapping[str, Any]) -> dict[str, Any]:
        if options.get("control") is None:
            raise ValueError(
                "Control Schedule: got a condition without a ControlNet; expected one on each; connect what comes out "
                "of Apply ControlNet."
            )
        return {**options, "control": exchange(options["control"])}

    return [[[tokens, of(options)] for tokens, options in side] for side in sides]
