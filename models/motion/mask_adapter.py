"""Tell a frozen UNet which frames of a clip are given, so that a motion module draws the others towards them.

NUWA-XL trains its denoiser on clean frames x and a mask m of them, 1 where they are given, beside the noisy clip. This
is the least of it that a frozen model can take. With h what the UNet's first convolution makes of a noisy frame,

    h <- h + strength * conv([m x, m])

where SparseCtrl's network adds a condition of the same form. What a motion module makes of it is its own weights'
matter, or a motion LoRA's that was trained with it.

Source: NUWA-XL (Yin et al. 2023), https://arxiv.org/abs/2303.12346, sections 3.1 and 3.2 (there at every scale, by a
factor and a summand); SparseCtrl (Guo et al. 2023), https://arxiv.org/abs/2311.16933, section 3.
"""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from ..edits.call import Call
from ..video.shapes import Hidden

LATENT_CHANNELS = 4
MASK_KEY = "mask_encoder.conv.weight"  # of an encoder's weights, in a motion module and in files of modules and LoRAs


class MaskEncoder(nn.Module):
    """A convolution of what is given, without a bias, and zero when new: it, and a clip of unknown frames, add nothing.

    Shape:
        [N, C, H, W], [N, 5, H, W] -> [N, C, H, W].

    State:
        conv.weight.
    """

    def __init__(self, channels: int, *, operations: Any = nn, **factory: Any) -> None:
        """Build the layer.

        Args:
            channels: C, width of the UNet's first convolution.
            operations: namespace with Conv2d.
            factory: ``dtype`` and ``device`` for the layer.
        """
        super().__init__()
        self.conv = operations.Conv2d(LATENT_CHANNELS + 1, channels, 3, padding=1, bias=False, **factory)
        nn.init.zeros_(self.conv.weight)

    def forward(self, hidden: Hidden, given: Tensor, strength: float = 1.0) -> Hidden:
        """Add what is given, [N, 5, H, W], to h."""
        change = self.conv(given.to(hidden))
        return hidden + change if strength == 1 else hidden + strength * change


def given_in(call: Call) -> Tensor | None:
    """Return what is given of each picture of a model call's batch, [m x, m], [N, 5, H, W]; None: nothing."""
    if call.held is None:
        return None
    latents, mask = call.held
    given = torch.cat([latents * mask, mask], dim=1)
    if given.shape[-2:] != call.size:
        raise ValueError(
            f"mask adapter: got {call.size[0]} x {call.size[1]} cells of {given.shape[-2]} x {given.shape[-1]} (an "
            "area, or a mask's bounds); expected all of them; set set_cond_area to default, and take areas of "
            "conditions out of the graph."
        )
    clips = rearrange(given, "(v n) c h w -> v n c h w", v=call.videos)[:, list(call.frame_ids)]
    return repeat(clips, "v f c h w -> (n v f) c h w", n=len(call.conditions))
