"""Language models behind a server: answers of every cut, servers that misbehave, and where a key goes."""

from __future__ import annotations

import copy
import http.client
import json
import logging
import pickle
import queue
import threading
import time
import traceback

import pytest
from frameloom.language.llm import exchange
from frameloom.language.llm.endpoint import Endpoint
from frameloom.language.llm.key import Key
from frameloom.language.llm.profiles import Profile
from frameloom.tests.support.llm_question import SCHEMA, TALK, TEXT, ask, model_of, refused
from frameloom.tests.support.llm_stub import (
    PATIENCE,
    breaks,
    completion,
    cut,
    delta,
    drips,
    events,
    free_address,
    hangs,
    returns,
    says,
    sends,
    serving,
    streamed,
)


def test_a_question_carries_the_conversation_the_schema_and_the_settings():
    with serving(says(TEXT)) as stub:
        model = model_of(stub, max_tokens=99, temperature=0.25)
        assert ask(model) == TEXT
    form = {"name": "answer", "strict": True, "schema": SCHEMA}
    assert stub.questions[0] == {
        "response_format": {"type": "json_schema", "json_schema": form},
        "model": "m",
        "messages": [{"role": each.role, "content": each.text} for each in TALK],
        "stream": True,
        "seed": 7,
        "temperature": 0.25,
        "max_tokens": 99,
    }
    assert stub.asked[0].path == "/v1/chat/completions"
    assert model.label == "mine"
    _, label, address, name, temperature = json.loads(model.identity)
    assert (label, name, temperature) == ("mine", "m", 0.25)
    assert json.loads(model_of("http://127.0.0.1:9/v1").identity)[2] != address


def test_without_max_tokens_the_server_has_its_own_limit():
    with serving(says(TEXT)) as stub:
        ask(model_of(stub, max_tokens=0))
    assert not {"max_tokens", "max_completion_tokens"} & set(stub.questions[0])


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_events_may_be_cut_anywhere(size, end):
    bits = [delta(each) for each in TEXT]
    data = b": hello\n\nevent: bit\nid: 1\n" + events({"choices": []}, *bits, delta(None, "stop"), end=end)
    with serving(sends(*cut(data, size))) as stub:
        assert ask(model_of(stub)) == TEXT


def test_a_character_may_come_in_two_halves_of_json():
    fox = json.dumps("🦊")[1:-1]
    event = 'data: {"choices": [{"delta": {"content": "%s"}}]}\n\n'
    with serving(sends(*((event % half).encode() for half in (fox[:6], fox[6:])), streamed("!"))) as stub:
        assert ask(model_of(stub)) == "🦊!"


@pytest.mark.parametrize("indent", [None, 1])
def test_a_server_may_answer_whole_though_a_stream_was_asked(indent):
    body = json.dumps(completion(TEXT), indent=indent).encode()
    with serving(sends(body), lambda handler: (handler.head(200), handler.wfile.write(body))) as stub:
        assert [ask(model_of(stub)), ask(model_of(stub))] == [TEXT, TEXT]


def test_an_answer_ends_with_its_end_though_the_line_stays_open():
    def act(handler):
        handler.head(200, Transfer_Encoding="chunked")
        data = streamed(TEXT)
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        handler.wait()

    with serving(act) as stub:
        assert ask(model_of(stub)) == TEXT
        assert stub.hung_up.wait(PATIENCE)


def test_watch_is_told_how_many_characters_have_come():
    told = []
    with serving(sends(*cut(streamed(TEXT), 5))) as stub:
        ask(model_of(stub), told.append)
    assert told == sorted(told)
    assert 0 < told[-1] <= len(TEXT)


@pytest.mark.parametrize(("status", "remedy"), [(401, "name its key as api_key_env"), (418, "correct")])
def test_other_refusals_are_final(status, remedy):
    with serving(sends(b"no such thing", status=status)) as stub:
        refused(model_of(stub), f"the server answered {status}: 'no such thing'; expected 200; {remedy}")
    assert len(stub.asked) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_busy_server_is_asked_again(status):
    busy = sends(b"busy", status=status)
    with serving(busy, busy, says(TEXT)) as stub:
        assert ask(model_of(stub, attempts=3)) == TEXT
    assert stub.formats == ["json_schema"] * 3


def test_a_server_that_stays_broken_is_asked_as_often_as_told():
    with serving(sends(b"out of memory", status=500)) as stub:
        refused(model_of(stub, attempts=4), r"the server answered 500: 'out of memory', 4 times; expected")
        assert stub.formats == [*["json_schema"] * 4, "json_object", None]
        refused(model_of(stub, attempts=1), "out of memory', once")


def test_an_answer_that_breaks_off_is_asked_for_again():
    with serving(breaks, says(TEXT)) as stub:
        assert ask(model_of(stub)) == TEXT


def test_nobody_there_is_said_with_the_address():
    address = free_address()
    refused(model_of(address), rf"no answer from {address} \(Connection refused\), 3 times; .* start it")


@pytest.mark.parametrize("later", ["3000", "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_a_server_that_asks_for_more_time_than_there_is_is_not_waited_for(later):
    with serving(sends(b"slow down", status=429, Retry_After=later)) as stub:
        refused(model_of(stub), r"slow down', and is to be asked again in \d+ seconds; .*timeout=20")
    assert len(stub.asked) == 1


def test_retry_after_is_obeyed():
    start = time.monotonic()
    with serving(sends(b"", status=429, Retry_After="0.3"), says(TEXT)) as stub:
        assert ask(model_of(stub)) == TEXT
    assert time.monotonic() - start >= 0.3


def no_thread_stays():
    for thread in threading.enumerate():
        if thread.name == exchange.THREAD:
            thread.join(PATIENCE)
            assert not thread.is_alive()


@pytest.mark.parametrize(
    "act",
    [
        hangs,
        drips(b"x"),
        drips(b"data: \n\n"),
        drips(b"data: {}\n\n"),
        drips(b"HTTP/1.1 200 OK\r\nX-Slow: x", head=False),
        drips(b"HTTP/1.1 100 Continue\r\n\r\n", head=False),
        lambda handler: (handler.head(500), drips(b"x", head=False)(handler)),
    ],
)
def test_nothing_outlasts_the_timeout(act):
    with serving(act) as stub:
        refused(model_of(stub, timeout=0.5), "(no whole answer within timeout=0.5 seconds|sent no choices)")
        assert stub.hung_up.wait(PATIENCE)
        no_thread_stays()


def test_the_timeout_is_for_all_attempts_together():
    with serving(sends(b"busy", status=503, Retry_After="0.4")) as stub:
        refused(model_of(stub, timeout=1, attempts=10), "busy', and is to be asked again")
    assert len(stub.asked) <= 4


class StopError(Exception):
    """A host's own."""


@pytest.mark.parametrize("act", [hangs, drips(b": wait\n\n"), sends(b"", status=503, Retry_After="15")])
def test_a_cancel_stops_at_once_and_hangs_up(act):
    told = []

    def watch(characters):
        told.append(characters)
        if len(told) > 3 and stub.asked:
            raise StopError

    with serving(act) as stub:
        stub.hung_up.clear()
        with pytest.raises(StopError) as caught:
            ask(model_of(stub), watch)
        assert caught.value.__context__ is None
        no_thread_stays()
    assert len(stub.asked) == 1


def test_watch_is_called_twice_a_second_while_nothing_comes():
    told, waited = [], []

    class Inbox:
        def get(self, timeout):
            waited.append(timeout)
            if len(waited) < 3:
                raise queue.Empty
            return "a piece"

    assert exchange.Clock(PATIENCE, told.append).take(Inbox()) == "a piece"
    assert max(waited) <= 0.5
    assert told == [0] * 3


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (sends(b'data: {"choices": [{"delta": {"content": "\xff\xfe"}}]}\n\n'), "sent what is not UTF-8: '"),
        (sends(b"<html>\n<h1>Welcome</h1>"), r"sent what is not JSON: '<html> <h1>Welcome</h1>'; .*base_url"),
        (sends(b'{"choices": [{"mess'), r"sent what is not JSON: '\{\"choices"),
        (sends(b"data: {not json}\n\n"), r"sent what is not JSON: '\{not json\}'"),
        (sends(b""), "sent no choices"),
        (returns({"choices": []}), "sent no choices"),
        (returns({"choices": "x"}), "sent JSON of another form"),
        (returns([1, 2]), "sent (what is not JSON|JSON of another form)"),
        (returns({"choices": [{"message": "hi"}]}), "sent JSON of another form"),
        (returns({"choices": [{"message": {"content": ["hi"]}}]}), "sent JSON of another form"),
        (returns(completion("")), "sent an empty answer"),
        (returns(completion(None, reasoning_content="Hm, a fox.")), "thought, and then said nothing: 'Hm, a fox.'"),
        (returns(completion(None, refusal="I won't.")), "refuses: 'I won't.'"),
        (returns(completion('{"x": ', "length")), r"stopped at max_tokens=4096, after '\{\"x\":'; .*raise max_tokens"),
        (returns(completion("", "length", reasoning="Hm")), "stopped at max_tokens=4096, after 'Hm'"),
        (returns(completion('<think>Hm {"x": 1}\n\n', "length")), "stopped at max_tokens=4096, after '<think>"),
        (returns(completion(None, reasoning='Maybe {"x": 1}')), "thought, and then said nothing"),
        (returns(completion([{"type": "refusal", "refusal": "I won't."}])), "refuses: 'I won't.'"),
        (returns(completion([{"type": "image_url", "image_url": {"url": "x"}}])), "sent JSON of another form"),
        (returns(completion("x", "content_filter")), "stopped at its content filter"),
        (sends(events(delta("x"), {"error": {"message": "crashed"}})), r"reports '\{\"message\": \"crashed\"\}'"),
        (sends(b"x" * 100_000, *[b"x" * 1_000_000] * 20), "the answer does not end"),
        (returns(completion("x" * 1_100_000)), "sent more than 1,000,000 characters"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_said_in_plain_words(act, message):
    with serving(act) as stub:
        error = refused(model_of(stub), message)
    assert len(str(error)) < 500
    assert len(stub.asked) == 1


def test_a_servers_only_model_is_taken():
    with serving(returns({"data": [{"id": "its model"}]}), says(TEXT)) as stub:
        assert ask(Endpoint("mine", Profile(base_url=stub.url), timeout=PATIENCE)) == TEXT
    assert [each.path for each in stub.asked] == ["/v1/models", "/v1/chat/completions"]
    assert stub.questions[0]["model"] == "its model"


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (returns({"data": [{"id": "a"}, {"id": "b"}]}), "its server has 2: 'a', 'b'; expected exactly one; write"),
        (returns({"data": []}), "its server has 0; expected exactly one; load one there"),
        (returns({"data": 3}), "its server has 0"),
        (sends(b"<html>"), "its server has 0"),
        (sends(b"no", status=400), "the server answered 400: 'no'"),
        (sends(b"no", status=404), "the server answered 404: 'no'"),
    ],
)  # fmt: skip
def test_a_server_without_exactly_one_model_says_what_it_has(act, message):
    with serving(act) as stub:
        refused(Endpoint("mine", Profile(base_url=stub.url), timeout=PATIENCE), message)


# Keys

SENTINEL = 'sk-SENTINEL/4f"6&+e9'


@pytest.fixture
def key(monkeypatch, caplog):
    """A key in the environment; nothing of it may be in a log when the test is over."""
    monkeypatch.setenv("FRAMELOOM_TEST_KEY", SENTINEL)
    caplog.set_level(logging.DEBUG)
    yield {"env": "FRAMELOOM_TEST_KEY"}
    assert "SENTINEL" not in caplog.text


def everything(error):
    """All that is said about an error, those it hangs on to included."""
    texts = ["".join(traceback.format_exception(error))]
    while error is not None:
        texts.append(repr((error, error.args, vars(error))))
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


@pytest.mark.parametrize("given", [False, True])
def test_a_key_goes_to_its_own_server_and_what_netrc_has_does_not(monkeypatch, tmp_path, key, given):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with serving(says(TEXT)) as stub:
        ask(model_of(stub, **(key if given else {})))
    assert stub.asked[0].headers.get("authorization") == (f"Bearer {SENTINEL}" if given else None)


def test_a_key_goes_through_no_proxy_in_plain_sight(monkeypatch, key):
    with serving(says("stolen")) as proxy, serving(says(TEXT)) as stub:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.address)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        assert ask(model_of(stub, **key)) == TEXT
    assert proxy.asked == []


@pytest.mark.parametrize("status", [301, 308])
def test_a_redirect_is_not_followed(status, key):
    with serving(says("stolen")) as other:
        place = other.address.replace("http://", "http://me:pw@") + f"/new?key={SENTINEL}#part"
        with serving(sends(b"moved", status=status, Location=place)) as stub:
            error = refused(model_of(stub, **key), f"sends us on to '{other.address}/new' ")
        assert other.asked == []
    assert len(stub.asked) == 1
    assert "SENTINEL" not in everything(error)
    assert "pw" not in str(error)


def test_a_redirect_is_not_followed_on_its_own_server_and_its_body_not_read(key):
    with serving(
        lambda handler: (handler.head(302, Location="/v2/x"), drips(b"x", head=False)(handler))
    ) as stub:
        refused(model_of(stub, **key), f"sends us on to '{stub.address}/v2/x'")
    assert len(stub.asked) == 1


def test_a_redirect_to_what_is_no_address_is_told(key):
    with serving(sends(b"moved", status=302, Location=f"http://[{SENTINEL}/")) as stub:
        error = refused(model_of(stub, **key), r"sends us on to 'what is no address' \(302\)")
    assert "SENTINEL" not in everything(error)


ECHOES = [
    SENTINEL,
    json.dumps({"error": {"message": f"bad key {SENTINEL}"}}),
    "sk-SENTINEL%2F4f%226%26%2Be9",
    "sk-SENTINEL%2f4f%226%26%2be9",
    json.dumps({"error": json.dumps({"message": json.dumps(SENTINEL)})}),
    r"sk-SENTINEL\/4f\u00226\u0026\u002Be9",
    "sk-SENTINEL/4f&quot;6&amp;&#43;e9",
    "sk-SENTINEL&#x2F;4f&#34;6&#38;&#x2b;e9",
    "c2stU0VOVElORUwvNGYiNiYrZTk=",  # base64 of the key, of "Bearer " and the key, of "x:" and the key
    "QmVhcmVyIHNrLVNFTlRJTkVMLzRmIjYmK2U5",
    "eDpzay1TRU5USU5FTC80ZiI2JitlOQ==",
]
SECRETS = ["SENTINEL", "TRU5USU5FT", "VOVElORU", "NFTlRJTkVM"]  # that name in the three base64s


def leaks(text):
    return [secret for secret in [*SECRETS, "sk-S", "sk-%"] if secret in text]


@pytest.mark.parametrize("echo", ECHOES)
def test_a_key_is_in_no_excerpt_however_it_is_spelled(echo):
    assert leaks(echo)
    for before in (0, 190):  # characters; at 190 the excerpt would end within the key
        assert leaks(Key(SENTINEL).excerpt("." * before + echo)) == []


@pytest.mark.parametrize("status", [200, 302, 400, 401, 429, 500])
def test_a_key_that_a_server_repeats_is_in_no_error(key, status):
    body = " ".join(ECHOES)
    with serving(sends(body.encode(), status=status, Location=f"/{body}")) as stub:
        error = refused(model_of(stub, **key, attempts=1), r"the server (answered|sent|sends) .*\*\*\*")
    assert leaks(everything(error)) == []


def test_a_key_that_a_server_repeats_is_in_no_list_of_models(key):
    with serving(returns({"data": [{"id": SENTINEL}, {"id": "b"}]})) as stub:
        model = Endpoint("mine", Profile(base_url=stub.url, api_key_env=key["env"]), timeout=PATIENCE)
        assert "SENTINEL" not in everything(refused(model, r"has 2: '\*\*\*', 'b'"))


def test_a_key_in_a_head_that_is_none_is_in_no_log(key):
    head = f"HTTP/1.1 200 OK\r\nX-Key {SENTINEL}\r\nX-More: 1\r\n\r\n".encode()
    with serving(lambda handler: handler.wfile.write(head + streamed(TEXT))) as stub:
        assert ask(model_of(stub, **key)) == TEXT


def test_what_others_log_of_their_own_requests_stays(caplog):
    logger = logging.getLogger("urllib3.connectionpool")
    with serving(says(TEXT)) as stub:
        ask(model_of(stub))
        filters = list(logger.filters)
        ask(model_of(stub))
    assert logger.filters == filters
    logger.warning("another's")
    assert "another's" in caplog.text


def test_a_key_is_not_printed_where_a_program_prints_all_requests(key, monkeypatch, capsys):
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    with serving(says(TEXT)) as stub:
        assert ask(model_of(stub, **key)) == TEXT
    printed = capsys.readouterr()
    assert "SENTINEL" not in printed.out + printed.err


def test_a_model_holds_no_key(key):
    with serving(says(TEXT)) as stub:
        model = model_of(stub, **key)
        ask(model)
        again = [pickle.loads(pickle.dumps(model)), copy.deepcopy(model)]
    assert again == [model, model]
    assert "SENTINEL" not in repr(model) + model.identity + model.label
    assert b"SENTINEL" not in pickle.dumps(model)
    assert stub.address not in model.identity + model.label


@pytest.mark.parametrize(
    ("value", "why"),
    [(" ", "is not set"), ("SENTINEL\nX: y", "has .* no key has"), ("SENTINEL é", "has .* no key has")],
)
def test_a_key_that_is_none_is_told_before_anything_is_sent(monkeypatch, value, why):
    monkeypatch.setenv("FRAMELOOM_TEST_KEY", value)
    with serving(says(TEXT)) as stub:
        error = refused(model_of(stub, env="FRAMELOOM_TEST_KEY"), f"FRAMELOOM_TEST_KEY {why}")
    assert stub.asked == []
    assert "SENTINEL" not in everything(error)


def test_placeholders_for_a_key_may_be_words_of_an_answer(monkeypatch):
    monkeypatch.setenv("FRAMELOOM_TEST_KEY", "none")
    with serving(says('{"camera": "none"}')) as stub:
        assert ask(model_of(stub, env="FRAMELOOM_TEST_KEY")) == '{"camera": "none"}'
