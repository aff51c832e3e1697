"""Decode a long clip a chunk at a time, so that its pictures are never in memory together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch

from .guards import check_frames
from .latents import frames_of
from .shapes import Clip, Images

logger = logging.getLogger(__name__)

Decode = Callable[[Clip], Images]
"""Decodes latents, each frame by itself, to pictures 8 times as wide and high."""

CHUNK_BYTES = 64 * 2**20
"""Of a chunk's pictures, where nobody says how long a chunk is: 21 frames of 512 x 512, 2 of 1920 x 1080."""
PIXELS_A_CELL = 8
"""Of a side, as Stable Diffusion's VAE has it; only the length of a chunk is reckoned by it."""


def frames_that_fit(height: int, width: int) -> int:
    """Return how many pictures of latents of some cells, float32, have room in ``CHUNK_BYTES``; at least 1.

    Examples:
        >>> frames_that_fit(64, 64)
        21
    """
    return max(1, CHUNK_BYTES // (height * width * PIXELS_A_CELL**2 * 3 * 4))


def check_clip(latent: dict[str, Any]) -> Clip:
    """Return the samples of a LATENT whose frames can be decoded each by itself; they are finite.

    Raises:
        ValueError: they are of a video model, whose frames depend on each other, or no pictures.
        PredictionError: a frame holds NaN or infinity.
    """
    samples = frames_of(
        latent, "use core's VAE Decode, or VAE Decode Audio for sound, with the VAE of that model"
    )
    check_frames(samples, "latent")
    return samples


def decode_chunks(decode: Decode, latents: Clip, size: int) -> Iterator[Images]:
    """Decode a clip a chunk of so many frames at a time, in order; 0: as many as fit (``frames_that_fit``).

    When memory runs out, the chunk is halved and tried again; later ones are then no longer than it.

    Raises:
        MemoryError: there is none for a single frame.
        PredictionError: a picture holds NaN.
    """
    size = size or frames_that_fit(*latents.shape[2:])
    start = 0
    while start < len(latents):
        size = min(size, len(latents) - start)
        images = _decoded(decode, latents[start : start + size])
        if images is None:
            size = _halved(size, start, latents)
            continue
        check_frames(images, "decoded picture", start)
        start += size
        yield images


def _decoded(decode: Decode, latents: Clip) -> Images | None:
    """Decode, or return None when memory ran out: what the failed try held is free after the return."""
    try:
        return decode(latents)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None


def _halved(size: int, start: int, latents: Clip) -> int:
    if size == 1:
        height, width = latents.shape[2:]
        raise MemoryError(
            f"frame {start}: out of memory decoding a single frame of {width}x{height} latents; expected room for one; "
            "make smaller pictures, or decode with VAE Decode (Tiled)."
        )
    logger.warning("Out of memory decoding %d frames at a time; going on with %d.", size, size // 2)
    return size // 2


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out: an accelerator's, or the processor's."""
    said = str(error).lower()
    return isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError)
        and any(words in said for words in ("out of memory", "can't allocate memory", "not enough memory"))
    )
