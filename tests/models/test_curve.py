"""Curves of numbers as users write them."""

from __future__ import annotations

import math

import pytest
from frameloom.models.video.curve import frame_curve, step_keys


def values(text, frames=5, easing="linear"):
    return pytest.approx(frame_curve("strength", text, frames, easing).tolist(), abs=1e-6)


@pytest.mark.parametrize(
    ("text", "easing", "expected"),
    [
        ("1", "linear", [1, 1, 1, 1, 1]),
        ("1, .5", "linear", [1, 0.5, 0.5, 0.5, 0.5]),
        ("1 .\n", "linear", None),
        ("0, 1, 2, 3, 4, 5, 6", "linear", [0, 1, 2, 3, 4]),
        ("0: 1\n4: 0", "linear", [1, 0.75, 0.5, 0.25, 0]),
        ("-1: 0; 0: 1", "linear", [1, 0.75, 0.5, 0.25, 0]),
        ("0:(1), 2:(0.5)", "hold", [1, 1, 0.5, 0.5, 0.5]),
        ("50%: 2, 100% = 4", "linear", [2, 2, 2, 3, 4]),
        ("0: 0, 8: 8", "linear", [0, 1, 2, 3, 4]),
        ("1: 1, -2: -1", "these alone", [0, 1, 0, -1, 0]),
        ("0: 0, 4: 1", "ease in", [0, 1 / 16, 1 / 4, 9 / 16, 1]),
        ("0: 0, 4: 1", "ease out", [0, 7 / 16, 3 / 4, 15 / 16, 1]),
        ("0: 0, 4: 1", "ease in and out", [(1 - math.cos(math.pi * t / 4)) / 2 for t in range(5)]),
    ],
)
def test_a_curve(text, easing, expected):
    if expected is None:
        with pytest.raises(ValueError, match="expected a number, or a key"):
            frame_curve("strength", text, 5, easing)
    else:
        assert expected == values(text, easing=easing)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "got no number"),
        ("nan", "got 'nan'; expected a number"),
        ("0: inf", "got '0: inf'; expected a number"),
        ("1e3", "got '1e3'"),
        ("0: 1, 0.5", "got 1 numbers with keys and 1 without"),
        ("0: 1, 0: 2", "got 0 twice"),
        ("4: 1, -1: 2", "got 4 twice"),
        ("-6: 1", "got frame -6 of a clip of 5; expected -5 or more"),
        ("0.5: 1", "got frame 0.5; expected a whole number"),
        ("101", "got 101; expected -100 to 100"),
        ("1," * 60_000, "got 120,000 characters"),
    ],
)
def test_what_is_no_curve_is_refused_by_name(text, said):
    with pytest.raises(ValueError, match=f"^strength: {said}"):
        frame_curve("strength", text, 5)


def test_of_several_lines_the_wrong_one_is_named():
    with pytest.raises(ValueError, match=r"^strength line 3: got '4 0'"):
        frame_curve("strength", "0: 1, 2: .5\n\n4 0", 5)
    with pytest.raises(ValueError, match=r"^strength line 2: got 1000"):
        frame_curve("strength", "0: 1\n4: 1000", 5)


def test_steps():
    assert step_keys("by_step", "0.5") == {0: 0.5}
    assert step_keys("by_step", "0: 1, 50%: .3, 1: 0") == {0: 1, 0.5: 0.3, 1: 0}
    for text, said in [
        ("1, 2", "got a list of 2"),
        ("2: 1", "got 2; expected a share"),
        ("0.5: 1, 50%: 1", "twice"),
    ]:
        with pytest.raises(ValueError, match=said):
            step_keys("by_step", text)
