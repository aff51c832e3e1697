"""Servers of other dialects: where their answers stand, what of a question they refuse, how they load a model."""

from __future__ import annotations

import json
import logging

import pytest
from frameloom.language.llm import endpoint as endpoint_file
from frameloom.language.llm.model import Message
from frameloom.tests.support.llm_question import SCHEMA, TALK, TEXT, ask, model_of, refused
from frameloom.tests.support.llm_stub import (
    PATIENCE,
    completion,
    cut,
    delta,
    drips,
    events,
    knows_only,
    returns,
    says,
    sends,
    serving,
    takes_no,
)

HM = {"type": "thinking", "thinking": [{"type": "text", "text": 'hm {"x": 0}'}]}
FIRST, LAST = '{"x": ', "1}"


def called(arguments):
    return {"tool_calls": [{"index": 0, "function": {"name": "answer", "arguments": arguments}}]}


# Where an answer stands: fields of the whole message, then those of its bits.
PLACES = {
    "thoughts": [
        {"reasoning_content": FIRST + LAST}, {"reasoning_content": FIRST}, {"reasoning_content": LAST},
    ],
    "thoughts by another name": [{"reasoning": FIRST + LAST}] * 2,
    "thoughts that end in it": [{"reasoning": f'Maybe {{"x": 0}}</think>{FIRST}{LAST}'}] * 2,
    "parts": [
        {"content": [HM, {"type": "text", "text": FIRST + LAST}]},
        {"content": [HM]}, {"content": [{"type": "text", "text": FIRST}]}, {"content": LAST},
    ],
    "a tool's arguments": [called(FIRST + LAST), called(FIRST), called(LAST)],
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_an_answer_is_found_wherever_a_server_puts_it(place):
    whole, *bits = place
    streamed = events(*(delta(**bit) for bit in bits), delta(None, "stop"))
    with serving(returns(completion(**whole)), sends(streamed)) as stub:
        for _ in range(2):
            assert ask(model_of(stub)).endswith('{"x": 1}')


@pytest.mark.parametrize("blank", ["\n", "\n" * 300])
def test_an_answer_that_is_complete_ends_there_whatever_blanks_follow(blank):
    bits = [delta(TEXT), *[delta(blank)] * 3]
    with serving(sends(events(*bits, delta(None, "length")))) as stub:
        assert ask(model_of(stub)).strip() == TEXT


def test_blanks_without_end_are_not_waited_for():
    def act(handler):
        handler.head(200)
        handler.wfile.write(events(delta(TEXT))[:-14])
        drips(events(delta("\n" * 3000))[:-14], head=False)(handler)

    with serving(act) as stub:
        assert ask(model_of(stub)).strip() == TEXT
        assert stub.hung_up.wait(PATIENCE)


@pytest.mark.parametrize("status", [400, 404, 422, 501])
@pytest.mark.parametrize("known", ["json_object", None])
def test_structured_output_steps_down_once_and_for_all(status, known, caplog):
    asked = ["json_schema", *dict.fromkeys(["json_object", known])]
    with serving(knows_only(known, otherwise=status)) as stub:
        assert ask(model_of(stub)) == "yes"
        assert stub.formats == asked
        assert ask(model_of(stub)) == "yes"
        assert stub.formats == [*asked, known]
    assert [record.getMessage() for record in caplog.records if record.name == endpoint_file.__name__] == [
        f"mine: its server takes no json_schema; it is asked with {known or 'no format'}"
    ]


def test_ollama_is_asked_in_its_own_way_before_less_is_asked_for():
    lines = [{"message": {"content": each}, "done": False} for each in TEXT]
    lines += [{"message": {"content": ""}, "done": True, "done_reason": "stop"}]

    def act(handler):
        path = handler.path
        if path == "/v1/chat/completions":
            handler.send(400, [b"no"])
        elif path == "/api/version":
            handler.send(200, [b'{"version": "0.5.0"}'])
        elif path == "/api/chat":
            handler.send(200, cut("".join(json.dumps(line) + "\n" for line in lines).encode(), 11))

    with serving(act) as stub:
        assert [ask(model_of(stub, max_tokens=50)), ask(model_of(stub))] == [TEXT, TEXT]
    first, second = stub.asked[-2:]  # no second look for what it is
    assert first.path == second.path == "/api/chat"
    assert (first.body["format"], first.body["model"]) == (SCHEMA, "m")
    assert first.body["options"] == {"temperature": 0.7, "seed": 7, "num_predict": 50}


@pytest.mark.parametrize(
    ("status", "remedy"), [(400, "do what it says"), (404, "correct base_url and model")]
)
def test_what_no_level_suits_is_told_in_the_servers_words(status, remedy):
    with serving(sends(b"too long", status=status)) as stub:
        refused(model_of(stub), f"the server answered {status}: 'too long'; expected 200; {remedy}")
    assert stub.formats == ["json_schema", "json_object", None]


def test_a_schema_at_which_a_server_fails_each_time_is_asked_for_no_more(caplog):
    with serving(knows_only("json_object", otherwise=500)) as stub:
        model = model_of(stub, attempts=2)
        assert [ask(model), ask(model)] == ["yes", "yes"]
    assert stub.formats == ["json_schema", "json_schema", "json_object", "json_object"]
    assert "mine: its server takes no json_schema; it is asked with json_object" in caplog.text


SETTINGS = ("temperature", "seed", "stream", "max_tokens")


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_that_a_server_refuses_is_left_out_and_that_is_remembered_and_said_once(setting, caplog):
    with serving(takes_no(setting)) as stub:
        assert [ask(model_of(stub)), ask(model_of(stub))] == ["yes", "yes"]
        assert ask(model_of(stub, omit=["seed"])) == "yes", "another profile"
    kept = {"model", "messages", "response_format", *SETTINGS} - {setting}
    assert [set(question) for question in stub.questions[1:3]] == [kept, kept]
    assert len(stub.questions) == 4 + (setting != "seed")
    said = [each.getMessage() for each in caplog.records if each.name == endpoint_file.__name__]
    assert said.count(f"mine: its server is asked with no {setting}") == 1 + (setting != "seed")


def test_a_server_that_refuses_everything_is_asked_without_it():
    with serving(takes_no(*SETTINGS, "response_format")) as stub:
        assert ask(model_of(stub)) == "yes"
    assert set(stub.questions[-1]) == {"model", "messages"}


def test_a_name_that_a_server_asks_for_is_taken(caplog):
    words = "Unsupported parameter: {} is not supported with this model. Use 'max_completion_tokens' instead."
    with serving(takes_no("max_tokens", words=words)) as stub:
        assert ask(model_of(stub, max_tokens=9)) == "yes"
    assert [question.get("max_completion_tokens") for question in stub.questions] == [None, 9]
    assert "mine: its server is asked with max_tokens as max_completion_tokens" in caplog.text


@pytest.mark.parametrize(
    ("words", "left_out"),
    [
        ('{"error": {"message": "bad value; see max_tokens, seed", "param": "temperature"}}', "temperature"),
        ('{"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs", "input": 7}]}', "seed"),
        ("streaming is not allowed", "stream"),
        ("the upstream is seedy", None),
        ('no model for {"temperature": 0.7, "seed": 7, "stream": true, "max_tokens": 4096}', None),
    ],
)
def test_a_refusal_names_one_setting_or_none(words, left_out):
    with serving(sends(words.encode(), status=400), says(TEXT)) as stub:
        ask(model_of(stub))
    gone = set(SETTINGS) - set(stub.questions[-1])
    assert gone == ({left_out} if left_out else set())


def test_a_profile_leaves_settings_out_and_renames_them():
    with serving(says(TEXT)) as stub:
        ask(model_of(stub, omit=["temperature", "stream", "response_format"], rename={"seed": "random_seed"}))
    (question,) = stub.questions
    assert set(question) == {"model", "messages", "random_seed", "max_tokens"}
    assert question["random_seed"] == 7


def test_what_is_left_out_tells_answers_apart_and_old_ones_are_kept_by_what_they_were():
    plain, other = model_of("http://127.0.0.1:9/v1"), model_of("http://127.0.0.1:9/v1", omit=["temperature"])
    assert plain.identity != other.identity
    assert len(json.loads(plain.identity)) == 5


def test_a_server_that_loads_its_model_is_waited_for_beyond_its_attempts(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(endpoint_file, "LOOK_AGAIN", 0.01)
    loading = sends(b'{"error": {"code": 503, "message": "Loading model"}}', status=503)
    told = []
    with serving(*[loading] * 6, says(TEXT)) as stub:
        assert ask(model_of(stub, attempts=1), told.append) == TEXT
    assert len(stub.asked) == 7
    assert len(told) > 7
    # At the first look, the second and the fourth.
    assert caplog.text.count("mine: its server loads a model; ") == 3


def test_a_model_that_is_not_loaded_in_time_is_told():
    with serving(sends(b"Loading model", status=503)) as stub:
        refused(
            model_of(stub, timeout=0.5), "503: 'Loading model', and its model is not loaded within timeout"
        )


def test_a_busy_server_is_no_loading_one():
    with serving(sends(b"overloaded", status=503)) as stub:
        refused(model_of(stub, attempts=2), "503: 'overloaded', 2 times")


def test_a_question_is_sent_in_its_own_characters():
    schema = {"type": "object", "properties": {"größe": {"enum": ["狐", "🦊"]}}}
    with serving(says(TEXT)) as stub:
        talk = [*TALK, Message("user", "Füchsin 狐 🦊 \ud800")]
        model_of(stub).complete(talk, schema, seed=7, watch=lambda _: None)
    (body,) = [each.raw for each in stub.asked]
    for word in ("größe", "狐", "🦊", "Füchsin", "\\ud800"):
        assert word in body.decode()
