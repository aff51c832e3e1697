"""Chunks of a clip: every frame once and in order, whatever memory does; frames that are not finite."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.errors import PredictionError
from frameloom.models.video.chunked_decode import (
    CHUNK_BYTES,
    decode_chunks,
    frames_that_fit,
    is_out_of_memory,
)
from frameloom.models.video.guards import check_frames


def enlarge(latents):
    """A decoder: each cell becomes 8 x 8 pixels."""
    return latents[:, :3].repeat_interleave(8, 2).repeat_interleave(8, 3).movedim(1, -1)


@pytest.mark.parametrize("frames", [1, 2, 7, 16])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 100])
@pytest.mark.parametrize("room", [1, 2, 5, 100])
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
    picture = torch.empty(1, 8 * height, 8 * width, 3, dtype=torch.float32).nbytes
    assert (
        frames_that_fit(height, width) * picture
        <= CHUNK_BYTES
        < (frames_that_fit(height, width) + 1) * picture
    )


def test_one_frame_always_fits():
    assert frames_that_fit(4096, 4096) == 1


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


def test_an_error_that_speaks_of_something_else_is_not_taken_for_memory():
    assert not is_out_of_memory(RuntimeError("expected 4 channels, got 16"))
    assert not is_out_of_memory(ValueError("out of memory"))
