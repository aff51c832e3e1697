"""A decoded frame as people see it: turned or mirrored as its file says, with square pixels, on white.

The pixels of every decoder pass through here on their way to a clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

BACKGROUND = 255  # value of every channel behind transparent pixels: white, as most viewers show it


@dataclass(frozen=True)
class Turn:
    """The turn of stored pixels: first rows and columns are exchanged, then sides.

    Attributes:
        swap: True if rows become columns.
        mirror: True if left and right change places, after that.
        flip: True if top and bottom change places, after that.
    """

    swap: bool = False
    mirror: bool = False
    flip: bool = False

    @staticmethod
    def of(frame: Any) -> Turn:
        """Read the display matrix of a frame, since PyAV's ``rotation`` does not show mirroring.

        FFmpeg's matrix puts the pixel (x, y) at (a x + c y, b x + d y), with y downwards. A slanting matrix counts as
        the nearest of the eight that keep pixels square.
        """
        matrix = frame.side_data.get("DISPLAYMATRIX")
        if matrix is None:
            return Turn()
        a, b, _, c, d, *_ = (int(each) for each in np.frombuffer(bytes(matrix), np.int32))
        if abs(b) + abs(c) > abs(a) + abs(d):
            return Turn(True, c < 0, b < 0)
        return Turn(False, a < 0, d < 0)

    def apply(self, pixels: Tensor) -> Tensor:
        """Return pixels, [H, W, 3], as a player shows them."""
        pixels = pixels.transpose(0, 1) if self.swap else pixels
        sides = [axis for axis, is_turned in ((1, self.mirror), (0, self.flip)) if is_turned]
        return pixels.flip(sides) if sides else pixels


def upright_size(frame: Any, aspect: Fraction) -> tuple[int, int]:
    """Return width and height of a frame as a player shows it.

    Args:
        frame: PyAV frame.
        aspect: width of a pixel for a height of 1.
    """
    width, height = max(1, round(frame.width * aspect)), frame.height
    return (height, width) if Turn.of(frame).swap else (width, height)


def scale_to_cover(width: int, height: int, wanted_width: int, wanted_height: int) -> float:
    """Return the factor by which a picture grows until it covers the wanted size."""
    return max(wanted_width / width, wanted_height / height)


def fit(frame: Any, width: int, height: int, aspect: Fraction = Fraction(1)) -> Tensor:
    """Turn a frame upright, scale it until it covers a size, and keep the centre.

    Args:
        frame: PyAV frame in any pixel format.
        width: width in pixels.
        height: height in pixels.
        aspect: width of a stored pixel for a height of 1.

    Returns:
        [height, width, 3] uint8.
    """
    turn = Turn.of(frame)
    seen = upright_size(frame, aspect)
    scale = scale_to_cover(*seen, width, height)
    size = max(width, round(seen[0] * scale)), max(height, round(seen[1] * scale))
    stored = size[::-1] if turn.swap else size
    pixels = _opaque(frame).reformat(*stored, "rgb24", interpolation="BICUBIC").to_ndarray()
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    return turn.apply(torch.from_numpy(pixels))[top : top + height, left : left + width].clone()


def _opaque(frame: Any) -> Any:
    """Put a transparent frame on the background before it is scaled, so that hidden colours do not bleed in."""
    if frame.format.name != "pal8" and not any(part.is_alpha for part in frame.format.components):
        return frame
    from av import VideoFrame

    pixels = frame.to_ndarray(format="rgba").astype(np.uint16)
    colours, alpha = pixels[..., :3], pixels[..., 3:]
    laid = (colours * alpha + BACKGROUND * (255 - alpha) + 127) // 255
    return VideoFrame.from_ndarray(np.ascontiguousarray(laid.astype(np.uint8)), "rgb24")
