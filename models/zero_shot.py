"""Text2Video-Zero's latents between its three sampling segments: forward noise, and background smoothing.

The first segment samples one frame from pure noise down to the level t1, the second from t1 down to t0; that frame is
then warped along a path, brought back up to t1 with noise of its own for each frame, and the third segment samples all
frames from t1 to the end. Levels are sigmas in variance-exploding units; latents are a socket's, with their noise in
them, in which noise of sigma 1 has the standard deviation ``unit`` (a host's ``noise_unit``).

Source: Text2Video-Zero (Khachatryan et al. 2023), https://arxiv.org/abs/2303.13439, sections 3.3.1 and 3.3.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .motion_path import MotionPath, warp
from .noise import draw_noise

# Samplers whose step depends on nothing but the latents it starts from: no earlier steps, no noise of their own. So a
# run may be cut anywhere, between steps and between frames.
MEMORYLESS = ("ddim", "euler")


def check_sampler(name: str) -> None:
    """Check that a run by a sampler can be cut into segments.

    Raises:
        ValueError: the sampler remembers earlier steps, or draws noise.
    """
    if name not in MEMORYLESS:
        raise ValueError(
            f"sampler_name={name!r} remembers earlier steps or draws noise of its own, which the joints of the "
            f"segments would break; expected one of {', '.join(MEMORYLESS)}; choose one."
        )


def add_noise(latent: Tensor, noise: Tensor, sigma_from: float, sigma_to: float, unit: float) -> Tensor:
    """Go forward in diffusion time: x + sqrt(sigma_to^2 - sigma_from^2) * unit * noise.

    The same as the paper's x sqrt(a) + sqrt(1 - a) noise, with a the product of 1 - beta from t0 to t1, where latents
    preserve variance.

    Args:
        latent: [F, C, H, W] at ``sigma_from``.
        noise: [F, C, H, W], standard normal.
        sigma_from: noise level of the latents.
        sigma_to: noise level wanted.
        unit: standard deviation of noise of sigma 1 in these latents.

    Returns:
        [F, C, H, W] at ``sigma_to``, on the latent's device.

    Raises:
        ValueError: ``sigma_to`` is below ``sigma_from``.
    """
    if sigma_to < sigma_from:
        raise ValueError(
            f"noise level {sigma_to:.4g} is below the latents' own, {sigma_from:.4g}; forward noise only adds; "
            "expected t1 before t0 in sampling, that is a higher level."
        )
    return latent + noise.to(latent) * ((sigma_to**2 - sigma_from**2) ** 0.5 * unit)


def warp_forward(
    latent: Tensor,
    path: MotionPath,
    frame_ids: Sequence[int],
    *,
    seed: int,
    sigmas: Tensor,
    unit: float,
    anchor: Tensor | None = None,
) -> Tensor:
    """Make frames at t1 of one frame at t0: warped along the path, each with forward noise of its own.

    Args:
        latent: [1, C, H, W] at t0.
        path: where it lies in each frame.
        frame_ids: absolute number of each frame; noise depends on the seed and this number alone.
        seed: of the noise.
        sigmas: [2 or more] float, noise levels from t1 down to t0.
        unit: standard deviation of noise of sigma 1 in these latents.
        anchor: [1, C, H, W]. Frame 0's own latent at t1, which takes frame 0's place, so that frame 0 becomes the
            picture that it would be by itself.

    Returns:
        [F, C, H, W] on the latent's device.

    Raises:
        ValueError: shapes or levels do not fit, the path is too short, or a latent is not finite.
    """
    if anchor is not None and anchor.shape != latent.shape:
        raise ValueError(
            f"first frame at t1 is {tuple(anchor.shape)}, at t0 {tuple(latent.shape)}; expected equal shapes; take "
            "both from the same sampling."
        )
    if len(sigmas) < 2:
        raise ValueError(
            f"sigmas holds {len(sigmas)} noise levels; expected those from t1 down to t0, two at least; cut them out "
            "with Split Sigmas."
        )
    for checked in (latent,) if anchor is None else (latent, anchor):
        check_finite(checked)
    noise = draw_noise(seed, frame_ids, latent.shape[1:])
    frames = add_noise(warp(latent, path, frame_ids), noise, float(sigmas[-1]), float(sigmas[0]), unit)
    if anchor is None:
        return frames
    is_first = torch.tensor([frame == 0 for frame in frame_ids], device=latent.device).view(-1, 1, 1, 1)
    return torch.where(is_first, anchor.to(frames), frames)


def smooth_background(frames: Tensor, masks: Tensor, path: MotionPath, keep: float = 0.4) -> Tensor:
    """Draw every frame's background towards that of frame 0, moved along the path.

    With M_k the foreground of frame k, W the warp and x the latents at t1, in cells where neither M_k nor W_k(M_0) is
    foreground: keep x_k + (1 - keep) W_k(x_0 (1 - M_0)). The paper writes alpha for 1 - keep.

    Args:
        frames: [F, C, H, W], latents at t1; frame 0 first.
        masks: [F, H', W'] float, 1 = foreground; brought to the latents' cells by nearest neighbour.
        path: of the frames.
        keep: share of a frame's own latents in the background; 1 changes nothing.

    Returns:
        [F, C, H, W].

    Raises:
        ValueError: there is not one mask per frame, or the path is too short.
    """
    check_masks(masks, len(frames))
    if keep == 1:
        return frames
    size = frames.shape[-2:]
    foreground = torch.nn.functional.interpolate(masks[:, None].to(frames), size=size, mode="nearest")
    numbers = range(len(frames))
    first_foreground = warp(foreground[:1], path, numbers)
    first_background = warp(frames[:1] * (1 - foreground[:1]), path, numbers)
    background = (1 - foreground) * (1 - first_foreground)
    return frames + background * (1 - keep) * (first_background - frames)


def check_finite(latent: Tensor) -> None:
    """Check that latents hold numbers.

    Args:
        latent: of any shape, [...].

    Raises:
        ValueError: there is a NaN or an infinity.
    """
    if not torch.isfinite(latent).all():
        raise ValueError(
            "latent holds NaN or infinity; expected finite numbers; look at what made it: run the model in a wider "
            "dtype, or lower cfg."
        )


def check_masks(masks: Tensor, frames: int) -> None:
    """Check that there is a mask for each frame.

    Args:
        masks: [N, H, W].
        frames: F.

    Raises:
        ValueError: there are more or fewer.
    """
    if len(masks) != frames:
        raise ValueError(
            f"mask has {len(masks)} frames, the video has {frames}; expected one mask per frame; make the mask from "
            "the decoded frames."
        )


def find_levels(sigmas: Tensor, sigma_t0: float, sigma_t1: float) -> tuple[int, int]:
    """Snap t0 and t1 to the nearest levels of a schedule, in the logarithm.

    Args:
        sigmas: [steps + 1] float, descending to 0.
        sigma_t0: noise level wanted at t0.
        sigma_t1: noise level wanted at t1.

    Returns:
        Their indices, t0's first; t1's is lower, and at least 1.

    Raises:
        ValueError: t0 is not below t1, or the schedule has no three levels for the start, t1 and t0.
    """
    if sigma_t0 >= sigma_t1:
        raise ValueError(
            f"t0 (noise level {sigma_t0:.4g}) is not below t1 ({sigma_t1:.4g}); expected t1 the noisier one, such as "
            "timesteps 881 and 941, or percents 0.118 and 0.058; exchange them."
        )
    levels = sigmas[sigmas > 0].double().log()
    t0, t1 = (
        int((levels - torch.tensor(sigma, dtype=torch.float64).log()).abs().argmin())
        for sigma in (sigma_t0, sigma_t1)
    )
    if not 0 < t1 < t0:
        raise ValueError(
            f"t1 and t0 are nearest to steps {t1} and {t0} of {len(sigmas) - 1}; expected two different ones after the "
            "first; raise steps, or set t0 and t1 further apart and t1 lower."
        )
    return t0, t1


def chunk_frames(frames: int, size: int) -> list[list[int]]:
    """Cut a clip into chunks that all begin with frame 0, which the others attend to.

    Args:
        frames: F.
        size: frames a chunk, frame 0 included; 0: all at once.

    Raises:
        ValueError: a chunk would hold nothing but frame 0.

    Examples:
        >>> chunk_frames(6, 3)
        [[0, 1, 2], [0, 3, 4], [0, 5]]
    """
    if size == 0 or frames <= size:
        return [list(range(frames))]
    if size < 2:
        raise ValueError(
            f"chunk_size={size} holds the first frame alone; expected 0 (all at once) or at least 2."
        )
    return [[0, *range(start, min(start + size - 1, frames))] for start in range(1, frames, size - 1)]
