"""Shapes by name, said once: a tensor's annotation is one of these, and its axes are the letters below everywhere.

F frames of a clip; C channels; H rows and W columns, of cells in latents and of pixels in pictures. B clips; N = B F
pictures, the frames of a clip side by side. L places of a layer's grid, row by row; S tokens of a prompt; D features.
A plain ``Tensor`` has its shape in brackets where it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from torch import Tensor

Ids: TypeAlias = Sequence[int]
"""Numbers of some frames, from 0; those of a window are numbers of the whole clip's frames."""

Clip: TypeAlias = Tensor
"""[F, C, H, W] float. Latents of a clip's frames, frame 0 first; or pictures, 0..1, where C is 3."""

Frame: TypeAlias = Tensor
"""[1, C, H, W] float. A clip of one frame."""

Images: TypeAlias = Tensor
"""[F, H, W, 3] float, 0..1. Pictures as an IMAGE socket has them."""

Maps: TypeAlias = Tensor
"""[F, H, W] float. A number for each place of each frame."""

Masks: TypeAlias = Tensor
"""[F, H, W] float, 0..1. How much of each place is inside: 1 all of it."""

Boxes: TypeAlias = Tensor
"""[F, 4] float, 0..1. Left, top, right and bottom of a thing in each frame, as shares of the picture's sides."""

Presence: TypeAlias = Tensor
"""[F] bool. Frames in which a thing is there; its box in the others means nothing."""

Sigmas: TypeAlias = Tensor
"""[steps + 1] float. Noise levels from first to last, in variance-exploding units: noise over signal."""

Hidden: TypeAlias = Tensor
"""[N, C, H, W] float. What a layer of a UNet makes of N pictures."""

Tokens: TypeAlias = Tensor
"""[N, L, D] float. A vector of D features for each of L places; N rows attend by themselves."""
