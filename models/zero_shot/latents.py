"""Text2Video-Zero: a video by a frozen model of pictures, in three segments of one run of sampling.

One frame is sampled from pure noise down to the level t1, and from there to t0. Frame k of the video is that frame
warped by W_k along a path, and brought back up to t1 by noise e_k of its own; from t1 all frames are sampled to the
end. With m_k the foreground of frame k, and x_k its latents, in which noise has the standard deviation unit sigma:

    x_k = W_k x^t0 + unit sqrt(sigma_t1^2 - sigma_t0^2) e_k                                   warp_forward
    x_k <- keep x_k + (1 - keep) W_k (x_0 (1 - m_0))    where m_k and W_k m_0 are 0           smooth_background

Where latents preserve variance, the first line is the paper's sqrt(a) x + sqrt(1 - a) e, with a the product of 1 - beta
from t0 to t1. The paper writes alpha for 1 - keep.

Source: Text2Video-Zero (Khachatryan et al. 2023), https://arxiv.org/abs/2303.13439, sections 3.3.1 and 3.3.3.
"""

from __future__ import annotations

from torch.nn.functional import interpolate

from ..video.noise import draw_noise
from ..video.shapes import Clip, Frame, Ids, Masks, Sigmas
from .motion_path import MotionPath, warp


def add_noise(x: Clip, e: Clip, low: float, high: float, unit: float) -> Clip:
    """Go forward in diffusion time, from the noise level ``low`` up to ``high``."""
    return x + e.to(x) * ((high**2 - low**2) ** 0.5 * unit)


def warp_forward(
    x: Frame, path: MotionPath, k: Ids, *, seed: int, sigmas: Sigmas, unit: float, anchor: Frame | None = None
) -> Clip:
    """Return some frames at t1; ``sigmas`` go from there down to t0. Frame 0 is the anchor, if there is one."""
    t1, t0 = float(sigmas[0]), float(sigmas[-1])
    frames = add_noise(warp(x, path, k), draw_noise(seed, k, x.shape[1:]), t0, t1, unit)
    if anchor is not None:
        frames[[place for place, number in enumerate(k) if number == 0]] = anchor.to(frames)
    return frames


def smooth_background(x: Clip, masks: Masks, path: MotionPath, keep: float = 0.4) -> Clip:
    """Draw every frame's background, at t1, towards frame 0's, moved along the path; masks may be of any size."""
    if keep == 1:
        return x
    k = range(len(x))
    m = interpolate(masks[:, None].to(x), size=x.shape[-2:], mode="nearest")
    moved = warp(x[:1] * (1 - m[:1]), path, k)
    background = (1 - m) * (1 - warp(m[:1], path, k))
    return x + background * (1 - keep) * (moved - x)


def find_levels(sigmas: Sigmas, sigma_t0: float, sigma_t1: float) -> tuple[int, int]:
    """Return where t0 and t1 are in a schedule that ends at 0: at its nearest levels, in the logarithm."""
    levels = sigmas[sigmas > 0].double().log()
    wanted = levels.new_tensor([sigma_t0, sigma_t1]).log()
    t0, t1 = (levels - wanted[:, None]).abs().argmin(1)
    return int(t0), int(t1)


def chunk_frames(frames: int, size: int) -> list[list[int]]:
    """Cut a clip into chunks that all begin with frame 0, which the others attend to; size 0 is one chunk."""
    if size == 0 or frames <= size:
        return [list(range(frames))]
    return [[0, *range(start, min(start + size - 1, frames))] for start in range(1, frames, size - 1)]
