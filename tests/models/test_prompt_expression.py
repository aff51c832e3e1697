"""Arithmetic in prompts: read by a parser, worked out for each frame, or refused by its place."""

from __future__ import annotations

import math

import pytest
from frameloom.models.long_video.prompt_expression import ExpressionError, evaluate, fill_in
from frameloom.models.long_video.prompt_text import parse_prompts
from frameloom.models.long_video.prompt_travel import fill_travel, plan_travel, used_prompts


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("t / max_f", 3 / 12),
        ("1 + 2 * 3 - 4", 3.0),
        ("(1 + 2) * 3", 9.0),
        ("-t ** 2", -9.0),
        ("2 ** 3 ** 2", 512.0),
        ("-7 % 3", 2.0),
        ("7 // 2", 3.0),
        ("0.5 + 0.5 * sin(2 * pi * t / max_f)", 1.0),
        ("cos(0) + tan(0) + arctan2(0, 1)", 1.0),
        ("sqrt(abs(-16)) + exp(0) + log10(100)", 7.0),
        ("where(t > 2, 1, 0)", 1.0),
        ("where(t == 0, 1 / (t - 3), 5)", 5.0),
        ("where(t <= 2, 1, where(t != 3, 2, 4))", 4.0),
    ],
)
def test_expressions_are_worked_out(expression, wanted):
    assert evaluate(expression, {"t": 3.0, "max_f": 12.0, "pi": math.pi}) == pytest.approx(wanted)


@pytest.mark.parametrize(
    "expression",
    [
        "foo", "sin(1, 2)", "sin", "t.real", "t[0]", "'a'", "True", "1 if t else 2", "lambda: 1", "(1).bit_length()",
        "1; 2", "t = 1", "1 < t < 3", "sin(x=1)", "", "((1)", "\x00", "f'{t}'", "[1]", "t and 1",
    ],
)  # fmt: skip
def test_what_is_no_arithmetic_is_refused(expression):
    with pytest.raises(ExpressionError, match="expected numbers, t, max_f"):
        evaluate(expression, {"t": 3.0})


NOT_FINITE = "1 / (t - 3); log(0); sqrt(-t); arcsin(2); 9 ** 9 ** 9; 1e300 * 1e300; t % 0; 1e999 - 1e999"


@pytest.mark.parametrize("expression", NOT_FINITE.split("; "))
def test_a_value_that_is_no_finite_number_is_refused_with_its_frame(expression):
    with pytest.raises(ExpressionError, match=r"got no finite number at frame 3 in `.*; expected a fin"):
        evaluate(expression, {"t": 3.0})


def test_a_long_expression_is_refused():
    with pytest.raises(ExpressionError, match=r"got 301 characters in `1\+1.*\.\.\.; expected at most 200"):
        evaluate("1" + "+1" * 150, {})


def test_numbers_are_written_as_weights_are():
    filled = fill_in("(a:`t / max_f`) (b:`0 - 0`) (c:`t * 1e-9`) (d:`-t`)", 1, 4)
    assert filled == "(a:0.33333) (b:0) (c:0) (d:-1)"


def test_each_frame_of_a_travel_has_its_own_values():
    text = "0: a (cross:`t / max_f`)\n2: a ball"
    keys = parse_prompts(text, 5)
    blends = plan_travel(keys, 5, "linear")
    filled, moved = fill_travel(keys, blends, text)
    said = [(filled[one.before], filled[one.after], one.part) for one in moved]
    assert said == [
        ("a (cross:0)", "a (cross:0)", 0),
        ("a (cross:0.25)", "a ball", 0.5),
        *[("a ball", "a ball", 0)] * 3,
    ]
    assert used_prompts(filled, moved) == ["a ball", "a (cross:0)", "a (cross:0.25)"]
    assert fill_travel({0: "a"}, plan_travel({0: "a"}, 5, "hold"), "")[1] == plan_travel({0: "a"}, 5, "hold")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "0: a\n1: b (c:`1 / (t - 1)`)",
            r"prompts line 2, column 9: got no finite number at frame 1 in `1 / \(t - 1\)`",
        ),
        ("0: a (b:`foo(t)`)", r"prompts line 1, column 9: got 'foo\(t\)' in `foo\(t\)`; expected numbers"),
        ("0: a `t", r"prompts line 1, column 6: got one back quote in `t; expected two around an expression"),
    ],
)
def test_a_wrong_expression_is_told_its_place(text, message):
    keys = parse_prompts(text, 3)
    with pytest.raises(ValueError, match=message):
        fill_travel(keys, plan_travel(keys, 3, "hold"), text)


def test_a_wrong_expression_from_another_field_says_so():
    keys = {0: "`foo`, a"}
    with pytest.raises(ValueError, match="prompts in prepend or append: got 'foo'"):
        fill_travel(keys, plan_travel(keys, 3, "hold"), "0: a")
