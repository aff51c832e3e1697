"""AnimateLCM-I2V's image encoder: a picture's latents to a map for each level of a UNet's way down.

    h = conv(z) + drift * P;    h_i = R_i(h_(i - 1));    R: average pool between levels, twice h <- h + W_2 relu(W_1 h)

with z the latents, and P the sinusoids of a frame's place in the clip, by which frames come apart; drift 0 makes the
same maps for all. Where a level is wider than the one before it, a convolution of 1 x 1 comes first.

Source: AnimateLCM (Wang et al. 2024), https://arxiv.org/abs/2402.00769, and its code; T2I-Adapter's blocks (Mou et al.
2023), https://arxiv.org/abs/2302.08453, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, relu

from ..network.layers import positional_encoding
from ..video.shapes import Clip
from .mask_adapter import LATENT_CHANNELS

PREFIX = "img_encoder."  # of its weights, in AnimateLCM-I2V's file
BLOCKS = 2  # of a level


class _Block(nn.Module):
    """Adds two convolutions with a ReLU between.

    State:
        in_conv where it widens, block1, block2.
    """

    def __init__(self, before: int, width: int, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.in_conv = None if before == width else operations.Conv2d(before, width, 1, **factory)
        self.block1 = operations.Conv2d(width, width, 3, padding=1, **factory)
        self.block2 = operations.Conv2d(width, width, 1, **factory)

    def forward(self, hidden: Tensor) -> Tensor:
        if self.in_conv is not None:
            hidden = self.in_conv(hidden)
        return hidden + self.block2(relu(self.block1(hidden)))


class ImageEncoder(nn.Module):
    """The encoder.

    Shape:
        [F, 4, H, W] -> [F, C_i, H / 2^i, W / 2^i] for each level i, rounded up.

    State:
        conv_in, body.{i}.
    """

    def __init__(self, widths: Sequence[int], *, operations: Any = nn, **factory: Any) -> None:
        """Build the layers.

        Args:
            widths: C_i, width of each level.
            operations: namespace with Conv2d.
            factory: ``dtype`` and ``device`` for the layers.
        """
        super().__init__()
        self.conv_in = operations.Conv2d(LATENT_CHANNELS, widths[0], 3, padding=1, **factory)
        befores = [widths[0], *widths]
        self.body = nn.ModuleList(
            _Block(befores[level] if number == 0 else width, width, operations, **factory)
            for level, width in enumerate(widths)
            for number in range(BLOCKS)
        )

    def forward(self, latents: Clip, drift: float) -> list[Tensor]:
        """Return the maps of a clip's pictures.

        Args:
            latents: [F, 4, H, W]. Pictures for the frames in a row, in the model's own scale.
            drift: factor on the sinusoids.
        """
        hidden = self.conv_in(latents)
        places = positional_encoding(len(latents), hidden.shape[1])[0, :, :, None, None]
        hidden = hidden + drift * places.to(hidden)
        maps: list[Tensor] = []
        for number, block in enumerate(self.body):
            if number and number % BLOCKS == 0:
                hidden = _halve(hidden)
            hidden = block(hidden)
            if number % BLOCKS == BLOCKS - 1:
                maps.append(hidden)
        return maps


def _halve(hidden: Tensor) -> Tensor:
    """Average each 2 x 2 places; the last row and column of an odd number stand twice."""
    height, width = hidden.shape[-2:]
    hidden = nn.functional.pad(hidden, (0, width % 2, 0, height % 2), mode="replicate")
    return avg_pool2d(hidden, 2)
