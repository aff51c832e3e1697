"""A motion module's positions over another number of frames: each the encoding of a place between the trained ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from frameloom.models.motion.positions import stretch_positions
from frameloom.tests.support.motion import tiny_weights
from torch.nn.functional import interpolate


def encodings(weights):
    return {key: value for key, value in weights.state.items() if key.endswith(".pe")}


@pytest.mark.parametrize(("known", "frames"), [(16, 48), (16, 5), (32, 33), (1, 4)])
def test_every_frame_has_the_encoding_of_its_place_among_the_known_ones(known, frames):
    weights = tiny_weights()
    stretched = stretch_positions(weights, known, frames)
    places = (np.arange(frames) + 0.5) * known / frames - 0.5
    for key, encoding in encodings(weights).items():
        got = stretched.state[key]
        wanted = [np.interp(places, np.arange(known), column) for column in encoding[0, :known].numpy().T]
        np.testing.assert_allclose(got[0].numpy().T, wanted, atol=1e-5)
        plane = encoding[None, :, :known]
        torch.testing.assert_close(got, interpolate(plane, (frames, plane.shape[-1]), mode="bilinear")[0])
    assert stretched.size.max_frames == frames


def test_as_many_frames_keep_their_encodings_and_nothing_else_changes():
    weights = tiny_weights()
    same = stretch_positions(weights, 20, 20)
    for key, encoding in encodings(weights).items():
        assert torch.equal(same.state[key], encoding[:, :20])
    others = weights.state.keys() - encodings(weights)
    assert others
    assert all(same.state[key] is weights.state[key] for key in others)
    assert weights.size.max_frames == 32


def test_half_precision_stays_and_is_rounded_once():
    weights = tiny_weights()
    key = next(iter(encodings(weights)))
    halved = {name: value.half() for name, value in weights.state.items()}
    half = stretch_positions(type(weights)("mm", "v2", weights.size, halved, None), 16, 40).state[key]
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), stretch_positions(weights, 16, 40).state[key], atol=1e-3, rtol=0)


def test_more_frames_than_the_module_has_encodings_for_are_refused():
    with pytest.raises(
        ValueError, match=r"known_frames: got 33; expected at most 32, .*mm.safetensors.*lower"
    ):
        stretch_positions(tiny_weights(), 33, 48)
