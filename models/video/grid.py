"""Frames side by side in one picture, as a grid of k x k cells.

Cell (r, c) of picture g shows frame g k^2 + r k + c. Where frames do not fill the last picture, they begin again in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from einops import rearrange
from torch import Tensor, arange

from .windows import Window


@dataclass(frozen=True, slots=True)
class Tiles:
    """Frames that lie in pictures.

    Attributes:
        side: k, cells of a row and of a column.
        frame_ids: number of each frame in its clip, in the order of cells.
    """

    side: int
    frame_ids: Window

    @property
    def pictures(self) -> int:
        """Number of pictures."""
        return -(-len(self.frame_ids) // self.side**2)

    def tile(self, frames: Tensor) -> Tensor:
        """Lay frames, [F, ..., H, W], or [1, ..., H, W] for all of them, into pictures, [G, ..., k*H, k*W]."""
        cells = arange(self.pictures * self.side**2, device=frames.device) % len(self.frame_ids)
        return rearrange(
            frames[cells % len(frames)],
            "(g r c) ... h w -> g ... (r h) (c w)",
            r=self.side,
            c=self.side,
        )

    def untile(self, pictures: Tensor) -> Tensor:
        """Take frames, [F, ..., H, W], out of pictures, [G, ..., k*H, k*W]; of a frame's copies, the first."""
        cells = rearrange(pictures, "g ... (r h) (c w) -> (g r c) ... h w", r=self.side, c=self.side)
        return cells[: len(self.frame_ids)]

    def check_prompts(self, rows: int) -> None:
        """Check that a condition has one prompt for all frames.

        Raises:
            ValueError: it has a prompt for each.
        """
        if rows > 1:
            raise ValueError(
                f"conditioning: got {rows} prompts for the frames of one picture; expected one prompt for all; take "
                "Prompt Travel, or what else gives each frame its own prompt, out of the graph."
            )
