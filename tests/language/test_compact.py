"""The compact form: it is read as it was written, every text of its grammar is a storyboard, and others are refused."""

from __future__ import annotations

import random

import pytest
import torch
from frameloom.language.answers.compact import GRAMMAR, KEYS, read_compact, write_compact
from frameloom.language.answers.wire import AnswerError
from frameloom.language.llm.local import LocalModel
from frameloom.language.llm.model import Message
from frameloom.language.stories.words import TRAINING
from frameloom.language.stories.writing import FRAMES, write_story
from frameloom.models.storyboard.scenes import BoxKey, Entity, Scene
from frameloom.tests.support.tiny_llm import write_llm


def scene(*entities, frames=9, background="a park"):
    return Scene(id=1, background=background, frames=frames, entities=entities)


def thing(*keys, text="a ball", hold=False):
    track = tuple(BoxKey(f=f, box=box) for f, box in keys)
    return Entity(id=text, text=text, track=track, hold=hold)


LEFT, RIGHT, HIGH = (0.0, 0.5, 0.3, 0.8), (0.6, 0.5, 0.9, 0.8), (0.3, 0.0, 0.6, 0.3)


def test_what_lies_on_its_grid_is_read_as_it_was_written():
    rng = random.Random(5)
    for _ in range(200):
        story = write_story(TRAINING, rng)
        found = read_compact(write_compact(story.scenes), FRAMES)
        assert [each.background for each in found] == [each.background for each in story.scenes]
        for new, old in zip(found, story.scenes, strict=True):
            assert [(each.id, each.text) for each in new.entities] == [(e.id, e.text) for e in old.entities]
            for one, other in zip(new.entities, old.entities, strict=True):
                torch.testing.assert_close(one.boxes_at(FRAMES), other.boxes_at(FRAMES))


def test_a_thing_has_as_many_boxes_as_its_way_needs():
    still, straight = thing((0, LEFT), text="a wall", hold=True), thing((0, LEFT), (8, RIGHT))
    bent = thing((0, LEFT), (4, HIGH), (8, RIGHT), text="a bird")
    lines = write_compact([scene(still, straight, bent)]).splitlines()[1:]
    assert [line.count(">") + 1 for line in lines] == [1, 2, KEYS]


def test_a_thing_that_comes_later_is_there_from_the_start_and_one_that_never_comes_is_left_out():
    late = thing((0, None), (4, LEFT), (8, RIGHT))
    never = thing((0, None), text="a ghost")
    text = write_compact([scene(late, never)])
    assert "ghost" not in text
    (entity,) = read_compact(text, 9)[0].entities
    boxes, present = entity.boxes_at(9)
    assert present.all()
    torch.testing.assert_close(boxes[0], torch.tensor(LEFT))
    torch.testing.assert_close(boxes[-1], torch.tensor(RIGHT))


def test_words_say_where_a_thing_begins_and_which_way_it_goes():
    small, large = (0.4, 0.4, 0.6, 0.6), (0.3, 0.3, 0.7, 0.7)
    ways = [(LEFT, RIGHT), (RIGHT, LEFT), (HIGH, LEFT), (LEFT, LEFT), (small, large), (large, small)]
    things = [thing((0, a), (8, b), text=f"ball {n}") for n, (a, b) in enumerate(ways)]
    lines = write_compact([scene(*things)]).splitlines()[1:]
    assert [line[line.index("(") + 1 : line.index(")")] for line in lines] == [
        "middle left, right",
        "middle right, left",
        "top center, down",
        "middle left, still",
        "middle center, larger",
        "middle center, smaller",
    ]


def test_a_line_without_words_is_read_too():
    with_words = read_compact("# a\na ball (top left, down): d d d d\n", 4)
    assert with_words == read_compact("# a\na ball: d d d d\n", 4)


def test_names_lose_the_forms_own_marks():
    text = write_compact([scene(thing((0, LEFT), text="no. #1: (a > b)"), background="x: y")])
    (found,) = read_compact(text, 9)
    assert (found.background, found.entities[0].text) == ("x y", "no. 1 a b")


def test_a_box_that_would_stick_out_lies_inside():
    (found,) = read_compact("# \na ball: a u k g\n", 4)
    assert found.entities[0].track[0].box == (0.0, 0.7, 0.5, 1.0)


def test_the_same_name_is_the_same_thing_and_two_of_a_scene_are_two():
    first, second = read_compact("# a\na cat: d d d d\na cat: m d d d\n# b\na cat: d d d d\n", 4)
    assert [each.id for each in first.entities] == ["a_cat", "a_cat_2"]
    assert [each.id for each in second.entities] == ["a_cat"]


def test_what_is_written_is_of_the_grammar(tmp_path):
    from llguidance import LLMatcher
    from llguidance.hf import from_tokenizer
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(write_llm(tmp_path / "tiny"))
    vocabulary, grammar = from_tokenizer(tokenizer), LLMatcher.grammar_from_lark(GRAMMAR)
    rng = random.Random(2)
    for _ in range(40):
        text = write_compact(write_story(TRAINING, rng).scenes)
        matcher = LLMatcher(vocabulary, grammar)
        assert matcher.consume_tokens(tokenizer(text, add_special_tokens=False)["input_ids"]), text
        assert matcher.is_accepting()


@pytest.mark.parametrize("seed", range(4))
def test_whatever_random_weights_write_within_the_grammar_is_a_storyboard(tmp_path, seed):
    model = LocalModel(
        write_llm(tmp_path / "tiny", context=8192),
        "tiny",
        max_tokens=6000,
        temperature=1.0,
        device=torch.device("cpu"),
    )
    text = model.write([Message("user", "A ball.")], GRAMMAR, seed=seed, watch=lambda _: None)
    scenes = read_compact(text, 16)
    assert text.count("#") == len(scenes) >= 1
    assert text.count(":") == sum(len(each.entities) for each in scenes)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "0 scenes"),
        ("a ball: d d d d\n", "line 1"),
        ("# a\nwhat a day\n", "line 2"),
        ("# a\na ball: d d d\n", "line 2"),
        ("# a\na ball: d d d a\n", "line 2"),
        ("# a\na ball: d d d z\n", "line 2"),
        ("# a\na ball:" + " > ".join([" d d d d"] * 5) + "\n", "line 2"),
        ("# a\n" * 17, "17 scenes"),
        ("# a\n" + "a ball: d d d d\n" * 9, "at most 8 things"),
    ],
)
def test_another_text_is_refused_with_its_line(text, why):
    with pytest.raises(AnswerError, match=why):
        read_compact(text, 16)
