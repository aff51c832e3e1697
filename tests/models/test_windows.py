"""Plans of context windows: cover, weights, order, and what they are by their definition."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import get_args

import pytest
from frameloom.models.video.windows import WindowPlan, WindowSchedule, WindowWeights

SCHEDULES, WEIGHTS = get_args(WindowSchedule), get_args(WindowWeights)


@pytest.fixture(scope="module")
def planned():
    """Plans with the length of a clip and a step, and their windows: all small ones of one size, and drawn ones."""
    plans, draw = [], random.Random(7)
    for schedule, weights in itertools.product(SCHEDULES, WEIGHTS):
        for length, frames in itertools.product(range(1, 7), range(1, 15)):
            plans.append((WindowPlan(length, length // 2, schedule, 2, weights), frames, frames % 5))
    for _ in range(500):
        length, schedule, weights = draw.randint(1, 40), draw.choice(SCHEDULES), draw.choice(WEIGHTS)
        plan = WindowPlan(length, draw.randrange(length), schedule, draw.randint(1, 5), weights)
        plans.append((plan, draw.randint(1, 300), draw.randint(0, 60)))
    return [(plan, frames, step, plan.windows(frames, step)) for plan, frames, step in plans]


def test_every_frame_is_covered_and_weights_are_positive_and_sum_to_1(planned):
    for plan, frames, step, windows in planned:
        total = Counter()
        for window in windows:
            weights = plan.weigh(window, frames)
            assert len(weights) == len(window) == len(set(window)), (plan, frames)
            assert min(weights) > 0, (plan, frames)
            total.update(dict(zip(window, weights, strict=True)))
        assert sorted(total) == list(range(frames)), (plan, frames, step)
        shares = Counter()
        for window in windows:
            for frame, weight in zip(window, plan.weigh(window, frames), strict=True):
                shares[frame] += weight / total[frame]
        assert all(abs(share - 1) < 1e-9 for share in shares.values())


def test_windows_have_their_length_and_are_different(planned):
    for plan, frames, step, windows in planned:
        assert len(set(windows)) == len(windows), (plan, frames, step)
        short = [window for window in windows if len(window) != min(plan.length, frames)]
        assert not short or (plan.schedule == "batched" and short == windows[-1:]), (plan, frames)


def test_no_frame_is_asked_about_alone_if_it_need_not_be(planned):
    for plan, frames, _, windows in planned:
        assert min(map(len, windows)) > 1 or min(plan.length, frames) == 1, (plan, frames)


def test_windows_with_the_first_frame_come_first(planned):
    for *_, windows in planned:
        has = [0 in window for window in windows]
        assert has[0]
        assert has == sorted(has, reverse=True)


@pytest.mark.parametrize(
    ("plan", "frames", "ends"),
    [
        (WindowPlan(16, 4), 40, [(0, 15), (12, 27), (24, 39)]),
        (WindowPlan(16, 4), 41, [(0, 15), (12, 27), (24, 39), (25, 40)]),
        (WindowPlan(16, 0), 17, [(0, 15), (1, 16)]),
        (WindowPlan(16, 4, "batched"), 40, [(0, 15), (16, 31), (32, 39)]),
        (WindowPlan(16, 4, "batched"), 33, [(0, 15), (16, 31), (17, 32)]),
        (WindowPlan(16, 4, "batched"), 34, [(0, 15), (16, 31), (32, 33)]),
        (WindowPlan(16, 4, "uniform"), 32, [(0, 15), (12, 27), (16, 31)]),
        (WindowPlan(8, 2, "looped"), 16, [(0, 7), (12, 3), (6, 13)]),
        (WindowPlan(16, 4), 16, [(0, 15)]),
        (WindowPlan(16, 4, "looped"), 9, [(0, 8)]),
    ],
)
def test_plans_at_the_first_step(plan, frames, ends):
    assert [(window[0], window[-1]) for window in plan.windows(frames, 0)] == ends


def test_seams_of_uniform_plans_move_and_those_of_static_ones_stay():
    static, uniform = (WindowPlan(16, 4, schedule) for schedule in ("static", "uniform"))
    assert static.windows(64, 0) == static.windows(64, 5)
    assert len({tuple(uniform.windows(64, step)) for step in range(8)}) >= 6


def test_a_stride_adds_windows_of_every_second_and_fourth_frame_as_far_as_they_fit():
    def spacings(frames, **settings):
        windows = WindowPlan(8, 2, stride=4, **settings).windows(frames, 0)
        return {(window[1] - window[0]) % frames for window in windows}

    assert spacings(40, schedule="uniform") == {1, 2, 4}
    assert spacings(31, schedule="uniform") == {1, 2}
    assert spacings(15, schedule="looped") == {1}
    assert spacings(40, schedule="static") == {1}


@pytest.mark.parametrize("frames", [2, 9, 16])
def test_a_loop_of_one_window_begins_elsewhere_in_each_step(frames):
    plan = WindowPlan(16, 4, "looped")
    windows = [plan.windows(frames, step) for step in range(4)]
    assert plan.is_needed(frames)
    assert [len(each) for each in windows] == [1] * 4
    assert len({window[0] for (window,) in windows}) == min(4, frames)
    assert all(
        window[place] == (window[0] + place) % frames for (window,) in windows for place in range(frames)
    )
    assert not plan.is_needed(1)


def test_a_looped_plan_has_no_place_of_its_own_in_the_clip():
    """The same step of a loop whose frames are counted from elsewhere has the same windows, moved."""
    frames, plan = 24, WindowPlan(8, 2, "looped")
    assert {window for step in range(24) for window in plan.windows(frames, step)} >= {
        tuple((frame + 12) % frames for frame in window) for window in plan.windows(frames, 0)
    }
    assert any(0 in window and frames - 1 in window for window in plan.windows(frames, 1))


@pytest.mark.parametrize(
    ("weights", "window", "expected"),
    [
        ("flat", range(4), [1, 1, 1, 1]),
        ("pyramid", range(6), [1, 2, 3, 3, 2, 1]),
        ("pyramid", range(5), [1, 2, 3, 2, 1]),
        ("overlap-linear", range(6), [1, 1, 1, 1, 2 / 3, 1 / 3]),
        ("overlap-linear", range(4, 10), [1 / 3, 2 / 3, 1, 1, 2 / 3, 1 / 3]),
        ("overlap-linear", range(14, 20), [1 / 3, 2 / 3, 1, 1, 1, 1]),
        ("overlap-linear", range(19, 20), [1 / 2]),
    ],
)
def test_weights_by_their_definition(weights, window, expected):
    assert WindowPlan(6, 2, weights=weights).weigh(tuple(window), 20) == pytest.approx(expected)


def test_a_loop_has_ramps_at_both_ends_of_every_window():
    assert WindowPlan(6, 2, "looped", weights="overlap-linear").weigh(tuple(range(6)), 20)[0] < 1
