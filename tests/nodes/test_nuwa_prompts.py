"""Nuwa Plan with a language model: prompts between keyframes, what the report and the picture say of them."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.long_video.nuwa_tree import Tree
from frameloom.models.storyboard import scenes as storyboard
from frameloom.tests.support.language import BetweenModel, ScriptedModel

WRITTEN = ("a", "a 1 b", "a 2 b", "b", "b 1 c", "b 2 c", "c", "c 1 d", "c 2 d", "d")


@pytest.fixture
def make(run):
    return lambda **given: run("NuwaPlan", **({"prompts": "a\nb\nc\nd", "length": 4} | given))


def test_prompts_between_are_written_and_a_second_run_asks_nothing(make, host):
    llm = BetweenModel()
    tree, picture, report = make(llm=llm, prompt_seed=7)
    assert tree == Tree(4, 2, dict(enumerate(WRITTEN)), "linear")
    again = make(llm=llm, prompt_seed=7)
    assert len(llm.asked) == 3
    assert (again[0], again[2]) == (tree, report)
    assert torch.equal(again[1], picture)
    make(llm=llm, prompt_seed=8)
    assert len(llm.asked) == 6
    assert len(list((host.user_dir() / "prompt_cache").iterdir())) == 6


def test_the_report_counts_answers_and_sets_finer_prompts_further_in(make):
    report = make(prompts="a\nb\nb", length=3, depth=3, prompt_levels=3, llm=BetweenModel())[2]
    assert report.splitlines()[3:] == [
        "prompts: 6, linear between",
        "3 of them by scripted, in 3 answers",
        "0: a",
        "    1: a 1 a 1 b",
        "  2: a 1 b",
        "    3: a 1 b 1 b",
        "4: b",
        "8: b",
    ]


def test_written_prompts_are_green_in_the_picture_and_given_ones_stay_orange(make):
    def count(picture, colour):
        return int((picture[0] - torch.tensor(colour) / 255).abs().lt(0.01).all(-1).sum())

    green, orange = (0.0, 158.0, 115.0), (230.0, 159.0, 0.0)
    plain, written = make()[1], make(llm=BetweenModel())[1]
    assert count(plain, green) == 0
    # Marks of 3 x 29 pixels: six written prompts on level 2, four given ones on both levels.
    assert count(written, green) == 6 * 3 * 29
    assert count(written, orange) == count(plain, orange) == 8 * 3 * 29


def test_one_prompt_for_all_keyframes_alone_and_a_storyboard_ask_nothing(make):
    model = ScriptedModel()
    for settings in ({"prompts": "a"}, {"depth": 1}):
        assert make(llm=model, **settings)[2].splitlines()[4] == "0 of them by scripted, in 0 answers"
    board = storyboard.Storyboard(size=(64, 64), scenes=[storyboard.Scene(id=1, prompt="a", frames=8)])
    with pytest.raises(
        ValueError, match=r"llm: got one beside a storyboard, .*; disconnect llm, or the storyboard"
    ):
        make(storyboard=board, llm=model)
    assert model.asked == []
