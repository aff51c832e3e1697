"""Prompts by frame: what the text may be, what a wrong one is told, and what every frame is drawn from."""

from __future__ import annotations

import faulthandler
import json
import math
import random
import re

import pytest
import torch
from frameloom.models.long_video.prompt_text import parse_prompts, storyboard_prompts
from frameloom.models.long_video.prompt_travel import (
    MAX_FRAMES,
    Blend,
    describe_travel,
    plan_travel,
    travel_conditions,
    used_prompts,
)
from frameloom.models.storyboard.scenes import MAX_CHARACTERS, Entity, Scene, Storyboard

TWO = {0: "a", 16: "b"}


@pytest.fixture(autouse=True)
def deadline():
    """End the run with a traceback where a text keeps the parser busy for ever."""
    faulthandler.dump_traceback_later(300, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.parametrize(
    "text",
    [
        "0: a\n16: b",
        "16: b\n0: a",
        "\n\n  0 : a  \r\n\t16:b\r\n",
        "# two\n0: a\n   # more\n16: b\n#",
        '"0": "a", "16": "b"',
        '"0": "a",\n"16": "b",\n',
        '{"0": "a", "16": "b"}',
        '{\n  "0" : "a",\n  # a remark\n  "16": "b",\n}\n',
        '{0: "a", 16: "b"}',
        '0: "a"\n16: "b"',
        '"0": "a"\n"16": "b"',
        '"0": "a", # a remark\n"16": "b" # another',
        "0%: a\n50%: b",
        "00: a\n48.5 %: b",
        '"0": "a", 16: b',
        "\u201c0\u201d: \u201ca\u201d,\n\u201c16\u201d :\u201cb\u201d,",
        "0\uff1aa\n16\uff1a b",
        '"0"\uff1a "a"\uff0c\n"16": "b"\uff0c',
        "\uff10: a\n50\uff05: b",
        "\u201e0\u201c: \u201ea\u201c, \uff0216\uff02\uff1a\uff02b\uff02",
        '"0" :"a",\n"16" :"b",\n',
    ],
)
def test_every_form_says_the_same(text):
    assert parse_prompts(text, 33) == TWO
    assert list(parse_prompts(text, 33)) == [0, 16]


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("0: a (red:1.2) circle, on: navy # deep", "a (red:1.2) circle, on: navy # deep"),
        (r'"0": "a \"red\" circle"', 'a "red" circle'),
        (r'"0": "\(red\) \\(circle\\)"', r"\(red\) \(circle\)"),
        (r'"0": "back\\ and \/ and caf\u00e9 \ud83e\udd8a"', "back\\ and / and caf\u00e9 \U0001f98a"),
        (r'"0": "one\ntwo"', "one\ntwo"),
        (r"0: one\ntwo", r"one\ntwo"),
        ("0: {a|b}", "{a|b}"),
        ("0:", ""),
        ('"0": ""', ""),
        ("0: \u4e00\u4e2a\u7ea2\u5706", "\u4e00\u4e2a\u7ea2\u5706"),
        ("0: \u201cHello\u201d she said", "\u201cHello\u201d she said"),
        ('"0": "a \u201cred\u201d ball\uff0c round"', "a \u201cred\u201d ball\uff0c round"),
    ],
)
def test_a_prompt_is_kept_as_prompts_are_written(text, prompt):
    assert parse_prompts(text, 16) == {0: prompt}


def test_reads_what_json_writes():
    prompts = {str(7 * number): f'"{chr(32 + number)}" {chr(0x1F300 + number)}x' for number in range(90)}
    wanted = {int(frame): prompt for frame, prompt in prompts.items()}
    for options in ({}, {"indent": 2}, {"ensure_ascii": False}):
        assert parse_prompts(json.dumps(prompts, **options), 1) == wanted


@pytest.mark.parametrize(
    ("percent", "frames", "frame"),
    [
        ("0", 16, 0),
        ("100", 16, 15),
        ("50", 17, 8),
        ("50", 16, 8),
        ("33.3", 10, 3),
        ("100", 1, 0),
        ("99.999", 4, 3),
    ],
)
def test_percentages_are_shares_of_the_way_to_the_last_frame(percent, frames, frame):
    assert parse_prompts(f"{percent}%: a", frames) == {frame: "a"}


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("", 1, 1, "got the end of the text; expected a keyframe such as `0: a red circle`"),
        ("\n  # nothing\n", 3, 1, "got the end of the text; expected a keyframe"),
        ("{}", 1, 2, "got '}'; expected a keyframe"),
        ("0: a\n16: b\n  0: c", 3, 3, "got '0: c'; expected every frame once; frame 0 has a prompt already"),
        ("0: a\n0%: c", 2, 1, "got '0%: c'; expected every frame once; frame 0 has"),
        ("0: a\nfirst: b", 2, 1, "got 'first'; expected a frame, counted from 0"),
        ("a (red:1.2) circle", 1, 1, "got 'a (red'; expected a frame"),
        ("0: a\n  a blue cross", 2, 3, "got 'a blue cross'; expected `frame: prompt`"),
        ("-1: a", 1, 1, "got '-1'; expected a frame, counted from 0"),
        ("1.5: a", 1, 1, "got '1.5'; expected a frame"),
        ("1_0: a", 1, 1, "got '1_0'; expected a frame"),
        ("\u0663: a", 1, 1, "got '\u0663'; expected a frame"),
        ("1000000: a", 1, 1, "got '1000000'; expected a frame"),
        ("101%: a", 1, 1, "got '101%'; expected a frame, counted from 0, or 0% to 100%"),
        (": a", 1, 1, "got ''; expected a frame"),
        ('"": "a"', 1, 1, "got ''; expected a frame"),
        ('"0": "a", "16": "b', 1, 17, "got '\"b'; expected a quote that closes the prompt on its line"),
        ('0: "a\n16: "b"', 1, 4, "got '\"a'; expected a quote that closes"),
        ('"0": "a\\', 1, 6, "expected a quote that closes"),
        ('"0: a', 1, 1, "got '\"0: a'; expected `frame: prompt`"),
        ('"0": a red circle', 1, 6, "got 'a red circle'; expected the prompt in quotes, as in JSON"),
        ("{0: a}", 1, 5, "got 'a}'; expected the prompt in quotes"),
        ('"0": "a" "16": "b"', 1, 9, 'got \' "16": "b"\'; expected a comma or the line\'s end'),
        ('0: "red" circle', 1, 9, "got ' circle'; expected a comma or the line's end"),
        ('\n{"0": "a",', 2, 1, 'got \'{"0": "a",\'; expected a bracket } that closes it'),
        ('{"0": "a"}\n"16": "b"', 2, 1, 'got \'"16": "b"\'; expected nothing behind the bracket }'),
        ('"0": "a"}', 1, 9, "got '}'; expected `frame: prompt`"),
        ('"0:16": "a"', 1, 1, "expected `frame: prompt`"),
        ("0: a\n8: b\ud800", 2, 5, "expected text in Unicode"),
        (r'"0": "\ud800"', 1, 6, "expected text in Unicode"),
        ("\x00\x1b: " + "long " * 50, 1, 1, "got '\\x00\\x1b'; expected a frame"),
        ("long " * 50, 1, 1, "long lo...'; expected `frame: prompt`"),
        ("0: a\n1: b --neg ugly", 2, 6, "got '--neg ugly'"),  # where FizzNodes cuts prompts
    ],
)
def test_an_error_has_line_and_column_and_says_what_was_expected(text, line, column, message):
    with pytest.raises(ValueError, match=rf"^prompts line {line}, column {column}: got ") as caught:
        parse_prompts(text, 16)
    assert message in str(caught.value)


def test_too_long_a_text_is_refused():
    with pytest.raises(ValueError, match=r"got 2,000,001 characters; expected at most 2,000,000"):
        parse_prompts("0: a" + " " * (MAX_CHARACTERS - 3), 16)


GOOD = (
    '# a\n0: a (red:1.2) circle\n50%: b, c\n  15: "d"',
    '{"0": "a \\"b\\"", "16": "c\\u00e9",\n "99": "",}',
)
PIECES = [*'0123 :%",{}#\\\n\r\t.-_ab(']
PIECES += ["\ud800", "\x00", "\u0663", "\ufeff", "\\u", "\\ud83e", "\\ud83e\\udd8a", '": "', "12%"]


def check(text):
    """A text is a schedule, or one clear error."""
    try:
        keys = parse_prompts(text, 17)
    except ValueError as error:
        message = str(error)
        place = re.match(r"prompts line (\d+), column (\d+): got ", message)
        assert place, message
        line = text.split("\n")[int(place[1]) - 1]
        assert 1 <= int(place[2]) <= len(line) + 1
        assert "; expected " in message
        assert message.isprintable()
        assert len(message) < 500
        return False
    assert keys
    assert list(keys) == sorted(keys)
    "".join(keys.values()).encode()
    return True


@pytest.mark.parametrize("seed", range(4))
def test_any_text_is_a_schedule_or_one_clear_error(seed):
    rng = random.Random(seed)
    read = 0
    for number in range(400):
        text = GOOD[number % 2] if number % 4 else ""
        for _ in range(rng.randint(1, 6 if text else 30)):
            start = rng.randint(0, len(text))
            stop = min(len(text), start + rng.choice([0, 0, 1, 5]))
            text = text[:start] + rng.choice(PIECES) + text[stop:]
        read += check(text)
    assert 0 < read < 400


@pytest.mark.parametrize(
    "piece", ['"', "\\", "{", "#\n", " ", "0", ":", '"0":"', '\\"', "0:\n", "%", "\n", "}"]
)
def test_no_long_text_keeps_the_parser_busy(piece):
    text = piece * (1_000_000 // len(piece))
    check(text)
    check('"0": "' + text)
    check("0: a\n" + text)


@pytest.mark.parametrize(
    ("interpolation", "part"),
    [
        ("linear", lambda way: way),
        ("ease in-out", lambda way: math.sin(math.pi * way / 2) ** 2),
        ("hold", lambda way: 0.0),
    ],
)
def test_blends_go_from_keyframe_to_keyframe(interpolation, part):
    """Between 2, 6 and 8; before and behind them the prompt stands still."""
    for frame, blend in enumerate(plan_travel({2: "a", 6: "b", 8: "c"}, 11, interpolation)):
        before, after = (2, 6) if frame < 6 else (6, 8)
        way = (frame - before) / (after - before)
        if 0 < way < 1 and part(way):
            assert blend == Blend(before, after, pytest.approx(part(way), abs=1e-12))
        else:
            still = before if way < 1 else after
            assert blend == Blend(still, still, 0.0)


@pytest.mark.parametrize("interpolation", ["linear", "ease in-out", "hold"])
def test_a_shorter_clip_is_the_beginning_of_a_longer_one(interpolation):
    """Keyframes behind the clip count for the frames on the way to them, and parts stay within 0 and 1."""
    rng = random.Random(3)
    for _ in range(300):
        keys = {frame: "x" for frame in sorted(rng.sample(range(40), rng.randint(1, 6)))}
        long = plan_travel(keys, 50, interpolation)
        assert plan_travel(keys, 13, interpolation) == long[:13]
        for frame, (before, after, part) in enumerate(long):
            assert 0 <= part < 1
            assert (before == after) == (part == 0)
            assert {before, after} <= keys.keys()
            assert before <= max(frame, min(keys))
            if part:
                assert before < frame < after


@pytest.mark.parametrize("frames", [0, -1, MAX_FRAMES + 1])
def test_a_clip_of_no_frames_or_too_many_is_refused(frames):
    with pytest.raises(ValueError, match=rf"frames={frames}; expected 1 to 10,000"):
        plan_travel(TWO, frames, "linear")


def test_the_schedule_is_told_range_by_range_with_what_is_not_used():
    keys = {1: "a\n red  circle", 4: "", 6: "b", 99: "c", 120: "d"}
    assert describe_travel(keys, plan_travel(keys, 8, "linear")).splitlines() == [
        "0 to 1: a red circle",
        "2 to 3: a red circle -> (empty) (0.33 to 0.67)",
        "4: (empty)",
        "5: (empty) -> b (0.50)",
        "6: b",
        "7: b -> c (0.01)",
        "unused, 120: d",
    ]
    held = describe_travel(keys, plan_travel(keys, 8, "hold")).splitlines()
    assert held[-2:] == ["unused, 99: c", "unused, 120: d"]


def test_only_prompts_that_frames_have_are_encoded_and_each_once():
    keys = {0: "a", 4: "b", 8: "a", 12: "c", 99: "d"}
    assert used_prompts(keys, plan_travel(keys, 9, "hold")) == ["a", "b"]
    assert used_prompts(keys, plan_travel(keys, 10, "linear")) == ["a", "b", "c"]


def condition(seed, chunks=1, width=6, **options):
    generator = torch.Generator().manual_seed(seed)
    pooled = {"pooled_output": torch.randn(1, width, generator=generator)}
    return [[torch.randn(1, 77 * chunks, width, generator=generator), pooled | options]]


def test_rows_are_mixed_by_their_blends():
    encoded = {"a": condition(1, strength=0.5), "b": condition(2, strength=0.7)}
    ((tokens, options),) = travel_conditions(encoded, TWO, plan_travel(TWO, 20, "linear"))
    for name, mixed in (("tokens", tokens), ("pooled", options["pooled_output"])):
        first, last = (
            side[0][0] if name == "tokens" else side[0][1]["pooled_output"] for side in encoded.values()
        )
        assert torch.equal(mixed[:1], first)
        assert torch.equal(mixed[16:], last.expand(4, *last.shape[1:]))
        for frame in range(1, 16):
            wanted = (1 - frame / 16) * first + frame / 16 * last
            torch.testing.assert_close(mixed[frame : frame + 1], wanted, rtol=0, atol=1e-6)
    assert options["strength"] == 0.5
    assert encoded["a"][0][1]["pooled_output"].shape == (1, 6)  # what came in is as it was


def test_several_conditions_of_a_prompt_travel_each_by_itself():
    """A text encoder with a schedule of its own gives several."""
    encoded = {"a": condition(1) + condition(2), "b": condition(3) + condition(4)}
    mixed = travel_conditions(encoded, TWO, plan_travel(TWO, 17, "hold"))
    assert [
        torch.equal(tokens[16:], wanted[0]) for (tokens, _), wanted in zip(mixed, encoded["b"], strict=True)
    ] == [True, True]


def test_conditions_without_a_pooled_text_stay_without():
    encoded = {"a": condition(1, pooled_output=None), "b": condition(2)}
    ((_, options),) = travel_conditions(encoded, TWO, plan_travel(TWO, 17, "hold"))
    assert options["pooled_output"] is None


def test_one_prompt_is_left_as_it_is_encoded():
    encoded = {"a": condition(1)}
    prompts = {0: "a", 8: "a"}
    assert travel_conditions(encoded, prompts, plan_travel(prompts, 9, "linear")) is encoded["a"]


def test_lengths_that_do_not_fit_together_are_refused():
    encoded = {"a": condition(1, chunks=5), "b": condition(2, chunks=6)}
    with pytest.raises(ValueError, match=r"prompts: got some of 5, 6 times 77 tokens; .* into 1848 tokens"):
        travel_conditions(encoded, TWO, plan_travel(TWO, 17, "hold"))


def test_scenes_have_their_prompts_where_they_start():
    cat = Entity(id="cat", text="a cat")
    scenes = [
        Scene(id=1, prompt=" a red circle ", background="navy", frames=5, entities=[cat]),
        Scene(id=2, background="a kitchen", frames=3, entities=[cat, cat.model_copy(update={"id": "other"})]),
        Scene(id=3, background="a park", frames=7),
    ]
    keys, frames = storyboard_prompts(Storyboard(scenes=scenes))
    assert keys == {0: "a red circle", 5: "a cat, a kitchen", 8: "a park"}
    assert frames == 15


def test_a_scene_that_says_nothing_is_named():
    with pytest.raises(
        ValueError, match=r"storyboard: scene 3 has no prompt, background or entity; expected"
    ):
        storyboard_prompts(Storyboard(scenes=[Scene(id=3, prompt=" ", frames=4)]))
