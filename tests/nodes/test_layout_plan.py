"""Layout From LLM: each planner makes a storyboard; the chosen one is the one that answers, or nobody."""

from __future__ import annotations

import pytest
from frameloom.language.english.rules import plan_by_rules
from frameloom.models.errors import LanguageModelError
from frameloom.models.storyboard.scenes import parse_storyboard
from frameloom.tests.support.language import RIGHT, ScriptedModel

SCRIPT = "A red ball rolls to the right in a park."
SETTINGS = {"planner": "language model", "frames": 8, "width": 256, "height": 128, "seed": 5}


@pytest.fixture
def make(run):
    return lambda **given: run("LayoutFromLLM", script=SCRIPT, **(SETTINGS | given))


def test_the_rules_ask_nobody(make):
    model = ScriptedModel()
    board, text, summary = make(planner="rules (no LLM)", llm=model)
    assert summary == "1 scene with 1 thing by rules\nscene 1: a red ball in a park"
    assert board == plan_by_rules(SCRIPT, frames=8, fps=8.0, size=(256, 128), seed=5)
    assert parse_storyboard(text) == board
    assert model.asked == []


def test_a_language_model_is_asked_once_and_its_answers_are_kept_in_the_users_folder(make, host):
    board, text, summary = make(llm=ScriptedModel(*RIGHT))
    assert summary.startswith("1 scene with 1 thing by language model, scripted\n")
    assert parse_storyboard(text) == board
    assert (board.provenance.planner, board.size) == ("language model", (256, 128))
    assert len(list((host.user_dir() / "layout_cache").iterdir())) == 2
    assert make(llm=ScriptedModel())[0] == board


def test_what_was_not_read_as_it_was_asked_for_stands_in_the_summary_and_in_the_log(make, caplog):
    _, _, summary = make(llm=ScriptedModel(RIGHT[0], f"Perhaps {RIGHT[1].replace('60', '55')} or {RIGHT[1]}"))
    note = "boxes of scene 1: the answer held 2 that could be used; the last one is taken"
    assert summary.splitlines()[1] == note
    assert f"Layout From LLM: {note}." in caplog.text


def test_without_a_language_model_the_node_says_what_to_connect(make):
    with pytest.raises(ValueError, match=r"llm: nothing is connected.*connect LLM Endpoint or Local LLM"):
        make()


def test_a_model_that_fails_fails_the_node_and_the_rules_do_not_step_in(make):
    with pytest.raises(LanguageModelError, match="down"):
        make(llm=ScriptedModel(LanguageModelError("down")))
    with pytest.raises(LanguageModelError, match=r"answer 1, \$: got 'no'"):
        make(llm=ScriptedModel("no"), repairs=0)


def test_a_cancel_of_the_host_stops_it(make, host, monkeypatch):
    def cancel():
        raise KeyboardInterrupt

    monkeypatch.setattr(host, "check_interrupt", cancel)
    model = ScriptedModel(*RIGHT)
    with pytest.raises(KeyboardInterrupt):
        make(llm=model)
    assert model.asked == []
