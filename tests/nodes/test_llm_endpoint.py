"""LLM Endpoint: which profiles it lists, and what it hands on."""

from __future__ import annotations

import json

import pytest
from frameloom.language.llm.model import Message
from frameloom.language.llm.profiles import BUILT_IN, FILE
from frameloom.models.errors import LanguageModelError
from frameloom.tests.support.llm_stub import PATIENCE, says, serving

SETTINGS = {"profile": "mine", "timeout": PATIENCE, "attempts": 2, "max_tokens": 30, "temperature": 0.0}
SENTINEL = "sk-SENTINEL"


@pytest.fixture
def node(nodes):
    return nodes["LLMEndpoint"]


@pytest.fixture
def write(host):
    return lambda text: (host.user_dir() / FILE).write_text(text)


def choices(node):
    return node.define_schema().inputs[0].options


def test_profiles_are_listed_anew_each_time(node, write):
    assert choices(node) == list(BUILT_IN)
    write('{"mine": {"base_url": "http://127.0.0.1:1/v1"}}')
    assert choices(node) == [*BUILT_IN, "mine"]


def test_a_chosen_profile_answers_with_the_key_of_its_variable(node, write, monkeypatch):
    monkeypatch.setenv("MY_KEY", SENTINEL)
    with serving(says("[1, 2]")) as stub:
        write(json.dumps({"mine": {"base_url": stub.url, "model": "m", "api_key_env": "MY_KEY"}}))
        assert node.validate_inputs("mine") is True
        (llm,) = node.execute(**SETTINGS).args
        assert stub.asked == []
        assert llm.complete([Message("user", "Hello")], {}, seed=1, watch=lambda _: None) == "[1, 2]"
    assert stub.asked[0].headers["authorization"] == f"Bearer {SENTINEL}"
    question = stub.questions[0]
    assert (question["model"], question["max_tokens"], question["temperature"]) == ("m", 30, 0.0)
    assert (llm.label, llm.timeout, llm.attempts) == ("mine", PATIENCE, 2)
    assert SENTINEL not in node.fingerprint_inputs(**SETTINGS) + repr(llm)


def test_a_changed_profile_is_read_again(node, write):
    write('{"mine": {"base_url": "http://127.0.0.1:1/v1"}}')
    before = node.fingerprint_inputs(**SETTINGS)
    assert node.fingerprint_inputs(**SETTINGS) == before
    write('{"mine": {"base_url": "http://127.0.0.1:2/v1"}}')
    assert node.fingerprint_inputs(**SETTINGS) != before
    assert "127" not in before


def test_a_profile_of_another_machine_or_with_a_wrong_setting_is_refused_before_the_run(node, write):
    assert node.validate_inputs(None) is True  # a link
    assert "profile 'mine': not on this machine" in node.validate_inputs("mine")
    with pytest.raises(LanguageModelError, match="profile 'mine': not on this machine"):
        node.execute(**SETTINGS)
    write('{"mine": {"base_url": "http://127.0.0.1:1/v1", "omit": ["temprature"]}}')
    assert node.validate_inputs("mine").startswith(
        f"{FILE} $.mine.omit.0: got another value; expected one of"
    )


def test_a_broken_file_leaves_the_built_in_profiles_in_the_list_and_is_told_to_who_uses_them(node, write):
    write("{")
    assert choices(node) == list(BUILT_IN)
    assert FILE in node.validate_inputs("ollama")
    with pytest.raises(LanguageModelError, match=FILE):
        node.execute(**SETTINGS | {"profile": "ollama"})
