"""PIA: one picture tells a motion module what a clip looks like, and a number by frame how near each frame is to it.

PIA widens the UNet's first convolution W from 4 channels to 9: noisy latents x, affinity a_f in every place, latents z
of the picture. A convolution is linear, so that its 5 new channels are a convolution of their own, beside the base's:

    h_f = W [x_f, a_f, z] = W_4 x_f + W_5 [a_f, z] = h + P + a_f M,    P = W_5 [0, z],    M = W_5 [1, 0]

The base's convolution, whatever LoRA or further channels it has, stays as it is; P and M are the same for all frames.
Of several given pictures a frame has the nearest one's z, and the largest of its affinities. That is not PIA's
training, which gave one picture, or none: a and z are 0 then.

Source: PIA (Zhang et al. 2023), https://arxiv.org/abs/2312.13964, section 3.2, and the affinities of its code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..edits.call import Call
from ..video.curve import frame_curve
from ..video.shapes import Clip, Hidden
from .pictures import Picture, check_size, scale_latents

PICTURE_KEY = "picture_encoder.conv.weight"  # of W_5, in a motion module and in our files of them
PIA_KEY, PIA_CHANNELS = "conv_in.weight", 9  # of W, in PIA's files

AS_WRITTEN = "as written"
AFFINITIES: Mapping[str, str] = {
    "small motion": "1, 0.9, 0.85, 0.85, 0.85, 0.8",
    "medium motion": "1, 0.8, 0.8, 0.8, 0.79, 0.78, 0.75",
    "large motion": "1, 0.8, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.6, 0.5, 0.5",
    "small motion, loop": "1, 0.9, 0.85, 0.85, 0.85, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.85, 0.85, 0.9, 1",
    "medium motion, loop": "1, 0.8, 0.8, 0.8, 0.79, 0.78, 0.75, 0.75, 0.75, 0.75, 0.75, 0.78, 0.79, 0.8, 0.8, 1",
    "large motion, loop": "1, 0.8, 0.7, 0.7, 0.7, 0.7, 0.6, 0.5, 0.5, 0.6, 0.7, 0.7, 0.7, 0.7, 0.8, 1",
    "small motion, style transfer": "0.5, 0.4, 0.4, 0.4, 0.35, 0.3",
    "medium motion, style transfer": "0.5, 0.4, 0.4, 0.4, 0.35, 0.35, 0.3, 0.25, 0.2",
    "large motion, style transfer": "0.5, 0.2",
}
"""Affinities by a frame's distance from the given one, which PIA's authors recommend. Loops are of 16 frames."""


def read_affinity(affinity: str, written: str, frames: int) -> Tensor:
    """Return affinities by distance from the given frame, [frames] float32; behind their end the last goes on.

    Args:
        affinity: name among ``AFFINITIES``, or ``AS_WRITTEN``.
        written: affinities that count in the latter case, as ``curve.frame_curve`` reads them.
        frames: number of distances, at least the clip's frames.

    Raises:
        ValueError: they are no numbers from 0 to 1.

    Examples:
        >>> read_affinity("large motion, style transfer", "", 3).tolist()
        [0.5, 0.20000000298023224, 0.20000000298023224]
    """
    values = frame_curve("affinities", AFFINITIES.get(affinity, written), frames)
    for value in (float(values.min()), float(values.max())):
        if not 0 <= value <= 1:
            raise ValueError(
                f"affinities: got {value:g}; expected 0 to 1, where 1 is the picture; correct it."
            )
    return values


def check_pia(name: str, has_encoder: bool) -> None:
    """Check that a motion module, by its file's name, is PIA's.

    Raises:
        ValueError: it has no picture encoder.
    """
    if not has_encoder:
        raise ValueError(
            f"motion: got {name}, which has no picture encoder; expected a PIA module; choose pia.ckpt in Load Motion "
            "Module, add a PIA adapter with Load Motion LoRA, or animate the picture with Hold Frames."
        )


@dataclass(frozen=True, eq=False)
class PiaPicture(Picture):
    """Pictures that some frames of a clip are to look like.

    Attributes:
        latents: [K, 4, H, W] float. Pictures, in the model's own scale.
        frames: number of the frame that each is; all differ.
        affinity: [D] float. Affinity by distance from a given frame; of a longer one the last.
    """

    latents: Clip
    frames: tuple[int, ...]
    affinity: Tensor

    @staticmethod
    def of(latents: Clip, frames: Sequence[int], affinity: Tensor) -> PiaPicture:
        """Return pictures of latents as a VAE gives them, [K, 4, H, W], and of their frames' numbers.

        Of two that are one frame the last counts.
        """
        placed = dict(zip(frames, latents, strict=True))
        return PiaPicture(scale_latents(torch.stack(list(placed.values()))), tuple(placed), affinity)

    def nearest(self, frame_ids: Sequence[int]) -> list[int]:
        """Return which of the pictures is nearest to each frame; of two that are equally near, the earlier one."""
        order = sorted(range(len(self.frames)), key=lambda number: self.frames[number])
        return [min(order, key=lambda number: abs(self.frames[number] - frame)) for frame in frame_ids]

    def mask(self, frame_ids: Sequence[int]) -> Tensor:
        """Return a_f, [F, 1, 1, 1], the largest of a frame's affinities to given ones."""
        distances = (torch.tensor(frame_ids)[:, None] - torch.tensor(self.frames)).abs()
        return self.affinity[distances.clamp(max=len(self.affinity) - 1)].amax(1).view(-1, 1, 1, 1)

    def begin(self, hidden: Hidden, call: Call, network: Any) -> Tensor:
        """Return P + a_f M, what is added to the first convolution's output, [N, C, H, W].

        Raises:
            ValueError: the pictures have another size than the clip.
        """
        check_size("PIA Picture", self.latents, call)
        words = pad(
            self.latents.to(hidden), (0, 0, 0, 0, 1, 0, 0, 1)
        )  # [0, z] of each picture, and a row for [1, 0]
        words[-1, 0] = 1
        *pictures, near = network.picture_encoder.conv(words)
        change = torch.stack([pictures[number] for number in self.nearest(call.frame_ids)])
        change = change + self.mask(call.frame_ids).to(hidden) * near
        return change.repeat(len(hidden) // call.frames, 1, 1, 1)


class TaughtPicture(Picture):
    """The pictures of a batch in training, [z, a] of every frame in place of the frames that a call holds."""

    def begin(self, hidden: Hidden, call: Call, network: Any) -> Tensor | None:
        """Return W_5 [a, z], what is added to the first convolution's output, [N, C, H, W]."""
        if call.held is None:
            return None
        latents, affinity = call.held
        return network.picture_encoder.conv(torch.cat([affinity, latents], 1).to(hidden))
