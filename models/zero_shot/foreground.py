"""Foreground masks from what a text-to-image model itself says about a phrase of its prompt.

Latents x of a clip are brought back up to a middling noise level, and the model is asked once more. Two readings:

    by contrast      c = mean |d(p) - d(p without the phrase)|    where |d(p) - x| < |d(p without the phrase) - x|
    by attention     a = mean A_s over tokens s of the phrase - mean A_s over all other words of the prompt
                     A = softmax(q k^T / sqrt(D)), averaged over heads, layers and model calls

with d the model's prediction of x under a prompt p. DiffEdit takes the change alone, which shows where the model asks
the prompt at all, whatever the phrase: in the demo model the background's colour, too, changes the shape most. What the
phrase names, it helps to predict. Maps are then cut at a share of the clip's range, dilated, and held over time.

Source: masks for background smoothing: Text2Video-Zero (Khachatryan et al. 2023), https://arxiv.org/abs/2303.13439,
section 3.3.3. By contrast: DiffEdit (Couairon et al. 2022), https://arxiv.org/abs/2210.11427, section 3.2. By
cross-attention: Prompt-to-Prompt (Hertz et al. 2022), https://arxiv.org/abs/2208.01626, section 3.1; DAAM (Tang et al.
2022), https://arxiv.org/abs/2210.04885, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from kornia.morphology import dilation as dilate
from torch import Tensor
from torch.nn.functional import interpolate, max_pool1d

from ..edits.call import Call, Layer, check_places
from ..edits.edit import Part
from ..network.unet import UNetSize, check_levels
from ..video.latents import check_finite, frames_of
from ..video.shapes import Clip, Maps, Masks

Ranges = Sequence[tuple[int, int]]


def contrast(predictions: Tensor, without: Tensor, latent: Clip) -> Maps:
    """Return c, 0 or more, of answers d(p) and d(p without the phrase), [P, F, C, H, W], each P from other noise.

    The change is a root mean square over channels; it and the squared error are means over P.
    """
    change = (predictions - without).square().mean(2).sqrt().mean(0)
    gain = ((without - latent).square() - (predictions - latent).square()).mean((0, 2))
    return torch.where(gain > 0, change, 0)


class PhraseAttention(Part):
    """Collects a, of the positive condition alone; an ``Edit``'s ``observe``."""

    def __init__(
        self, phrase: Ranges, words: Ranges, frames: int, size: tuple[int, int], levels: frozenset[int]
    ) -> None:
        """Start with nothing seen; phrase and words are [start, stop) ranges among the prompt's tokens."""
        own, every = ({place for span in spans for place in range(*span)} for spans in (phrase, words))
        self._own, self._others = sorted(own), sorted(every - own)
        self._size, self.levels = size, levels
        self._sums, self._counts = torch.zeros(frames, *size), torch.zeros(frames, 1, 1)

    def check_fit(self, network: UNetSize) -> None:
        """Check that a network attends at its levels; of several, some may be missing."""
        check_levels(self.levels, network, "Foreground Mask")

    def see(self, query: Tensor, key: Tensor, call: Call, layer: Layer) -> None:
        """Add one layer, [N, heads, L, D]."""
        grid = check_places(call, layer, query.shape[2])
        shared = len(query) // len(key)
        for row, q in enumerate(query):
            chunk, number = divmod(row, call.videos * call.frames)
            if call.conditions[chunk].index == 0:
                k = key[row // shared].float()
                attention = (q.float() @ k.mT * q.shape[-1] ** -0.5).softmax(-1).mean(0)
                a = attention[:, self._own].mean(-1)
                if self._others:
                    a = a - attention[:, self._others].mean(-1)
                frame = call.frame_ids[number % call.frames]
                self._sums[frame] += interpolate(a.view(1, 1, *grid), self._size, mode="bilinear")[0, 0].cpu()
                self._counts[frame] += 1

    def maps(self) -> Maps:
        """Return a of every frame, on the CPU."""
        check_seen(self._counts, self.levels)
        return self._sums / self._counts


def normalise(maps: Maps) -> Masks:
    """Bring a clip's maps to 0 .. 1 by its own range; a clip of one value becomes 0."""
    low, high = maps.min(), maps.max()
    return (maps - low) / (high - low).clamp(min=torch.finfo(maps.dtype).tiny)


def clean_masks(masks: Masks, size: tuple[int, int], *, threshold: float, dilation: int, hold: int) -> Masks:
    """Return a foreground of 0 and 1, in cells of the latents, of masks of any size, whose mean in each cell is taken.

    It is dilated by a square of so many cells a side, and each frame has that of the frames before and after, too.
    """
    cells = interpolate(masks[:, None].float(), size, mode="area")
    foreground = dilate((cells > threshold).float(), cells.new_ones(dilation, dilation))
    over_time = rearrange(foreground, "f 1 h w -> 1 (h w) f")
    held = max_pool1d(over_time, 2 * hold + 1, stride=1, padding=hold)
    return rearrange(held, "1 (h w) f -> f h w", h=size[0])


def check_seen(counts: Tensor, levels: frozenset[int]) -> None:
    """Check that attention of every frame was seen, at some levels; ``counts``: [F, 1, 1], how often.

    Raises:
        ValueError: a frame was in no model call.
    """
    if not counts.all():
        frame = int((counts == 0).nonzero()[0, 0])
        raise ValueError(
            f"cross-attention of frame {frame} was not seen at levels {sorted(levels)}; expected every frame in a "
            "model call; choose other levels, or take context windows out of the model."
        )


def check_clip(latent: dict[str, Any]) -> Clip:
    """Return the samples of a clip's LATENT.

    Raises:
        ValueError: they are no pictures, or not finite.
    """
    samples = frames_of(latent, "give the latents of a model of pictures, a frame each")
    check_finite(samples)
    return samples


def check_cleaning(masks: Masks, frames: int, dilation: int) -> None:
    """Check what a node gives to ``clean_masks``.

    Raises:
        ValueError: there is not one mask per frame, or the dilation is even.
    """
    if masks.dim() != 3 or len(masks) != frames:
        raise ValueError(
            f"mask is {tuple(masks.shape)}, latent has {frames} frames; expected [frames, height, width], one mask per "
            "frame; make the mask from the decoded frames."
        )
    if dilation % 2 == 0:
        raise ValueError(
            f"dilation={dilation} is even; expected an odd number of cells, such as {dilation + 1}."
        )
