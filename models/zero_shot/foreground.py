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
from torch.nn import functional

from ..edits.call import Call, Layer, check_places
from ..video.latents import check_finite, frames_of
from ..video.shapes import Clip, Maps, Masks

Ranges = Sequence[tuple[int, int]]


def contrast(predictions: Tensor, without: Tensor, latent: Clip) -> Maps:
    """Return how far predictions change with a phrase, where that brings them nearer to the clip.

    Args:
        predictions: [P, F, C, H, W]. Answers to the whole prompt, P times, each from other noise.
        without: [P, F, C, H, W]. Answers to the prompt without the phrase, from the same noise.
        latent: clip that was asked about.

    Returns:
        0 or more: the root mean square of the change over channels; 0 where the phrase does not lessen the squared
        error. Both are means over the P times.
    """
    change = (predictions - without).square().mean(2).sqrt().mean(0)
    gain = ((without - latent).square() - (predictions - latent).square()).mean((0, 2))
    return torch.where(gain > 0, change, 0)


class PhraseAttention:
    """Collects how much cross-attention reads a phrase; an ``Edit``'s ``observe``.

    A place of a layer counts by the attention it pays to a token of the phrase, less what it pays to another word,
    each on average; heads, layers and model calls are averaged. Conditions other than the positive are left out.
    """

    def __init__(
        self, phrase: Ranges, words: Ranges, frames: int, size: tuple[int, int], levels: frozenset[int]
    ) -> None:
        """Start with nothing seen.

        Args:
            phrase: [start, stop) ranges of the phrase among the prompt's tokens.
            words: [start, stop) ranges of all words of the prompt.
            frames: length of the clip.
            size: height and width of its latents.
            levels: levels of the UNet in which to look.
        """
        own, every = ({place for span in spans for place in range(*span)} for spans in (phrase, words))
        self._own, self._others = sorted(own), sorted(every - own)
        self._size, self._levels = size, levels
        self._sums: list[Tensor | None] = [None] * frames
        self._counts = [0] * frames

    @property
    def levels(self) -> frozenset[int]:
        """Levels of the UNet in which it looks."""
        return self._levels

    def see(self, query: Tensor, key: Tensor, call: Call, layer: Layer) -> None:
        """Add one layer, [N, heads, L, D].

        Raises:
            ValueError: the layer's grid is not the latents' at its level.
        """
        grid = check_places(call, layer, query.shape[2])
        shared = len(query) // len(key)
        for row, q in enumerate(query):
            chunk, number = divmod(row, call.videos * call.frames)
            if call.conditions[chunk].index == 0:
                logits = q.float() @ key[row // shared].float().mT * q.shape[-1] ** -0.5
                seen = self._read(logits.softmax(-1).mean(0))
                self._add(call.frame_ids[number % call.frames], seen.view(1, 1, *grid))

    def _read(self, attention: Tensor) -> Tensor:
        """Return what the phrase gets of attention [L, S], less what other words get: [L]."""
        own = attention[:, self._own].mean(-1)
        return own - attention[:, self._others].mean(-1) if self._others else own

    def _add(self, frame: int, seen: Tensor) -> None:
        """Add a layer's map, [1, 1, h, w], to a frame's."""
        seen = functional.interpolate(seen, self._size, mode="bilinear")[0, 0]
        before = self._sums[frame]
        self._sums[frame] = seen if before is None else before + seen
        self._counts[frame] += 1

    def maps(self) -> Maps:
        """Return what was seen.

        Raises:
            ValueError: a frame was in no model call.
        """
        if 0 in self._counts:
            raise ValueError(
                f"cross-attention of frame {self._counts.index(0)} was not seen at levels {sorted(self._levels)}; "
                "expected every frame in a model call; choose other levels, or take context windows out of the model."
            )
        return torch.stack(
            [each / count for each, count in zip(self._sums, self._counts, strict=True) if each is not None]
        )


def normalise(maps: Maps) -> Masks:
    """Bring a clip's maps to 0 .. 1 by its own range; a clip of one value becomes 0."""
    low, high = maps.min(), maps.max()
    return (maps - low) / (high - low).clamp(min=torch.finfo(maps.dtype).tiny)


def clean_masks(masks: Masks, size: tuple[int, int], *, threshold: float, dilation: int, hold: int) -> Masks:
    """Cut masks, grow them, and hold them over time; 1 = foreground.

    Args:
        masks: share of foreground, at any size; brought to the latents' cells by their mean in each.
        size: height and width of the latents.
        threshold: value above which a cell is foreground.
        dilation: side in cells of the square of ones that the foreground is dilated by; 1 leaves it as it is.
        hold: frames before and after one, in which a cell that is foreground there is foreground too.
    """
    cells = functional.interpolate(masks[:, None].float(), size, mode="area")
    foreground = dilate((cells > threshold).float(), cells.new_ones(dilation, dilation))
    over_time = rearrange(foreground, "f 1 h w -> 1 (h w) f")
    held = functional.max_pool1d(over_time, 2 * hold + 1, stride=1, padding=hold)
    return rearrange(held, "1 (h w) f -> f h w", h=size[0])


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
