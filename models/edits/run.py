"""A sampling run as edits arrange it: what it starts from, and how often it is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ..video.shapes import Clip, Sigmas
from .active import find, finish
from .edit import Edit

Once = Callable[[Clip, Sigmas, Callable[[int], int]], Clip]
"""One run: noise, levels, and which step of a plain run each step is shown as; to a clip."""


@dataclass(frozen=True)
class Start:
    """What a plain run begins with.

    It starts from ``latent + scale * noise``, where the scale is the host's: ``sqrt(1 + sigma^2)`` at the schedule's
    highest level, the level below it. So runs that start from a clip, part of the way down, can be repeated as well.
    """

    noise: Clip  # float32, of unit variance
    latent: Clip  # clean, in the model's scale; zeros for text-to-video
    highest: float  # highest of the model's noise levels
    arrange: Callable[[Clip], Clip]  # function of other noise, which makes of it what ``noise`` is


def arrange_noise(edits: Sequence[Edit], noise: Clip) -> Clip:
    """Return what a run of one video starts from; noise is zeros where it goes on from noisy latents."""
    part = find(edits, "noise")
    return noise if part is None else part.arrange(noise)


def sample_run(
    edits: Sequence[Edit], once: Once, noise: Clip, latent: Clip, sigmas: Sigmas, *, highest: float
) -> Clip:
    """Return a sampled clip: sampled once, or as often as an edit wants, from noise that is arranged already."""

    def finished(noise: Clip, levels: Sigmas, shown: Callable[[int], int]) -> Clip:
        clip = once(noise, levels, shown)
        return finish(edits, clip) if float(levels[-1]) == 0 else clip

    part = find(edits, "run")
    if part is None:
        return finished(noise, sigmas, lambda step: step)
    return part.sample(finished, Start(noise, latent, highest, partial(arrange_noise, edits)), sigmas)
