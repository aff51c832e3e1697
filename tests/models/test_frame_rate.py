"""Picked frames against the closed form, and against what VideoHelperSuite's own code picks."""

from __future__ import annotations

from fractions import Fraction
from itertools import count, takewhile
from math import ceil

import pytest
from frameloom.models.video.frame_rate import MOST_FRAMES, choose_frames

# count, source fps, force_rate, skip_first_frames, select_every_nth, frame_load_cap -> the frames that the reader of
# VideoHelperSuite 1.7.9 (revision 4ee72c0) yielded for them. At 24 to 16 its sums are rounded past every other tie.
THEIRS = {
    (20, 24, 16, 0, 1, 0): [0, 2, 4, 5, 7, 8, 10, 11, 13, 14, 16, 17, 19],
    (24, 30, 8, 0, 1, 0): [0, 4, 8, 12, 15, 19, 23],
    (24, 30, 12, 1, 2, 4): [3, 8, 13, 18],
    (20, 29.97002997002997, 8, 0, 1, 0): [0, 4, 8, 12, 15, 19],
    (40, 25, 12, 3, 1, 8): [7, 9, 11, 13, 15, 17, 19, 21],
    (5, 8, 12, 0, 1, 0): [0, 1, 2, 2, 3, 4, 4],
    (60, 60, 24, 2, 5, 0): [5, 18, 30, 43, 55],
    (30, 23.976023976023978, 0, 4, 6, 3): [4, 10, 16],
}


@pytest.mark.parametrize("asked", THEIRS, ids=str)
def test_the_frames_are_video_helper_suites(asked):
    assert choose_frames(*asked) == THEIRS[asked]


@pytest.mark.parametrize("source", [1, 8, 16, 64])
@pytest.mark.parametrize("rate", [0.5, 4, 8, 32])
def test_where_nothing_is_rounded_a_frame_is_the_first_that_is_not_too_early(source, rate):
    due = (ceil(number * Fraction(source) / Fraction(rate)) for number in count())
    assert choose_frames(50, source, rate) == list(takewhile(lambda frame: frame < 50, due))


def test_skipping_and_every_nth_count_at_the_new_rate_and_the_cap_is_last():
    at_rate = choose_frames(100, 30, 12)
    assert choose_frames(100, 30, 12, skip=3, every=4, cap=5) == at_rate[3::4][:5]


def test_without_a_rate_all_frames_stay():
    assert choose_frames(7, 30) == list(range(7))


def test_frames_that_are_all_skipped_are_refused():
    with pytest.raises(ValueError, match="got 4 of a clip of 16 frames at 8 frames a second; expected fewer"):
        choose_frames(16, 32, 8, skip=4)


def test_more_frames_than_any_clip_has_are_refused_before_they_are_made():
    with pytest.raises(
        ValueError, match="more than 100,000 frames; expected fewer; lower it, or set frame_cap"
    ):
        choose_frames(200, 1, 1000)
    assert len(choose_frames(200, 1, 1000, cap=MOST_FRAMES)) == MOST_FRAMES
