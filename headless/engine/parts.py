"""A model call in parts of its frames: each is a call of the UNet of its own, as if the clip were shorter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from ...models.edits.lockstep import Cut, Lockstep
from .edits import EditedRun


class InParts(nn.Module):
    """A UNet that is asked in parts. It is a module, so that a clone's weights are put in once for all parts.

    State:
        unet.*
    """

    def __init__(self, unet: UNet2DConditionModel, run: EditedRun, cut: Cut) -> None:
        """Take the UNet with its hooks, the run that they ask, and how batches are cut."""
        super().__init__()
        self.unet, self._run, self._cut = unet, run, cut

    def forward(self, seen: Tensor, step: Tensor, **options: Any) -> tuple[Tensor]:
        """Return what the UNet answers, [N, C, H, W], with arguments like its own."""

        def of_part(frames: slice) -> Callable[[], Tensor]:
            own, told = self._cut.take(seen, frames), self._cut.take(options, frames)
            return lambda: self.unet(own, step, **told)[0]

        lockstep = Lockstep(self._cut)
        with self._run.in_parts(lockstep):
            return (lockstep.run([of_part(frames) for frames in self._cut.parts]),)
