"""Several prompts in one row of tokens, of which each place of a video transformer reads its frame's.

With A_k what cross-attention reads from prompt k for a place of latent frame t, and s_k(t) the prompt's share in it,

    A = sum_k s_k(t) A_k,        sum_k s_k(t) = 1

A place of a reference, which is of no frame, has the mean share over the frames that are sampled. No mask is needed, so
every way of attending will do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .tokens import NO_FRAME


@dataclass(frozen=True, eq=False)
class PromptShares:
    """Which tokens are of which prompt, and how much of each prompt is in each latent frame."""

    spans: tuple[tuple[int, int], ...]  # tokens of each of K prompts, [start, stop)
    shares: Tensor  # [K, T] float32, s_k(t)

    @property
    def tokens(self) -> int:
        """Number of tokens of all prompts."""
        return self.spans[-1][1]

    @property
    def latents(self) -> int:
        """T, number of latent frames of the clip."""
        return self.shares.shape[1]

    def of_tokens(self, frames: Tensor) -> Tensor:
        """Return what each prompt counts at some places, [K, N], by their latent frames, [N] as ``tokens`` has them."""
        is_own = frames != NO_FRAME
        mean = self.shares[:, frames[is_own]].mean(1, keepdim=True)
        return torch.where(is_own, self.shares[:, frames.clamp(min=0)], mean)


def read_by_shares(
    attend: Callable[[Tensor | slice, slice], Tensor], spans: Sequence[tuple[int, int]], shares: Tensor
) -> Tensor:
    """Return A for every place.

    Args:
        attend: function that reads a slice of the tokens for some of N places; returns [B, n, D].
        spans: tokens of each of K prompts.
        shares: [K, N]. Numbers that each prompt counts at each place, 1 in all.

    Returns:
        [B, N, D].
    """
    answer, all_places = None, shares.shape[1]
    for span, share in zip(spans, shares, strict=True):
        places = share.nonzero().flatten()
        if not len(places):
            continue
        read = attend(slice(None) if len(places) == all_places else places, slice(*span))
        read = read * share[places][:, None].to(read)
        if answer is None:
            answer = read.new_zeros(len(read), all_places, read.shape[-1])
        answer.index_add_(1, places.to(read.device), read)
    if answer is None:
        raise ValueError("prompts: got no prompt that counts at any place; expected shares that sum up to 1.")
    return answer
