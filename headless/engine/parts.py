"""A model call in parts of its frames: each is a call of the UNet of its own, as if the clip were shorter.

How many frames go at once where nothing says so, is ComfyUI's rule for conditions: its estimate of what a UNet of SD1.5
needs, 0.01 MiB for each byte of its latents' cells in one channel, must fit one and a half times into what is free.
"""

from __future__ import annotations

from typing import Any

import psutil
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from ...models.edits.edit import Chunks
from ...models.edits.lockstep import Cut, Lockstep
from .edits import EditedRun

_NEEDED, _ROOM = 0.01 * 2**20, 1.5


def find_cut(chunks: Chunks | None, seen: Tensor, frames: int) -> Cut:
    """Return how a batch is cut; in one part, it is not.

    Args:
        chunks: part that says how many frames go at once; None: as many as there is room for.
        seen: [N, C, H, W]. Batch of the call.
        frames: frames of each of its videos.
    """

    def fits(pictures: int) -> bool:
        return pictures * seen[0, 0].nbytes * _NEEDED * _ROOM < _free(seen.device)

    return Cut.of(len(seen), frames, chunks, fits)


def _free(device: torch.device) -> float:
    """Return the bytes that are free on a device, or that torch has and does not use."""
    if device.type != "cuda":
        return psutil.virtual_memory().available
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused


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

        def ask(part: tuple[Tensor, dict[str, Any]]) -> Tensor:
            own, told = part
            return self.unet(own, step, **told)[0]

        lockstep = Lockstep(self._cut)
        with self._run.in_parts(lockstep):
            return (lockstep.run(ask, (seen, options)),)
