"""A tuned model is asked once for a whole storyboard, in the compact form; its answers are kept and checked."""

from __future__ import annotations

import json

import pytest
import torch
from frameloom.language.answers import compact
from frameloom.language.llm.local import FORM, LocalModel
from frameloom.language.planning.at_once import ask_for_storyboard
from frameloom.language.planning.cache import AnswerCache
from frameloom.language.planning.in_between import write_between
from frameloom.language.planning.planner import plan_with_model
from frameloom.models.errors import LanguageModelError
from frameloom.models.long_video.nuwa_tree import Tree
from frameloom.tests.support.tiny_llm import write_llm

ANSWER = "# a park\na red ball: d m g g > p m g g\n# a park\na red ball: p m g g\na dog: d m g g\n"
SCRIPT = "A red ball rolls to the right. Then a dog waits."


class TunedWriter:
    """A model of the compact form that answers from a list."""

    label, identity, form = "tuned", "tuned 1", compact.VERSION

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def complete(self, messages, schema, *, seed, watch):
        raise AssertionError("was asked for JSON")

    def write(self, messages, grammar, *, seed, watch):
        self.asked.append((messages, grammar))
        return self.answers.pop(0)


def plan(model, cache=None, **given):
    return plan_with_model(SCRIPT, model, **{"frames": 16, "cache": cache} | given)


def test_one_question_gives_the_storyboard():
    model = TunedWriter(ANSWER)
    board = plan(model)
    assert model.asked == [(ask_for_storyboard(SCRIPT), compact.GRAMMAR)]
    first, second = board.scenes
    assert first.prompt == "a red ball, a park"
    assert [entity.id for entity in second.entities] == ["a_red_ball", "a_dog"]
    torch.testing.assert_close(
        first.entities[0].boxes_at(16)[0][[0, -1]],
        torch.tensor([[0.0, 0.45, 0.3, 0.75], [0.6, 0.45, 0.9, 0.75]]),
    )
    assert board.groups == {"a_red_ball": (1, 2), "a park": (1, 2)}


def test_an_answer_is_kept_for_scenes_of_any_length_and_a_damaged_one_is_asked_for_again(tmp_path):
    cache, model = AnswerCache(tmp_path), TunedWriter(ANSWER, ANSWER)
    plan(model, cache)
    assert plan(model, cache, frames=8).scenes[0].frames == 8
    assert len(model.asked) == 1
    (kept,) = tmp_path.iterdir()
    kept.write_text("# a\nwhat")
    plan(model, cache)
    assert len(model.asked) == 2


def test_a_newer_form_is_refused_by_name():
    model = TunedWriter(ANSWER)
    model.form = "compact/9"
    with pytest.raises(
        LanguageModelError, match=r"tuned: was tuned for the form 'compact/9'; expected 'compact/1'"
    ):
        plan(model)


def test_a_tuned_model_is_not_asked_for_prompts():
    with pytest.raises(LanguageModelError, match="tuned: was tuned to write storyboards"):
        write_between(Tree(4, 3, {0: "a", 9: "b", 18: "b", 27: "c"}), 2, TunedWriter())


def test_a_folders_config_names_the_form_and_a_model_as_it_is_downloaded_has_none(tmp_path):
    folder = write_llm(tmp_path / "tiny", context=8192)
    model = LocalModel(folder, "tiny", max_tokens=6000, temperature=1.0, device=torch.device("cpu"))
    assert model.form == ""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, FORM: compact.VERSION}))
    assert model.form == compact.VERSION
    board = plan(model, seed=1)
    assert board.provenance.model == "tiny"
    assert board == plan(model, seed=1)
