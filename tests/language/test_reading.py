"""Answers among what models write around them: thoughts in all marks, several answers, broken ones, wrapped ones."""

from __future__ import annotations

import json

import pytest
from frameloom.language.answers.reading import MAX_DEPTH, ends_whole, read_answer
from frameloom.language.answers.wire import AnswerError

GOOD, DRAFT = {"x": "good"}, {"x": "DRAFT"}
ANSWER, THOUGHT = json.dumps(GOOD), f"Maybe {json.dumps(DRAFT)} would do. No."


def check(value):
    if set(value) != {"x"} or not isinstance(value["x"], str | list):
        raise AnswerError("$.x", value.get("x"), "a word")
    return value["x"]


def read(text):
    found = read_answer(text, "x", check)
    return found.checked, found.count


MARKS = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<THINKING >", "</Thinking >"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ('<reasoning effort="low">', "</reasoning>"),
    ("<reflection>", "</reflection>"),
    ("<scratchpad>", "</scratchpad>"),
    ("<seed:think>", "</seed:think>"),
    ("<longcat_think>", "</longcat_think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<｜begin▁of▁thought｜>", "<｜end▁of▁thought｜>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|think|>", "<|/think|>"),
    ("<|thinking|>", "<|answer|>"),
    ("<unused94>thought\n", "<unused95>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    (
        "<|channel|>analysis<|message|>",
        "<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>",
    ),
    ("<|channel|>commentary to=user<|message|>", "<|end|><|start|>assistant"),
    ("analysis", "assistantfinal"),
    ("Here are my steps: ", "[BEGIN FINAL RESPONSE]"),
    ("<|begin_of_thought|>", "<|end_of_thought|>\n<|begin_of_solution|>"),
    ("First idea: ", "\nBut better, the final answer:\n<answer>"),
]


@pytest.mark.parametrize(("before", "behind"), MARKS, ids=["".join(marks) for marks in MARKS])
def test_what_stands_in_marks_of_thoughts_is_no_answer(before, behind):
    assert read(f"{before}{THOUGHT}{behind}\n{ANSWER}") == ("good", 1)
    assert read(f"{THOUGHT}{behind}\n{ANSWER}")[0] == "good", "the prompt opened them"
    with pytest.raises(AnswerError):
        read(f"{before}{THOUGHT}{behind}")
    if before.strip()[0] in "<[◁" and len(before) < 45:
        with pytest.raises(AnswerError, match="a JSON object behind the thoughts"):
            read(before + THOUGHT)


READ = {
    "thoughts within thoughts": f"<think>a <think>b</think> {THOUGHT}</think>{ANSWER}",
    "thoughts of two kinds": f"<think>a <reasoning>b</reasoning> {THOUGHT}</think>{ANSWER}",
    "a mark that is only named": f"<think>I close with <think> tags. {THOUGHT}</think>{ANSWER}",
    "thoughts twice": f"<think>{THOUGHT}</think><think>{THOUGHT}</think>{ANSWER}",
    "thoughts behind the answer": f"{ANSWER}<think>{THOUGHT}</think>",
    "a closing mark behind it all": f"<think>{THOUGHT}</think>{ANSWER}</think>\n",
    "an opening mark that nothing follows but the answer": f"<think>\n{ANSWER}",
    "all of it in marks": f"<think>```json\n{ANSWER}\n```</think>",
    "text behind the answer's marks": f"<answer>{ANSWER}</answer> and not {json.dumps(DRAFT)}",
    "a box": f"<|begin_of_box|>{ANSWER}<|end_of_box|>",
    "a token that ends it": f"{ANSWER}<|im_end|>",
    "a broken thought": f'<think>{{"x": "hm</think>{ANSWER}',
    "brackets in thoughts": f'<think>a 5" ball {{ [ (( {{"x": </think>{ANSWER}',
    "a word in brackets": f"[Note] {ANSWER} [end]",
    "an object in a broken object": f'{{"note": none, "y": {ANSWER}}}',
    "an object whose last bracket is missing": f'{{"y": {ANSWER}',
    "an object that two open": f"{{{ANSWER}}}",
    "a wrapping object": f'{{"result": {{"storyboard": {ANSWER}}}}}',
    "a wrapping list": f"[{ANSWER}]",
    "a fence with a name": f"Here:\n```json\n{ANSWER}\n```\nEnjoy {{it}}!",
}  # fmt: skip


@pytest.mark.parametrize("text", READ.values(), ids=READ.keys())
def test_the_answer_is_found(text):
    assert read(text) == ("good", 1)


def test_a_list_is_taken_for_what_the_object_should_hold():
    assert read('["a", "b"]') == (["a", "b"], 1)
    with pytest.raises(AnswerError, match="a JSON object"):
        read("[1, 2]")


def test_marks_in_the_strings_of_an_answer_are_words():
    for word in '<think> </think> [THINK] <|channel|>final<|message|> assistantfinal { "}'.split():
        assert read(json.dumps({"x": f"a sign: {word}"})) == (f"a sign: {word}", 1)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (f"First idea: {json.dumps(DRAFT)} But better: {ANSWER}", 2),
        (f'{{"draft": {json.dumps(DRAFT)}, "final": {ANSWER}}}', 2),
        (f"{ANSWER} I repeat: {ANSWER}", 1),
    ],
)
def test_of_several_answers_the_last_counts(text, count):
    assert read(text) == ("good", count)


BEFORE = f"First idea: {json.dumps(DRAFT)} But better: "
WITHIN = f'{{"draft": {json.dumps(DRAFT)}, "final": '


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BEFORE + '{"x": "a fox", }', r"JSON \("),
        (BEFORE + '{"x": 3}', r"\$\.x: got '3'"),
        (BEFORE + '{"x": "a fo', "the answer was cut off"),
        (BEFORE + '{"reply": {"x": 3}}', r"\$\.reply\.x: got '3'"),
        (WITHIN, "cut off"),
        (WITHIN + '{"x": "a fo', "cut off"),
        ('{"x": ["a", "b"], "y": [', "cut off"),
        ('{"x": ["a", "b"],}', r"JSON \("),
    ],
)
def test_a_draft_or_a_part_does_not_stand_in_for_a_last_answer_that_is_of_no_use(text, why):
    with pytest.raises(AnswerError, match=why):
        read(text)


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (ANSWER, True),
        (f"```json\n{ANSWER}\n```\n\n", True),
        (f"<think>{THOUGHT}</think>{ANSWER}\n\n", True),
        (f"<think>{THOUGHT}\n\n", False),
        (f"{ANSWER} But bet", False),
        (f'{{"y": {ANSWER}\n\n', False),
        ('{"x": "a\n\n', False),
        ("", False),
    ],
)
def test_whether_an_answer_is_complete(text, whole):
    assert ends_whole(text) is whole


@pytest.mark.parametrize(
    "text",
    [
        '{"a":' * 150_000,
        '{"' * 400_000,
        '"{[' * 300_000,
        '{"a":[' * 7 + "1," * 480_000,
        '{"a" ' + '{"b"} ' * 150_000,
        "{}" * 490_000,
        "</think>" * 120_000,
        "<think>{}</think> " * 50_000,
    ],
    ids=["deep", "open", "mixed", "long", "many", "empty", "marks", "thoughts"],
)
def test_any_megabyte_is_read_in_time(text):
    with pytest.raises(AnswerError):
        read(text)
    ends_whole(text)


def test_depth_is_bounded():
    with pytest.raises(AnswerError, match=f"at most {MAX_DEPTH} objects"):
        read('{"x": ' + "[" * 1000 + "]" * 1000 + "}")
