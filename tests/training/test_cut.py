"""Which frames a clip takes by time, and round a loop, against plain sums over seconds."""

from fractions import Fraction

import pytest
from frameloom.models.errors import ClipError
from frameloom.training.video.cut import Cut, Timeline

MS = Fraction(1, 1000)
VARIABLE = [
    33 * n + 167 * min(max(n - 7, 0), 4) for n in range(24)
]  # 200 ms before each of the frames 8 to 11


def cut(frames, stride=1, fps=0.0, **others):
    return Cut(frames, stride, 32, 32, fps=fps, **others)


def numbers(stamps, fps, last=0, unit=MS):
    """All frames that a rate shows, one after another."""
    timeline = Timeline.from_stamps(stamps, last, unit)
    (clip,) = cut(timeline.steps(Fraction(fps).limit_denominator(1001)), fps=fps).clips(timeline)
    return list(clip)


def on_screen(stamps, seconds):
    """What a player shows: the last frame that has begun."""
    return max(n for n, stamp in enumerate(stamps) if (stamp - stamps[0]) / 1000 <= seconds + 1e-9)


def test_a_changing_rate_is_read_by_time_frame_by_frame():
    shown = numbers(VARIABLE, 10, last=33)
    end = (VARIABLE[-1] + 33) / 1000
    assert shown == [on_screen(VARIABLE, k / 10) for k in range(15)]
    assert end == pytest.approx(1.46)
    assert shown == [0, 3, 6, 7, 7, 8, 8, 9, 9, 10, 10, 13, 16, 19, 22]


@pytest.mark.parametrize("start", [0, 1400, -80])
def test_the_first_frame_is_at_time_zero_wherever_the_stamps_begin(start):
    assert numbers([start + each for each in VARIABLE], 10, last=33) == numbers(VARIABLE, 10, last=33)


def test_in_a_gap_the_frame_before_it_stays():
    assert numbers([0, 100, 200, 900, 1000], 10) == [0, 1, 2, 2, 2, 2, 2, 2, 2, 3, 4]


@pytest.mark.parametrize(("rate", "fps"), [(24, 24), (24, 12), (30, 15), (25, 5), (24, 8), (60, 24)])
@pytest.mark.parametrize("unit", [MS, Fraction(1, 90000), Fraction(1, 12288), Fraction(1, 1)])
@pytest.mark.parametrize("towards", [round, int])
def test_rounded_stamps_shift_no_frame(rate, fps, unit, towards):
    """Matroska counts milliseconds: frame 1 of 24 a second is at 42 instead of 41.67. Unit 1: the rate's own."""
    unit = Fraction(1, rate) if unit == 1 else unit
    stamps = [towards(Fraction(n, rate) / unit) for n in range(2 * rate)]
    assert numbers(stamps, fps, unit=unit) == [k * rate // fps for k in range(2 * fps)]


def test_a_rate_above_the_files_own_shows_frames_again():
    assert numbers([0, 100, 200], 20) == [0, 0, 1, 1, 2, 2]


def test_stride_counts_steps_of_the_rate_and_starts_are_spread_over_them():
    timeline = Timeline.from_stamps([10 * n for n in range(100)], 10, MS)  # a second at 100
    assert cut(4, 2, fps=20).clips(timeline) == [(30, 40, 50, 60)]
    assert cut(4, 2, fps=20, clips_per_video=2).clips(timeline) == [(0, 10, 20, 30), (65, 75, 85, 95)]


def test_a_video_too_short_for_the_rate_is_refused_in_its_frames():
    timeline = Timeline.from_stamps([33 * n for n in range(24)], 33, MS)
    with pytest.raises(ClipError, match=r"^has 4 frames at fps=5; expected at least 16$"):
        cut(16, fps=5).clips(timeline)


def test_pictures_without_times_are_taken_at_any_rate_and_a_lost_one_is_a_gap():
    timeline = Timeline.from_stamps([0, 1, 2, 5, 6], 1, None)
    assert cut(7, fps=12).clips(timeline) == [(0, 1, 2, 2, 2, 3, 4)]
    assert cut(5).clips(timeline) == [(0, 1, 2, 3, 4)]


@pytest.mark.parametrize("fps", [0.0, 10.0])
@pytest.mark.parametrize(
    ("count", "frames", "stride", "clip"),
    [
        (16, 4, 4, [0, 4, 8, 12]),  # once round, at this stride
        (16, 4, 1, [0, 4, 8, 12]),  # a smaller one doesn't come round
        (8, 16, 1, [*range(8), *range(8)]),  # twice
        (10, 4, 2, [0, 2, 5, 7]),  # 8 of 10: once, and the steps are as equal as they can be
        (6, 4, 4, [0, 4, 3, 1]),  # 16 of 6: three times, 4.5 each
        (5, 5, 6, [0, 1, 2, 3, 4]),  # 30 of 5: six times, a step further each
    ],
)
def test_a_loop_is_gone_round_whole_times_at_the_step_closest_to_stride(count, frames, stride, clip, fps):
    timeline = Timeline.from_stamps([100 * n for n in range(count)], 100, MS)
    assert cut(frames, stride, fps, loop=True).clips(timeline) == [tuple(clip)]


def test_the_step_from_the_last_frame_to_the_first_is_as_long_as_all_others():
    """In time, where frames are shown for unequal times."""
    timeline = Timeline.from_stamps(VARIABLE, 33, MS)
    (clip,) = cut(8, 1, 5, loop=True).clips(timeline)
    assert list(clip) == [on_screen(VARIABLE, k * 1.46 / 8) for k in range(8)]


def test_clips_of_a_loop_start_at_evenly_spread_places_and_wrap_around():
    timeline = Timeline.from_stamps([100 * n for n in range(12)], 100, MS)
    clips = cut(4, 3, loop=True, clips_per_video=3).clips(timeline)
    assert clips == [(0, 3, 6, 9), (4, 7, 10, 1), (8, 11, 2, 5)]
    assert len(cut(4, 3, loop=True, clips_per_video=100).clips(timeline)) == 12
    with pytest.raises(ClipError, match="has 1 frame; expected at least 2 for a loop"):
        cut(4, loop=True).clips(Timeline.from_stamps([0], 100, MS))


def test_uneven_is_what_rounding_cannot_explain():
    assert Timeline.from_stamps(VARIABLE, 33, MS).is_uneven
    assert not Timeline.from_stamps([33, 67, 100, 133], 33, MS).is_uneven
    assert not Timeline.from_stamps([0, 3, 6, 10, 13], 3, Fraction(1, 100)).is_uneven
    assert not Timeline.from_stamps([0, 1, 5], 1, None).is_uneven
