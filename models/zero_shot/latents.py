"""Text2Video-Zero: a video by a frozen model of pictures, in three segments of one run of sampling.

One frame is sampled from pure noise down to the level t1, and from there to t0. Frame k of the video is that frame
warped by W_k along a path, and brought back up to t1 by noise e_k of its own; from t1 all frames are sampled to the
end. With x_k frame k's latents at t1, m_k its foreground, and sigma the noise levels:

    x_k = W_k x^t0 + unit sqrt(sigma_t1^2 - sigma_t0^2) e_k                                   warp_forward
    x_k <- keep x_k + (1 - keep) W_k (x_0 (1 - m_0))    where m_k and W_k m_0 are 0           smooth_background

A latent is a socket's, with its noise in it, in which noise of sigma 1 has the standard deviation ``unit`` (a host's
``noise_unit``). Where latents preserve variance, the first line is the paper's sqrt(a) x + sqrt(1 - a) e, with a the
product of 1 - beta from t0 to t1. The paper writes alpha for 1 - keep.

Source: Text2Video-Zero (Khachatryan et al. 2023), https://arxiv.org/abs/2303.13439, sections 3.3.1 and 3.3.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from ..video.noise import draw_noise
from ..video.shapes import Clip, Frame, Masks, Sigmas
from .motion_path import MotionPath, warp


def add_noise(x: Clip, e: Clip, low: float, high: float, unit: float) -> Clip:
    """Go forward in diffusion time, from the noise level ``low`` up to ``high``."""
    return x + e.to(x) * ((high**2 - low**2) ** 0.5 * unit)


def warp_forward(
    x: Frame,
    path: MotionPath,
    frame_ids: Sequence[int],
    *,
    seed: int,
    sigmas: Sigmas,
    unit: float,
    anchor: Frame | None = None,
) -> Clip:
    """Make frames at t1 of one frame x at t0; ``sigmas`` go from t1 down to t0.

    A frame's noise depends on the seed and its number alone. An anchor, frame 0's own latent at t1, takes frame 0's
    place, so that frame 0 becomes the picture that it would be by itself.
    """
    e = draw_noise(seed, frame_ids, x.shape[1:])
    frames = add_noise(warp(x, path, frame_ids), e, float(sigmas[-1]), float(sigmas[0]), unit)
    if anchor is None:
        return frames
    is_first = torch.tensor([k == 0 for k in frame_ids], device=x.device).view(-1, 1, 1, 1)
    return torch.where(is_first, anchor.to(frames), frames)


def smooth_background(x: Clip, masks: Masks, path: MotionPath, keep: float = 0.4) -> Clip:
    """Draw every frame's background, at t1, towards that of frame 0, moved along the path.

    Masks of another size are taken at the nearest place. Keeping a share of 1 changes nothing.
    """
    if keep == 1:
        return x
    k = range(len(x))
    m = functional.interpolate(masks[:, None].to(x), size=x.shape[-2:], mode="nearest")
    moved = warp(x[:1] * (1 - m[:1]), path, k)
    background = (1 - m) * (1 - warp(m[:1], path, k))
    return x + background * (1 - keep) * (moved - x)


def find_levels(sigmas: Sigmas, sigma_t0: float, sigma_t1: float) -> tuple[int, int]:
    """Return where t0 and t1 are in a schedule that ends at 0: at its nearest levels, in the logarithm."""
    levels = sigmas[sigmas > 0].double().log()
    t0, t1 = (
        int((levels - torch.tensor(sigma, dtype=torch.float64).log()).abs().argmin())
        for sigma in (sigma_t0, sigma_t1)
    )
    return t0, t1


def chunk_frames(frames: int, size: int) -> list[list[int]]:
    """Cut a clip into chunks that all begin with frame 0, which the others attend to; size 0 is one chunk.

    Examples:
        >>> chunk_frames(6, 3)
        [[0, 1, 2], [0, 3, 4], [0, 5]]
    """
    if size == 0 or frames <= size:
        return [list(range(frames))]
    return [[0, *range(start, min(start + size - 1, frames))] for start in range(1, frames, size - 1)]
