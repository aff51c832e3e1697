"""Nuwa Plan with a language model: prompts between keyframes from a real server of this machine, or one clear error."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from frameloom.language.llm import endpoint
from frameloom.language.llm.profiles import FILE
from frameloom.models.errors import LanguageModelError
from frameloom.models.long_video.nuwa_tree import Tree
from frameloom.models.storyboard import scenes as storyboard
from frameloom.tests.support.language import BetweenModel, ScriptedModel, write_between
from frameloom.tests.support.llm_stub import PATIENCE, breaks, hangs, says, sends, serving, streamed

KEY = "sk-SENTINEL"
DEFAULTS = {
    "prompts": "a\nb\nc\nd",
    "length": 4,
    "depth": 2,
    "interpolation": "linear",
    "width": 512,
    "height": 256,
    "seconds_per_job": 0.0,
}
WRITTEN = {
    0: "a",
    1: "a 1 b",
    2: "a 2 b",
    3: "b",
    4: "b 1 c",
    5: "b 2 c",
    6: "c",
    7: "c 1 d",
    8: "c 2 d",
    9: "d",
}


def knows(handler):
    """Play a server that answers every question."""
    question = handler.stub.asked[-1].body["messages"][1]["content"].partition("\n")[2]
    handler.send(200, [streamed(write_between(json.loads(question)))])


@pytest.fixture
def user(host, tmp_path, monkeypatch):
    """The folder of a user's settings."""
    (tmp_path / "user").mkdir()
    monkeypatch.setattr(host, "user_dir", lambda: tmp_path / "user")
    return tmp_path / "user"


@pytest.fixture
def make(nodes, user):
    return lambda **settings: nodes["NuwaPlan"].execute(**(DEFAULTS | settings)).args


@pytest.fixture
def llm(nodes, user, monkeypatch):
    """What LLM Endpoint hands on for a server whose key stands in the environment."""
    monkeypatch.setenv("FRAMELOOM_TEST_KEY", KEY)
    monkeypatch.setattr(endpoint, "BACKOFF", 0.01)
    monkeypatch.setattr(endpoint, "_dialects", {})

    def connect(stub, timeout=PATIENCE):
        profile = {"base_url": stub.url, "model": "m", "api_key_env": "FRAMELOOM_TEST_KEY"}
        (user / FILE).write_text(json.dumps({"mine": profile}))
        settings = {"attempts": 2, "max_tokens": 100, "temperature": 0.0}
        return nodes["LLMEndpoint"].execute("mine", timeout, **settings).args[0]

    return connect


def test_a_server_writes_the_prompts_between_and_a_second_run_asks_nothing(make, llm, user):
    with serving(knows) as stub:
        tree, picture, report = make(llm=llm(stub), prompt_seed=7)
        assert tree == Tree(4, 2, WRITTEN, "linear")
        assert len(stub.questions) == 3
        assert {question["seed"] for question in stub.questions} == {7}
        assert set(stub.formats) == {"json_schema"}
        again = make(llm=llm(stub), prompt_seed=7)
        assert len(stub.questions) == 3
        make(llm=llm(stub), prompt_seed=8)
        assert len(stub.questions) == 6
    assert again[0] == tree
    assert again[2] == report
    assert torch.equal(again[1], picture)
    assert len(list((user / "prompt_cache").iterdir())) == 6


def test_the_key_goes_to_its_server_and_is_in_no_tree_report_file_or_log(make, llm, user, caplog):
    caplog.set_level(logging.DEBUG)
    with serving(says(json.dumps({"prompts": ["one", f"two {KEY}"]}))) as stub:
        tree, _, report = make(llm=llm(stub))
    assert {asked.headers["authorization"] for asked in stub.asked} == {f"Bearer {KEY}"}
    assert tree.prompts[2] == "two ***"
    files = [path.read_text() for path in user.rglob("*") if path.is_file()]
    assert any("two ***" in text for text in files)
    assert KEY not in "".join([repr(tree), report, caplog.text, *files])


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (says('{"prompts": ["one"]}'), r"mine, prompts between two, level 2, job 2 \(frames 3 to 6\): answer 3, "
         r"\$\.prompts: got '1 items'; expected a list of 2 items; try another seed"),
        (says(f"{KEY} has no prompts"), r"answer 3, \$: got '\*\*\* has no prompts'"),
        (sends(f"the key {KEY} is bad".encode(), status=401), r"answered 401: 'the key \*\*\* is bad'"),
        (sends(b"busy", status=503), "answered 503: 'busy', 2 times"),
        (breaks, "mine: "),
        (hangs, "no whole answer within timeout=1 seconds"),
    ],
)  # fmt: skip
def test_a_failure_is_one_error_without_the_key_and_a_later_run_goes_on(make, llm, act, told):
    with serving(knows, act) as stub:
        with pytest.raises(LanguageModelError, match=told) as caught:
            make(llm=llm(stub, timeout=1.0))
        assert KEY not in str(caught.value)
        stub.acts, before = [knows], len(stub.questions)
        assert make(llm=llm(stub))[0].prompts == WRITTEN
        assert len(stub.questions) == before + 2


def test_a_cancel_of_the_host_stops_it_while_the_server_says_nothing(make, llm, host, monkeypatch):
    class CancelledError(Exception):
        pass

    def cancel():
        if stub.asked:
            raise CancelledError

    with serving(hangs) as stub:
        monkeypatch.setattr(host, "check_interrupt", cancel)
        with pytest.raises(CancelledError):
            make(llm=llm(stub))
        assert stub.hung_up.wait(PATIENCE)


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


def test_without_a_language_model_the_report_and_tree_are_as_ever(make):
    tree, _, report = make(prompt_levels=2, prompt_seed=9)
    assert tree == Tree(4, 2, {0: "a", 3: "b", 6: "c", 9: "d"}, "linear")
    assert report.splitlines()[3:] == ["prompts: 4, linear between", "0: a", "3: b", "6: c", "9: d"]


def test_written_prompts_are_green_in_the_picture_and_given_ones_stay_orange(make):
    def count(picture, colour):
        return int((picture[0] - torch.tensor(colour) / 255).abs().lt(0.01).all(-1).sum())

    green, orange = (0.0, 158.0, 115.0), (230.0, 159.0, 0.0)
    plain, written = make()[1], make(llm=BetweenModel())[1]
    assert count(plain, green) == 0
    # Marks of 3 x 29 pixels: six written prompts on level 2, four given ones on both levels.
    assert count(written, green) == 6 * 3 * 29
    assert count(written, orange) == count(plain, orange) == 8 * 3 * 29


def test_a_storyboard_beside_a_language_model_is_refused_before_any_question(make):
    model = ScriptedModel()
    board = storyboard.Storyboard(size=(64, 64), scenes=[storyboard.Scene(id=1, prompt="a", frames=8)])
    with pytest.raises(
        ValueError, match=r"llm: got one beside a storyboard, .*; disconnect llm, or the storyboard"
    ):
        make(storyboard=board, llm=model)
    assert model.asked == []


def test_one_prompt_for_all_or_keyframes_alone_ask_nothing(make):
    model = ScriptedModel()
    for settings in ({"prompts": "a"}, {"depth": 1}):
        assert make(llm=model, **settings)[2].splitlines()[4] == "0 of them by scripted, in 0 answers"
    assert model.asked == []
