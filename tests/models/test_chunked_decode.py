"""Chunks of a clip: every frame once and in order, whatever memory does; frames that are not finite."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.errors import PredictionError
from frameloom.models.video.chunked_decode import CHUNK_BYTES, decode_chunks, frames_that_fit
from frameloom.models.video.guards import check_frames


def enlarge(latents):
    """A decoder: each cell becomes 8 x 8 pixels."""
    return latents[:, :3].repeat_interleave(8, 2).repeat_interleave(8, 3).movedim(1, -1)


@pytest.mark.parametrize("frames", [1, 7, 16])
@pytest.mark.parametrize("size", [0, 1, 3, 100])
@pytest.mark.parametrize("room", [1, 5, 100])
def test_every_frame_comes_once_and_in_order_whatever_there_is_room_for(frames, size, room):
    latents = torch.rand(frames, 4, 2, 3, generator=torch.Generator().manual_seed(0))
    lengths = []

    def decode(part):
        if len(part) > room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        lengths.append(len(part))
        return enlarge(part)

    chunks = list(decode_chunks(decode, latents, size))
    assert torch.equal(torch.cat(chunks), enlarge(latents))
    assert [len(chunk) for chunk in chunks] == lengths
    assert max(lengths) <= min(size or frames, room)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (64, 64), (90, 160), (135, 240)])
def test_what_fits_is_the_most_that_is_no_larger_than_the_limit(height, width):
    picture, most = torch.empty(1, 8 * height, 8 * width, 3).nbytes, frames_that_fit(height, width)
    assert most * picture <= CHUNK_BYTES < (most + 1) * picture
    assert frames_that_fit(4096, 4096) == 1, "a frame always fits"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_large_numbers_are_finite_and_others_are_told_by_frame(dtype):
    largest = torch.finfo(dtype).max
    frames = torch.full((4, 2, 3), largest, dtype=dtype)
    frames[2] = -largest
    check_frames(frames, "latent", 10)
    for value in (float("nan"), float("inf"), float("-inf")):
        spoiled = frames.clone()
        spoiled[1, 0, 2] = spoiled[3, 1, 1] = value
        with pytest.raises(PredictionError, match=rf"in 2 of 4 frames \(first: frame 11\), dtype {dtype}"):
            check_frames(spoiled, "latent", 10)
