"""FreeNoise: a clip longer than a motion module's, from noise that recurs and temporal attention over windows.

With windows of L frames, one every s frames, s a divisor of L, and pi_g a random order of s places for each group g:

    noise       e_(g s + j) = e_(g s - L + pi_g(j)) from frame L on, j = 0 .. s - 1               NoiseShuffle
    attention   A(z)_f = sum_w h_w(f) A_w(z)_f / sum_w h_w(f),  h_w(f) = min(f - w + 1, w + L - f)  WindowFusion

where A_w attends among the L frames from w on alone, a length that a motion module knows; the last window ends with the
clip. Any L frames from a multiple of s on have each of the first frames' noise once, so all of the clip is about one
scene. Each attention is fused by itself, as in the authors' code; diffusers fuses all of a block's at once.

Source: FreeNoise (Qiu et al. 2023), https://arxiv.org/abs/2310.15169, sections 3.1 and 3.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..video.shapes import Clip, Ids, Tokens

WINDOW, STRIDE = 16, 4  # frames; the paper's


@dataclass(frozen=True, slots=True)
class _Windows:
    length: int = WINDOW  # L
    stride: int = STRIDE  # s

    def __post_init__(self) -> None:
        if self.length < 1 or self.stride < 1 or self.length % self.stride:
            fitting = [each for each in range(1, self.length + 1) if self.length % each == 0]
            raise ValueError(
                f"stride={self.stride} does not divide window_length={self.length}; expected one of {fitting}; change "
                "stride, or window_length to a multiple of it."
            )


@dataclass(frozen=True, slots=True)
class NoiseShuffle(_Windows):
    """Let later frames start from the noise of the first L; an ``Edit``'s ``noise``."""

    seed: int = 0  # seed of the orders, apart from the noise's

    def sources(self, frame_ids: Ids) -> list[int]:
        """Return whose noise each frame starts from, one of the first L; by the seed and its number alone."""
        source, last = list(range(self.length)), max(frame_ids, default=0)
        generator = torch.Generator().manual_seed(self.seed)
        while (now := len(source)) <= last:
            pi = torch.randperm(self.stride, generator=generator)
            source += [source[now - self.length + int(j)] for j in pi]
        return [source[f] for f in frame_ids]

    def arrange(self, noise: Clip) -> Clip:
        """Return a clip's start noise, from frame 0, in its order; itself where no frame is later than the first L."""
        if len(noise) <= self.length:
            return noise
        return noise[self.sources(range(len(noise)))]


@dataclass(frozen=True, slots=True)
class WindowFusion(_Windows):
    """Let a motion module attend within windows, each with the positions of a clip; an ``Edit``'s ``time``."""

    def is_needed(self, frames: int) -> bool:
        """Tell whether a clip is longer than a window."""
        return frames > self.length

    def starts(self, frames: int) -> list[int]:
        """Return w of each window of a clip of L frames or more: 0, 4, 8, 10 of 26 frames."""
        last = frames - self.length
        return [*range(0, last, self.stride), last]

    def weights(self, frames: int, device: torch.device | None = None) -> Tensor:
        """Return h_w(f) / sum_w h_w(f), [W, F] float32 for W windows, made on a device: nothing is copied there."""
        w = torch.arange(len(self.starts(frames)), device=device) * self.stride
        w = w.clamp(max=frames - self.length)[:, None]
        f = torch.arange(frames, device=device)
        h = torch.minimum(f - w + 1, w + self.length - f).clamp(min=0)
        return h / h.sum(0)

    def fuse(self, tokens: Tokens, attend: Callable[[slice], Tokens]) -> Tokens:
        """Return A(z) of tokens z and A_w, newly allocated; one window at a time is in memory beside it."""
        frames, fused = tokens.shape[1], torch.zeros_like(tokens)
        h = self.weights(frames, tokens.device)
        for w, h_w in zip(self.starts(frames), h, strict=True):
            window = slice(w, w + self.length)
            fused[:, window].addcmul_(h_w[window, None], attend(window))
        return fused
