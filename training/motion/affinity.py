"""Choose the pictures that a PIA module is given in training, and say how near each frame of a clip is to its own.

PIA's affinity of frame f to a given frame g is how far apart the two are, beside the most that two frames so many
frames from each other are in any clip:

    a_f = 1 - 0.8 d(f, g) / D(|f - g|),    D(n) = max of d(i, j) over all clips and |i - j| = n

Here d is the mean absolute difference of latents. PIA compares pixels, by hue, saturation, value and edges, and takes
D from percentiles of a large set.

Source: PIA (Zhang et al. 2023), https://arxiv.org/abs/2312.13964, section 3.2, and its code.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST = 0.2  # affinity of what is as far apart as can be
NONE = 0.2  # share of clips without a picture, for which latents and affinities are 0


def affinities(latents: Tensor) -> Tensor:
    """Return the affinity of every frame of each clip to every one that may be given, [N, given F, F].

    Args:
        latents: [N, F, 4, h, w] float. Clips.
    """
    far = torch.stack([torch.cdist(clip, clip, p=1) for clip in latents.flatten(2)])
    frame = torch.arange(far.shape[1])
    most = torch.stack([far.diagonal(apart, 1, 2).amax() for apart in frame.tolist()])
    return 1 - (1 - LEAST) * far / most[(frame[:, None] - frame).abs()].clamp(min=1e-8)


def draw_pictures(latents: Tensor, affinity: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw a frame of each clip to be given, or none.

    Args:
        latents: [B, F, 4, h, w] float. Clips, of all their frames.
        affinity: [B, F, F]. The ``affinities`` of the clips.
        generator: source of the random numbers; the result depends on it alone.

    Returns:
        Latents of the given frame, [B, 4, h, w], and affinities to it, [B, F].
    """
    count, frames = latents.shape[:2]
    clip, given = torch.arange(count), torch.randint(frames, (count,), generator=generator)
    told = (torch.rand(count, generator=generator) >= NONE).to(latents)
    return told.view(-1, 1, 1, 1) * latents[clip, given], told[:, None] * affinity[clip, given]
