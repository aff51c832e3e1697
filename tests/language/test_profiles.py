"""Profiles: the file is read as it is, replaces what is built in, and its faults are named without its values."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from frameloom.language.llm.profiles import BUILT_IN, FILE, Profile, profile_names, read_profile
from frameloom.models.errors import LanguageModelError

MINE = {"base_url": "https://llm.example:8443/v1/", "model": "big", "api_key_env": "MY_KEY"}
SENTINEL = "sk-SENTINEL"
ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "language-models.md"


@pytest.fixture
def write(tmp_path):
    def write(content):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (tmp_path / FILE).write_bytes(data)
        return tmp_path

    return write


def test_without_a_file_the_built_in_ones_stand_in_the_list(tmp_path):
    assert profile_names(tmp_path) == ["ollama", "llama-cpp", "lm-studio", "vllm", "openai"]
    assert {name: read_profile(tmp_path, name) for name in BUILT_IN} == BUILT_IN


def test_local_servers_get_no_key_and_openai_its_own():
    keys = {name: profile.api_key_env for name, profile in BUILT_IN.items()}
    assert keys == dict.fromkeys(BUILT_IN) | {"openai": "OPENAI_API_KEY"}
    local = {name for name, profile in BUILT_IN.items() if profile.base_url.startswith("http://127.0.0.1:")}
    assert local == set(BUILT_IN) - {"openai"}


def test_the_users_own_come_behind_and_replace_those_of_the_same_name(write):
    mine = {"mine": MINE, "ollama": {"base_url": "http://10.0.0.5:11434/v1"}}
    folder = write(b"\xef\xbb\xbf" + json.dumps(mine).encode())  # a byte order mark before it
    assert profile_names(folder) == [*BUILT_IN, "mine"]
    assert read_profile(folder, "mine") == Profile(**MINE | {"base_url": "https://llm.example:8443/v1"})
    assert read_profile(folder, "ollama").base_url == "http://10.0.0.5:11434/v1"


def test_a_faulty_profile_leaves_the_others_alone(write):
    folder = write({"bad": {}, "mine": MINE})
    assert read_profile(folder, "mine").model == "big"
    assert profile_names(folder) == [*BUILT_IN, "bad", "mine"]


def test_a_name_that_is_not_there_is_told_those_that_are(write):
    with pytest.raises(LanguageModelError, match=r"profile 'yours': not on this .*'openai', 'mine'\]"):
        read_profile(write({"mine": MINE}), "yours")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "Expecting value"),
        (b'{"mine": ' + SENTINEL.encode(), "Expecting value: line 1 column 10"),
        (b'{"mine": "\xff"}', "utf-8"),
        ([MINE], "JSON of a list"),
        (SENTINEL, "JSON of a str"),
    ],
)
def test_a_file_that_is_none_is_told_how_one_looks(write, content, why):
    folder = write(content)
    for read in (lambda: profile_names(folder), lambda: read_profile(folder, "ollama")):
        with pytest.raises(
            LanguageModelError, match=rf"{FILE}: got no profiles \(.*{why}.*base_url"
        ) as caught:
            read()
        assert "SENTINEL" not in str(caught.value)


def test_a_file_that_may_not_be_read_is_told(tmp_path):
    (tmp_path / FILE).mkdir()
    with pytest.raises(LanguageModelError, match=r"got no profiles \((Is a directory|Permission denied)\)"):
        profile_names(tmp_path)


ADDRESS = r"\.base_url: got another value; expected an address as http://127\.0\.0\.1:8080/v1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_url": None}, r"\$\.mine\.base_url: got another value; expected"),
        ({"base_url": "localhost:8080"}, ADDRESS),
        ({"base_url": "ftp://127.0.0.1/v1"}, ADDRESS),
        ({"base_url": f"https://me:{SENTINEL}@llm.example/v1"}, ADDRESS),
        ({"base_url": "https://good.example\\@llm.example/v1"}, ADDRESS),
        ({"base_url": f"https://llm.example/v1?key={SENTINEL}"}, ADDRESS),
        ({"base_url": f"https://llm.example/v1#{SENTINEL}"}, ADDRESS),
        ({"base_url": "https://llm.example:99999/v1"}, ADDRESS),
        ({"base_url": "https://:80/v1"}, ADDRESS),
        ({"base_url": "https://llm.example/v1\r\nX: y"}, ADDRESS),
        ({"model": ""}, r"\$\.mine\.model: got another value; expected"),
        ({"api_key_env": SENTINEL}, r"\.api_key_env: got another value; expected the name of an environment variable"),
        ({"api_key_env": "skSENTINELx"}, r"\.api_key_env: got another value; expected the name"),
        ({"omit": "seed"}, r"\$\.mine\.omit: got another value; expected a list of settings, such as"),
        ({"omit": ["seed", SENTINEL]}, r"\$\.mine\.omit\.1: got another value; expected one of temperature, seed"),
        ({"omit": [["seed"]]}, r"\$\.mine\.omit\.0: got another value; expected one of temperature, seed"),
        ({"omit": ["model"]}, r"\$\.mine\.omit\.0: got another value; expected one of temperature"),
        ({"rename": ["seed"]}, r"\$\.mine\.rename: got another value; expected names by setting, such as"),
        ({"rename": {"top_p": "p"}}, r"\$\.mine\.rename\.top_p: got another value; expected one of temperature, seed"),
        ({"rename": {"seed": SENTINEL}}, r"\$\.mine\.rename\.seed: got another value; expected a name of letters"),
        ({"rename": {"seed": "messages"}}, r"\$\.mine: got .*; expected each setting under a name of its own"),
        ({"rename": {"seed": "a", "stream": "a"}}, r"\$\.mine: got .*; expected each setting under a name of its own"),
        ({"omit": ["seed"], "rename": {"seed": "a"}}, r"\$\.mine: got .*; expected seed in omit or in rename, not"),
        (
            {"api_key": SENTINEL},
            r"\.api_key: got a field that profiles don't have; expected base_url, model, api_key_env, omit, rename",
        ),
        (SENTINEL, r"\$\.mine: got another value; expected"),
    ],
)  # fmt: skip
def test_a_fault_is_named_by_its_place_and_not_by_its_value(write, change, message):
    folder = write({"mine": MINE | change if isinstance(change, dict) else change})
    with pytest.raises(LanguageModelError, match=message) as caught:
        read_profile(folder, "mine")
    error = caught.value
    assert str(error).startswith(f"{FILE} $.mine")
    assert "SENTINEL" not in repr(error)
    assert error.__context__ is None


def test_a_profile_without_an_address_is_told(write):
    with pytest.raises(LanguageModelError, match=r"\$\.mine\.base_url: got nothing; expected a value"):
        read_profile(write({"mine": {"model": "big"}}), "mine")


@pytest.mark.parametrize("url", ["http://[::1]:8080/v1", "https://llm.example", "http://my-box:1/a/b"])
def test_addresses_of_servers_are_taken(url):
    assert Profile(base_url=url).base_url == url


@pytest.mark.parametrize("page", [ROOT / "docs" / "layouts.md", PAGE])
def test_profiles_that_the_pages_show_can_be_used(page, tmp_path):
    (block,) = re.findall(r"```json\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    (tmp_path / FILE).write_text(block)
    assert all(read_profile(tmp_path, name).base_url in block for name in json.loads(block))


def test_the_page_lists_the_built_in_profiles():
    rows = re.findall(r"^\| `([\w-]+)` \| `(http\S+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert rows == [(name, profile.base_url) for name, profile in BUILT_IN.items()]
