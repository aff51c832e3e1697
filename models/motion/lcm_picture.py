"""AnimateLCM-I2V's pictures: maps of its image encoder, added on a UNet's way down before the motion module.

With x what comes to the second slot of a level's block on the way down, m_i the level's map of the frame, and T(x) what
the motion module adds,

    x <- x + strength * (m_i + T(x + m_i))

Source: AnimateLCM (Wang et al. 2024), https://arxiv.org/abs/2402.00769, and its code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..edits.call import Call
from ..network.unet import SD1
from ..video.shapes import Clip, Hidden
from .pictures import Picture, check_size

PLACES = {f"down_blocks.{level}.motion_modules.1": level for level in SD1.levels}
"""Slots before which maps are added, and the levels that these are of."""


@dataclass(frozen=True, eq=False)
class LcmPicture(Picture):
    """A picture that a clip is to begin as, or one for each frame.

    Attributes:
        latents: [1 or F, 4, H, W] float. Pictures, in the model's own scale; behind the last it goes on.
        drift: factor on the places of frames: 0 stands still.
    """

    latents: Clip
    drift: float

    def enter(self, slot: str, hidden: Hidden, call: Call, network: Any) -> Tensor | None:
        """Return what is added before a slot; a clip's maps are made once for all calls about the same frames."""
        if slot not in PLACES:
            return None
        check_size("AnimateLCM Picture", self.latents, call)
        rows = tuple(min(frame, len(self.latents) - 1) for frame in call.frame_ids)
        key = (rows, hidden.dtype, hidden.device)
        known, maps = call.memory.get(self, (None, ()))
        if known != key:
            maps = self._encode(rows, hidden, network)
            call.memory[self] = key, maps
        return maps[PLACES[slot]].repeat(len(hidden) // call.frames, 1, 1, 1)

    def _encode(self, rows: Sequence[int], hidden: Hidden, network: Any) -> list[Tensor]:
        one = self.drift == 0 and len(set(rows)) == 1
        latents = self.latents[list(rows[:1] if one else rows)]
        maps: list[Tensor] = network.img_encoder(latents.to(hidden), self.drift)
        return [each.expand(len(rows), -1, -1, -1) for each in maps] if one else maps


def check_lcm(name: str, has_encoder: bool, pictures: int, frames: int) -> None:
    """Check that a motion module is AnimateLCM-I2V's, and that there is a picture for all frames or one for each.

    Args:
        name: name of the module's file.
        has_encoder: True where it has an image encoder.
        pictures: number of pictures.
        frames: number of the clip's frames.

    Raises:
        ValueError: it is another, or there are more or fewer.
    """
    if not has_encoder:
        raise ValueError(
            f"motion: got {name}, which has no image encoder; expected AnimateLCM's image-to-video module; choose "
            "AnimateLCM_sd15_i2v.ckpt in Load Motion Module, or animate the picture with Hold Frames."
        )
    if pictures not in (1, frames):
        raise ValueError(
            f"images: got {pictures} pictures for a clip of {frames} frames; expected one, or one for each frame; take "
            "some out, or change the latent's batch_size."
        )
