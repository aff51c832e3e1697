"""A sampling run as edits arrange it: what it starts from, and how often it is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from .active import find
from .edit import Edit

Once = Callable[[Tensor, Tensor, Callable[[int], int]], Tensor]
"""One run: noise [F, C, H, W], levels [steps + 1], and which step of a plain run each step is shown as; to a clip."""


@dataclass(frozen=True)
class Start:
    """What a plain run begins with.

    It starts from ``latent + scale * noise``, where the scale is the host's: ``sqrt(1 + sigma^2)`` at the schedule's
    highest level, the level below it. So runs that start from a clip, part of the way down, can be repeated as well.

    Attributes:
        noise: [F, C, H, W] float32. Noise of unit variance.
        latent: [F, C, H, W]. Clean latents in the model's scale; zeros for text-to-video.
        highest: highest of the model's noise levels.
        arrange: function that makes start noise of other noise, [F, C, H, W], as ``noise`` was made.
    """

    noise: Tensor
    latent: Tensor
    highest: float
    arrange: Callable[[Tensor], Tensor]


def arrange_noise(edits: Sequence[Edit], noise: Tensor) -> Tensor:
    """Return what a run starts from, [F, C, H, W]; the noise itself where no edit has a say.

    Args:
        edits: edits on the model.
        noise: [F, C, H, W]. Noise of one video; zeros where a run goes on from noisy latents.
    """
    part = find(edits, "noise")
    return noise if part is None else part.arrange(noise)


def sample_run(
    edits: Sequence[Edit], once: Once, noise: Tensor, latent: Tensor, sigmas: Tensor, *, highest: float
) -> Tensor:
    """Return a sampled clip, [F, C, H, W]: sampled once, or as often as an edit wants.

    Args:
        edits: edits on the model.
        once: function that samples once.
        noise: noise of ``Start``; arranged already.
        latent: latents of ``Start``.
        sigmas: [steps + 1] descending noise levels.
        highest: highest of the model's noise levels.
    """
    part = find(edits, "run")
    if part is None:
        return once(noise, sigmas, lambda step: step)
    return part.sample(once, Start(noise, latent, highest, partial(arrange_noise, edits)), sigmas)
