"""Foreground masks from what a text-to-image model itself says about a phrase of its prompt.

Latents are brought back up to a middling noise level, and the model is asked once more. Two ways to read the answer:
where the phrase changes the prediction for the better, and where cross-attention reads the phrase.
Masks are then cut at a share of the clip's range, dilated, and held over time.

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

from .edits.call import Call, Layer, check_places
from .family import frames_of
from .zero_shot import check_finite

Ranges = Sequence[tuple[int, int]]


def check_clip(latent: dict[str, Any]) -> Tensor:
    """Return the samples of a clip's LATENT, [F, C, H, W].

    Raises:
        ValueError: they are no pictures, or not finite.
    """
    samples = frames_of(latent, "give the latents of a model of pictures, a frame each")
    check_finite(samples)
    return samples


def contrast(predictions: Tensor, without: Tensor, latent: Tensor) -> Tensor:
    """Return how far predictions change with a phrase of the prompt, where that brings them nearer to the clip.

    The change alone, which is DiffEdit's, shows where the model asks the prompt at all, whatever the phrase: in the
    demo model the background's colour, too, changes the shape most. What the phrase names, it helps to predict.

    Args:
        predictions: [P, F, C, H, W] of the clip's latents, with the whole prompt; P times, each from other noise.
        without: [P, F, C, H, W], without the phrase, from the same noise.
        latent: [F, C, H, W]. The clip.

    Returns:
        [F, H, W], 0 or more: the root mean square of the change over channels; 0 where the phrase does not lessen the
        squared error. Both are means over the P times.
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
        self,
        phrase: Ranges,
        words: Ranges,
        frames: int,
        size: tuple[int, int],
        levels: frozenset[int],
    ) -> None:
        """Start with nothing seen.

        Args:
            phrase: [start, stop) of the phrase among the prompt's tokens.
            words: of all words of the prompt.
            frames: of the clip.
            size: height and width of its latents.
            levels: of the UNet in which to look.
        """
        own, every = ({place for span in spans for place in range(*span)} for spans in (phrase, words))
        self._own, self._others = sorted(own), sorted(every - own)
        self._size, self._levels = size, levels
        self._maps: list[Tensor | None] = [None] * frames
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
        height, width = check_places(call, layer, query.shape[2])
        shared = len(query) // len(key)
        for row, picture in enumerate(query):
            chunk, number = divmod(row, call.videos * call.frames)
            if call.conditions[chunk].index != 0:
                continue
            weights = picture.float() @ key[row // shared].float().mT * picture.shape[-1] ** -0.5
            weights = weights.softmax(-1).mean(0)
            seen = weights[:, self._own].mean(-1)
            if self._others:
                seen = seen - weights[:, self._others].mean(-1)
            self._add(call.frame_ids[number % call.frames], seen.view(1, 1, height, width))

    def maps(self) -> Tensor:
        """Return what was seen, [F, H, W] float.

        Raises:
            ValueError: a frame was in no model call.
        """
        seen = [
            None if total is None else total / count
            for total, count in zip(self._maps, self._counts, strict=True)
        ]
        unseen = [frame for frame, one in enumerate(seen) if one is None]
        if unseen:
            raise ValueError(
                f"cross-attention of frame {unseen[0]} was not seen at levels {sorted(self._levels)}; expected every "
                "frame in a model call; choose other levels, or take context windows out of the model."
            )
        return torch.stack([one for one in seen if one is not None])

    def _add(self, frame: int, seen: Tensor) -> None:
        grid = functional.interpolate(seen, self._size, mode="bilinear")[0, 0]
        before = self._maps[frame]
        self._maps[frame] = grid if before is None else before + grid
        self._counts[frame] += 1


def normalise(maps: Tensor) -> Tensor:
    """Bring a clip's maps to 0 .. 1 by its own range; a clip of one value becomes 0.

    Args:
        maps: [F, H, W].

    Returns:
        [F, H, W].
    """
    low, high = maps.min(), maps.max()
    return (maps - low) / (high - low).clamp(min=torch.finfo(maps.dtype).tiny)


def clean_masks(
    masks: Tensor, frames: int, size: tuple[int, int], *, threshold: float, dilation: int, hold: int
) -> Tensor:
    """Cut masks, grow them, and hold them over time.

    Args:
        masks: [F, H', W'] float, 0 .. 1; brought to the latents' cells by their mean in each.
        frames: of the latents.
        size: height and width of the latents.
        threshold: a cell is foreground above it.
        dilation: side in cells of the square of ones that the foreground is dilated by; 1 leaves it as it is.
        hold: a cell is foreground in the frames up to so many before and after one where it is.

    Returns:
        [F, H, W] float, 1 = foreground.

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
    cells = functional.interpolate(masks[:, None].float(), size, mode="area")
    foreground = dilate((cells > threshold).float(), cells.new_ones(dilation, dilation))
    over_time = rearrange(foreground, "f 1 h w -> 1 (h w) f")
    held = functional.max_pool1d(over_time, 2 * hold + 1, stride=1, padding=hold)
    return rearrange(held, "1 (h w) f -> f h w", h=size[0])
