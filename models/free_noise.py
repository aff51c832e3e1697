"""FreeNoise: a clip longer than a motion module's, from noise that recurs and temporal attention over windows.

Later frames start from the noise of the first, in another order, so that all of the clip is about one scene. And a
motion module's attention acts on windows of the length it was trained with, while every other layer sees the whole clip
once. Each attention is fused by itself, as in the authors' code; diffusers fuses all of a block's attentions at once.

Source: FreeNoise (Qiu et al. 2023), https://arxiv.org/abs/2310.15169, sections 3.1 and 3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

WINDOW, STRIDE = 16, 4  # frames; the paper's


def check_windows(length: int, stride: int) -> None:
    """Check that windows can be laid.

    Args:
        length: frames of a window.
        stride: frames from a window's first to the next one's.

    Raises:
        ValueError: the stride does not divide the length.
    """
    if length < 1 or stride < 1 or length % stride:
        fitting = [each for each in range(1, length + 1) if length % each == 0]
        raise ValueError(
            f"stride={stride} does not divide window_length={length}; expected one of {fitting}; change stride, or "
            "window_length to a multiple of it."
        )


@dataclass(frozen=True, slots=True)
class NoiseShuffle:
    """Let later frames start from the noise of the first; an ``Edit``'s ``noise``.

    From frame ``length`` on, every ``stride`` frames take the noise of as many that lie ``length`` before them, in
    random order. So any ``length`` frames from a multiple of ``stride`` on have each of the first frames' noise once.

    Attributes:
        length: frames with noise of their own, the first ones.
        stride: frames that are shuffled among each other; divides the length.
        seed: of the order, apart from that of the noise.
    """

    length: int = WINDOW
    stride: int = STRIDE
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers, as ``check_windows``."""
        check_windows(self.length, self.stride)

    def sources(self, frame_ids: Sequence[int]) -> list[int]:
        """Return whose noise each frame starts from: the number of one of the first ``length`` frames.

        Args:
            frame_ids: absolute number of each frame, 0 or more.

        Randomness:
            A generator of its own; depends on the seed and the frame's number, not on the clip's length.

        Examples:
            >>> sorted(NoiseShuffle(4, 2).sources(range(10, 14)))
            [0, 1, 2, 3]
        """
        order = list(range(self.length))
        generator = torch.Generator().manual_seed(self.seed)
        while len(order) <= max(frame_ids, default=0):
            earlier = order[len(order) - self.length :]
            order += [earlier[place] for place in torch.randperm(self.stride, generator=generator).tolist()]
        return [order[frame] for frame in frame_ids]

    def arrange(self, noise: Tensor) -> Tensor:
        """Return a clip's start noise, [F, C, H, W], in its order.

        Returns:
            [F, C, H, W]; the noise itself where no frame is later than the first ``length``.
        """
        return noise if len(noise) <= self.length else noise[self.sources(range(len(noise)))]


@dataclass(frozen=True, slots=True)
class WindowFusion:
    """Let a motion module attend within windows, and average what a frame gets in each; an ``Edit``'s ``time``.

    Windows start every ``stride`` frames, and one ends with the clip. A frame counts more the nearer it is to its
    window's middle. Positional encodings start again in each window.

    Attributes:
        length: frames of a window, at most those of the module's positional encoding.
        stride: frames from a window's first to the next one's; divides the length.
    """

    length: int = WINDOW
    stride: int = STRIDE

    def __post_init__(self) -> None:
        """Check the numbers, as ``check_windows``."""
        check_windows(self.length, self.stride)

    def is_needed(self, frames: int) -> bool:
        """Tell whether a clip is longer than a window; else attention goes over all of it, as without fusion."""
        return frames > self.length

    def starts(self, frames: int) -> list[int]:
        """Return the first frame of each window of a clip.

        Args:
            frames: of the clip, ``length`` or more.

        Examples:
            >>> WindowFusion(16, 4).starts(26)
            [0, 4, 8, 10]
        """
        last = frames - self.length
        return [*range(0, last, self.stride), last]

    def weights(self, frames: int, device: torch.device | None = None) -> Tensor:
        """Return what a clip's frames count in each window: a pyramid over the window, as a share of all windows.

        Args:
            frames: F, of the clip, ``length`` or more.
            device: where to make it; nothing is copied there.

        Returns:
            [W, F] float32 for W windows, 0 outside of a window; every frame's sum to 1.
        """
        starts = torch.arange(len(self.starts(frames)), device=device) * self.stride
        starts = starts.clamp(max=frames - self.length)
        place = torch.arange(frames, device=device) - starts[:, None]
        height = torch.minimum(place + 1, self.length - place).clamp(min=0)
        return height / height.sum(0)

    def fuse(self, tokens: Tensor, attend: Callable[[slice], Tensor]) -> Tensor:
        """Return the mean of what attention makes of each window.

        Returns:
            [N, F, C], newly allocated. One window at a time is in memory beside it.
        """
        frames = tokens.shape[1]
        fused = torch.zeros_like(tokens)
        for start, weights in zip(self.starts(frames), self.weights(frames, tokens.device), strict=True):
            window = slice(start, start + self.length)
            fused[:, window].addcmul_(weights[window, None], attend(window))
        return fused
