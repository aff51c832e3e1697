"""A language model behind a server, asked by the command: its key goes to it, and is found nowhere else."""

from __future__ import annotations

import json
import logging

import pytest
from frameloom.headless.__main__ import main
from frameloom.host import api
from frameloom.language.llm import endpoint
from frameloom.tests.support.language import BOXES, RIGHT, SCENES
from frameloom.tests.support.llm_stub import cut, drips, hangs, says, sends, serving, streamed
from frameloom.tests.support.workflows import read_graph

KEY = 'sk-SENTINEL/4f"6&+e9'
BEARER = {"authorization": f"Bearer {KEY}"}
SECRETS = [b"SENTINEL", b"TRU5USU5FT", b"VOVElORU", b"NFTlRJTkVM"]  # the last three: of the key in base64


class Machine:
    """A user's: a profile named mine, whose key stands in the environment, and all that a run leaves behind."""

    def __init__(self, folder, capfd, caplog):
        self._folder, self._capfd, self._caplog = folder, capfd, caplog
        self.user = folder / ".config" / "frameloom"
        self.user.mkdir(parents=True)
        self.said = ""

    def run(self, address, timeout=20.0):
        """Run ``layout_llm``, its frames saved; returns the exit code."""
        profile = {"base_url": address, "model": "m", "api_key_env": "FRAMELOOM_TEST_KEY"}
        (self.user / "llm_profiles.json").write_text(json.dumps({"mine": profile}))
        graph = read_graph("layout_llm")
        graph["1"]["inputs"] |= {"profile": "mine", "timeout": timeout, "attempts": 2}
        graph["2"]["inputs"] |= {"script": "A red ball rolls to the right in a park.", "frames": 4}
        save = {"images": ["3", 0], "filename_prefix": "storyboard"}
        graph["save"] = {"class_type": "SaveImage", "inputs": save}
        (self._folder / "graph.json").write_text(json.dumps(graph))
        folders = str(self._folder / "graph.json"), "--output", str(self._folder / "out")
        code = main(["run", *folders, "--traceback"])
        self.said = "".join(self._capfd.readouterr()) + self._caplog.text
        return code

    def find(self, words):
        """Return where one of some words stands: names of files, or ``said`` for what was printed or logged."""
        texts = {path.name: path.read_bytes() for path in self._folder.rglob("*") if path.is_file()}
        texts["said"] = self.said.encode()
        return sorted(name for name, text in texts.items() if any(word in text for word in words))


@pytest.fixture
def machine(tmp_path, monkeypatch, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    for home in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(home, str(tmp_path))
    monkeypatch.setenv("FRAMELOOM_TEST_KEY", KEY)
    monkeypatch.setattr(api, "_selected", {})  # a command is a process of its own
    monkeypatch.setattr(endpoint, "BACKOFF", 0.01)
    monkeypatch.setattr(endpoint, "_dialects", {})
    return Machine(tmp_path, capfd, caplog)


def test_a_storyboard_is_saved_with_the_profiles_name_and_without_its_key_or_address(machine):
    with serving(*map(says, RIGHT)) as stub:
        assert machine.run(stub.url) == 0
    assert [BEARER.items() <= asked.headers.items() for asked in stub.asked] == [True, True]
    pictures = [f"storyboard_{number:05}_.png" for number in range(1, 5)]
    assert set(pictures) < set(machine.find([b"mine"]))  # a search that finds names would find keys
    assert "said" in machine.find([b'"planner": "language model"'])
    assert machine.find(SECRETS) == []
    assert machine.find([stub.address.encode()]) == ["llm_profiles.json"]


def test_a_key_that_a_server_writes_into_its_answers_is_in_no_storyboard_and_no_cache(machine):
    scenes, boxes = (json.loads(json.dumps(each)) for each in (SCENES, BOXES))
    scenes["scenes"][0]["background"] = f"a park {KEY}"
    with serving(says(json.dumps(scenes)), says(json.dumps(boxes))) as stub:
        assert machine.run(stub.url) == 0
    assert "said" in machine.find([b"a park ***"])
    assert len(list((machine.user / "layout_cache").iterdir())) == 2
    assert machine.find(SECRETS) == []


def test_a_server_that_knows_no_schemas_plans_as_well(machine):
    answers = iter(RIGHT)

    def act(handler):
        asked = handler.stub.asked[-1].body
        if asked is None or "response_format" in asked:
            handler.send(400, [f"no, {KEY}".encode()])
        else:
            handler.send(200, cut(streamed(next(answers)), 7))

    with serving(act) as stub:
        assert machine.run(stub.url) == 0
    assert stub.formats == ["json_schema", "json_object", None, None]
    assert "takes no json_schema" in machine.said
    assert machine.find(SECRETS) == []


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (sends(f"who is {KEY}?".encode(), status=401), "answered 401: 'who is ***?'"),
        (sends(f"{KEY}: enough".encode(), status=429), "answered 429: '***: enough', 2 times"),
        (sends(f"crashed at {KEY}".encode(), status=500), "answered 500: 'crashed at ***', 2 times"),
        (sends(f"data: {KEY} \xff\n\n".encode("latin-1")), "sent what is not UTF-8: '*** "),
        (sends(status=307, Location=f"http://llm.example/{KEY}"), "sends us on to 'http://llm.example/***' (307)"),
        (sends(f"HTTP {KEY}\n\n".encode(), X_Key=KEY), "sent what is not JSON: 'HTTP ***'"),
        (says(f"I looked for {KEY} and found no scenes."), "I looked for *** and found"),
        (hangs, "no whole answer within timeout=1 seconds"),
        (drips(f"data: {json.dumps({'choices': [{'delta': {'content': KEY}}]})}\n\n".encode()), "no whole answer"),
    ],
)  # fmt: skip
def test_a_failed_run_tells_why_and_no_key(machine, act, told):
    with serving(act) as stub:
        assert machine.run(stub.url, timeout=1.0 if told.startswith("no whole") else 20.0) == 1
    assert stub.asked
    assert told in machine.said
    assert "Traceback" in machine.said
    assert machine.find(SECRETS) == []
