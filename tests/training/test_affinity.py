"""The pictures that a PIA module is given in training, and how near frames are to them."""

from __future__ import annotations

import torch
from frameloom.tests.support.training import moving_clips
from frameloom.training.loop import step_generator
from frameloom.training.motion.affinity import NONE, affinities, draw_pictures

CLIPS = moving_clips(count=3, frames=5).latents


def far(clip, one, other):
    return float((CLIPS[clip, one] - CLIPS[clip, other]).abs().mean())


def test_affinity_is_a_frames_nearness_beside_the_farthest_of_frames_as_far_apart_in_time():
    got = affinities(CLIPS)
    for clip, given, frame in torch.cartesian_prod(
        torch.arange(3), torch.arange(5), torch.arange(5)
    ).tolist():
        apart = abs(given - frame)
        most = max(far(each, first, first + apart) for each in range(3) for first in range(5 - apart))
        wanted = 1 - 0.8 * far(clip, given, frame) / most if apart else 1.0
        torch.testing.assert_close(float(got[clip, given, frame]), wanted, rtol=1e-5, atol=1e-6)


def test_clips_that_stand_still_are_near_throughout():
    assert torch.equal(affinities(CLIPS[:, :1].expand(-1, 5, -1, -1, -1)), torch.ones(3, 5, 5))


def test_a_picture_is_a_frame_of_its_own_clip_or_none():
    table, counts, count = affinities(CLIPS), torch.zeros(6), 600
    for number in range(count // 3):
        shown, near = draw_pictures(CLIPS, table, step_generator(3, number))
        for clip in range(3):
            is_frame = (CLIPS[clip] == shown[clip]).flatten(1).all(1)
            counts[:5] += is_frame
            if is_frame.any():
                assert torch.equal(near[clip], table[clip, is_frame.nonzero().item()])
            else:
                counts[5] += 1
                assert not shown[clip].any()
                assert not near[clip].any()
    share = counts / count
    assert abs(share[5] - NONE) < 0.06, "4 standard deviations"
    assert (share[:5] - (1 - NONE) / 5).abs().max() < 0.06
