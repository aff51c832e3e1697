"""Starting noise for video: each frame's noise depends on the seed and the frame's absolute number, nothing else.

So a frame starts from the same noise whatever clip, window or batch it is part of. Noise of different frames may be
correlated, which holds a picture still over time; every single frame is standard normal in any mode.

Source: "Preserve Your Own Correlation" (Ge et al. 2023), https://arxiv.org/abs/2305.10474, section 3.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from .family import frames_of

NoiseMode = Literal["independent", "shared", "mixed", "progressive"]
# The noise that all frames have in common is drawn as this frame's.
_SHARED = -1
NOISE_OF_OTHERS = "use core's Random Noise for this one"


def draw_noise(
    seed: int,
    frame_ids: Sequence[int],
    shape: Sequence[int],
    mode: NoiseMode = "independent",
    correlation: float = 0.5,
) -> Tensor:
    """Draw the noise of some frames.

    With z of its own for every frame, r the correlation: ``mixed`` is sqrt(r) z_shared + sqrt(1 - r) z_i, so any two
    frames correlate by r; ``progressive`` is e_i = r e_(i-1) + sqrt(1 - r^2) z_i, so frames d apart correlate by r^d.
    The paper's alpha gives r = alpha^2 / (1 + alpha^2) for mixed and r = alpha / sqrt(1 + alpha^2) for progressive.

    Args:
        seed: any integer; its lowest 64 bits count.
        frame_ids: absolute number of each frame, 0 or more.
        shape: of one frame, [C, H, W].
        mode: ``independent``, ``shared`` (one noise for all frames), ``mixed`` or ``progressive``.
        correlation: r, 0 to 1, for the modes that have it.

    Returns:
        [F, C, H, W] float32 on the CPU.

    Raises:
        ValueError: the mode is unknown, the correlation is outside 0 to 1, or a frame id is negative.

    Randomness:
        Depends on (seed, frame id, shape) only. ``progressive`` draws all frames before the last one asked for.

    Examples:
        >>> draw_noise(7, [3], [4, 16, 16]).shape
        torch.Size([1, 4, 16, 16])
    """
    if mode not in get_args(NoiseMode):
        raise ValueError(f"mode={mode!r} is unknown; expected one of {get_args(NoiseMode)}.")
    if not 0 <= correlation <= 1:
        raise ValueError(f"correlation={correlation} is outside 0 to 1; give the frames' common share.")
    if min(frame_ids, default=0) < 0:
        raise ValueError(f"frame id {min(frame_ids)} is negative; expected 0 or more; raise frame_offset.")
    if not frame_ids:
        return torch.empty(0, *shape)
    if mode == "progressive":
        return _draw_progressive(seed, frame_ids, shape, correlation)
    share = {"independent": 0.0, "shared": 1.0, "mixed": correlation}[mode]
    common = share**0.5 * _draw(seed, _SHARED, shape)
    return torch.stack([common + (1 - share) ** 0.5 * _draw(seed, frame, shape) for frame in frame_ids])


def _draw_progressive(
    seed: int, frame_ids: Sequence[int], shape: Sequence[int], correlation: float
) -> Tensor:
    wanted = dict.fromkeys(frame_ids)
    noise = _draw(seed, 0, shape)
    kept = {0: noise}
    for frame in range(1, max(wanted) + 1):
        noise = correlation * noise + (1 - correlation**2) ** 0.5 * _draw(seed, frame, shape)
        if frame in wanted:
            kept[frame] = noise
    return torch.stack([kept[frame] for frame in frame_ids])


def _draw(seed: int, frame: int, shape: Sequence[int]) -> Tensor:
    """Draw one frame's own standard normal.

    torch's CPU generator uses the low 32 bits of its seed only. Adding the frame to a hash of the seed keeps the frames
    of one video apart for certain; two hashes could not promise that.
    """
    digest = hashlib.blake2b((seed % (1 << 64)).to_bytes(8, "little"), digest_size=4).digest()
    state = (int.from_bytes(digest, "little") + frame) % (1 << 32)
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(state))


def one_frame(latent: dict[str, Any], why: str) -> Tensor:
    """Return the samples of a LATENT if they are one whole frame, [1, C, H, W].

    Args:
        latent: it.
        why: it has to be, for the message: who says how many frames there will be.

    Raises:
        ValueError: they are not, or there is a noise mask.
    """
    samples = frames_of(latent, "use Empty Latent Image with a batch_size of 1")
    if samples.shape[0] != 1 or "noise_mask" in latent:
        masked = " with a noise mask" if "noise_mask" in latent else ""
        raise ValueError(
            f"latent is {tuple(samples.shape)}{masked}; expected one frame, [1, channels, height, width], without a "
            f"mask; set batch_size to 1: {why}."
        )
    return samples


def number_frames(latent: dict[str, Any]) -> Sequence[int]:
    """Return the number of each frame of a LATENT: its ``batch_index``, where it has one, else from 0.

    Raises:
        ValueError: it numbers more or fewer frames than there are.
    """
    frames = len(latent["samples"])
    numbers = latent.get("batch_index") or range(frames)
    if len(numbers) != frames:
        raise ValueError(
            f"latent: batch_index has {len(numbers)} numbers for {frames} frames; expected one a frame; a node that "
            "changes the number of frames has kept it; leave out the Latent From Batch before that node."
        )
    return numbers


def renew_frames(latent: dict[str, Any], samples: Tensor) -> dict[str, Any]:
    """Return a LATENT with other frames, without what it says of its own: their numbers and their noise mask.

    Args:
        latent: what they were made of.
        samples: [F, C, H, W].
    """
    rest = {name: value for name, value in latent.items() if name not in ("batch_index", "noise_mask")}
    return {**rest, "samples": samples}


@dataclass(frozen=True)
class FrameNoise:
    """A NOISE socket's value: what ComfyUI's samplers ask for noise.

    Attributes:
        seed: of the noise; samplers that draw more noise on their way read it too.
        mode: how frames are related.
        correlation: of frames, in the modes that have one.
        frame_offset: absolute number of the first frame.
    """

    seed: int
    mode: NoiseMode = "independent"
    correlation: float = 0.5
    frame_offset: int = 0

    def generate_noise(self, latent: dict[str, Any]) -> Tensor:
        """Return noise for a LATENT.

        Args:
            latent: with ``samples`` [F, C, H, W]; its ``batch_index``, where it has one, numbers the frames.

        Returns:
            [F, C, H, W] on the CPU, in the dtype of the samples.

        Raises:
            ValueError: the samples are not [F, C, H, W], or ``batch_index`` is of others.
        """
        samples = frames_of(latent, NOISE_OF_OTHERS)
        frame_ids = [self.frame_offset + number for number in number_frames(latent)]
        return draw_noise(self.seed, frame_ids, samples.shape[1:], self.mode, self.correlation).to(
            samples.dtype
        )
