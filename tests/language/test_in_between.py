"""Prompts between keyframes: what is asked on which level, what a wrong answer leads to, and what is kept."""

from __future__ import annotations

import json

import pytest
from frameloom.language.answers import wire
from frameloom.language.planning import in_between
from frameloom.language.planning.cache import AnswerCache
from frameloom.language.planning.in_between import count_questions, write_between
from frameloom.models.errors import LanguageModelError
from frameloom.models.long_video.nuwa_tree import Tree
from frameloom.tests.support.language import BetweenModel, ScriptedModel

# One gap to ask about: two prompts between frames 0 and 3.
PAIR = Tree(4, 2, {0: "a", 3: "b", 6: "b", 9: "b"})
RIGHT = '{"prompts": ["one", "two"]}'

# Sent back: the answer, the path and what the excerpt shows.
WRONG = {
    "a storyboard": ('{"prompts": ["one", "two"], "scenes": []}', "$", "scenes"),
    "too few": ('{"prompts": ["one"]}', "$.prompts", "got '1 items'; expected a list of 2 items"),
    "too many": ('{"prompts": ["one", "two", "three"]}', "$.prompts", "3 items"),
    "an empty prompt": ('{"prompts": ["one", " "]}', "$.prompts[1]", "a text of 1 to 400 characters"),
    "too long": (json.dumps({"prompts": ["one", "x" * 401]}), "$.prompts[1]", "xxx..."),
    "a control character": (r'{"prompts": ["one\u001b[2J", "two"]}', "$.prompts[0]", "without control characters"),
}  # fmt: skip


def write(tree, *answers, levels=2, **settings):
    model = ScriptedModel(*answers)
    return write_between(tree, levels, model, **settings), model


def test_each_gap_between_prompts_that_differ_is_asked_about_once():
    tree = Tree(4, 2, {0: "a", 3: "b", 6: "b", 9: "c"})
    model = BetweenModel()
    finer = write_between(tree, 2, model)
    assert model.questions == [
        {"before": "a", "after": "b", "count": 2},
        {"before": "b", "after": "c", "count": 2},
    ]
    assert finer == Tree(
        4, 2, {0: "a", 1: "a 1 b", 2: "a 2 b", 3: "b", 6: "b", 7: "b 1 c", 8: "b 2 c", 9: "c"}
    )
    assert list(finer.prompts) == sorted(finer.prompts)


def test_a_level_is_asked_about_what_was_written_on_the_one_above():
    tree = Tree(3, 3, {0: "a", 4: "b", 8: "c"})
    model = BetweenModel()
    finer = write_between(tree, 3, model)
    asked = [(question["before"], question["after"]) for question in model.questions]
    finest = [("a", "a 1 b"), ("a 1 b", "b"), ("b", "b 1 c"), ("b 1 c", "c")]
    assert asked == [("a", "b"), ("b", "c"), *finest]
    assert list(finer.prompts) == list(range(9))
    assert finer.prompts[1] == "a 1 a 1 b"


@pytest.mark.parametrize(("levels", "stride"), [(2, 5), (3, 1), (12, 1)])
def test_prompts_stand_on_the_levels_that_were_asked_for_and_are_mixed_between(levels, stride):
    tree = Tree(6, 3, {25 * place: str(place) for place in range(6)})
    finer = write_between(tree, levels, BetweenModel())
    assert list(finer.prompts) == list(range(0, 126, stride))
    mixed = [blend for blend in finer.blends() if blend.part]
    assert len(mixed) == 126 - len(finer.prompts)
    assert all(blend.after - blend.before == stride for blend in mixed)


@pytest.mark.parametrize(
    "tree",
    [Tree(4, 2, {0: "a"}), Tree(4, 3, dict.fromkeys((0, 9, 18, 27), "a")), Tree(3, 1, {0: "a", 1: "b"})],
)
def test_nothing_is_asked_where_nothing_differs_or_nothing_is_between(tree):
    finer, model = write(tree, levels=3)
    assert finer == tree
    assert model.asked == []


def test_an_answer_that_says_the_same_twice_leaves_nothing_to_ask_between():
    tree = Tree(4, 3, {0: "a", 9: "b", 18: "b", 27: "b"})
    finer, model = write(tree, '{"prompts": ["a", "b"]}', RIGHT, levels=3)
    assert len(model.asked) == 2
    assert list(finer.prompts) == [0, 3, 4, 5, 6, 9, 18, 27]
    assert count_questions(tree, 3) == 4


@pytest.mark.parametrize(
    ("length", "depth", "levels", "fault"),
    [
        (20, 3, 3, "prompt_levels=3: a language model would be asked 380 times; expected at most 256; lower "
         "prompt_levels to 2, which asks 19 times"),
        (3, 12, 12, "prompt_levels=12: .* asked 4,094 times; .* lower prompt_levels to 8, which asks 254 times"),
        (67, 2, 2, "length=67: .* would write 65 prompts in one answer; expected at most 64; lower length"),
    ],
)  # fmt: skip
def test_too_many_questions_or_prompts_are_refused_before_any_is_asked(length, depth, levels, fault):
    stride = (length - 1) ** (depth - 1)
    tree = Tree(length, depth, {stride * place: str(place) for place in range(length)})
    model = ScriptedModel()
    with pytest.raises(ValueError, match=fault):
        write_between(tree, levels, model)
    assert model.asked == []


def test_a_motion_modules_16_frames_are_asked_down_to_level_3():
    tree = Tree(16, 3, {225 * place: str(place) for place in range(16)})
    assert [count_questions(tree, levels) for levels in (1, 2, 3)] == [0, 15, 240]


@pytest.mark.parametrize(("wrong", "path", "excerpt"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_answer_goes_back_with_path_and_excerpt(wrong, path, excerpt):
    finer, model = write(PAIR, wrong, RIGHT)
    assert finer.prompts == {0: "a", 1: "one", 2: "two", 3: "b", 6: "b", 9: "b"}
    told = model.asked[1][-1].text
    assert f"{path}: got " in told
    assert excerpt in told


def test_prompts_are_one_line_each_and_prose_around_them_is_left_out():
    finer, _ = write(PAIR, r'Here they are: {"prompts": ["one\n  more", "\ttwo "]}', repairs=0)
    assert (finer.prompts[1], finer.prompts[2]) == ("one more", "two")


def test_prompts_may_be_twice_as_long_as_the_longest_given():
    given = Tree(4, 2, {0: "x" * 500, 3: "b"})
    answers = [json.dumps({"prompts": ["one", "y" * length]}) for length in (1001, 1000)]
    finer, model = write(given, *answers)
    assert finer.prompts[2] == "y" * 1000
    first, second = model.asked
    assert "None is longer than 1000 characters." in first[0].text
    assert "expected a text of 1 to 1000 characters" in second[-1].text


def test_what_was_answered_before_a_failure_is_kept_and_a_second_run_asks_for_the_rest(tmp_path):
    tree, cache = Tree(3, 2, {0: "a", 2: "b", 4: "c"}), AnswerCache(tmp_path)
    broken = BetweenModel('{"prompts": ["one"]}', LanguageModelError("scripted: the server is down"))
    with pytest.raises(LanguageModelError, match="the server is down"):
        write_between(tree, 2, broken, cache=cache)
    model = BetweenModel()
    finer = write_between(tree, 2, model, cache=cache)
    assert [question["before"] for question in model.questions] == ["b"]
    assert finer.prompts == {0: "a", 1: "one", 2: "b", 3: "b 1 c", 4: "c"}
    again = BetweenModel()
    assert write_between(tree, 2, again, cache=cache) == finer
    assert again.asked == []


def test_a_deeper_tree_asks_for_its_new_level_alone(tmp_path):
    cache = AnswerCache(tmp_path)
    write_between(Tree(3, 2, {0: "a", 2: "b", 4: "c"}), 2, BetweenModel(), cache=cache)
    model = BetweenModel()
    write_between(Tree(3, 3, {0: "a", 4: "b", 8: "c"}), 3, model, cache=cache)
    assert [question["after"] for question in model.questions] == ["a 1 b", "b", "b 1 c", "c"]


def test_a_whole_tree_of_answers_fits_into_the_cache():
    from frameloom.language.planning import cache

    assert in_between.MAX_QUESTIONS <= cache.MAX_FILES


def test_progress_counts_the_questions():
    shares = []
    write_between(Tree(3, 2, {0: "a", 2: "b", 4: "c"}), 2, BetweenModel(), progress=shares.append)
    assert shares == [0.0, 0.5, 1.0]


def test_the_schema_is_portable_and_the_example_follows_it():
    model = BetweenModel()
    write_between(PAIR, 2, model)
    (schema,) = model.schemas
    wanted = {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}
    assert schema["properties"]["prompts"] == wanted
    question, answer = in_between.EXAMPLE
    assert len(wire.read_prompts(answer, question["count"])) == 3
    assert question["count"] == 3
    assert model.asked[0][0].text.endswith(json.dumps(answer))
