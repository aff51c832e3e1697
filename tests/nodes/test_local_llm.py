"""The local model's node: what it hands on."""

from __future__ import annotations

import json

import pytest
import torch
from frameloom.language.llm.model import Message
from frameloom.tests.support.tiny_llm import write_llm

SCHEMA = {
    "type": "object",
    "properties": {"x": {"enum": [0, 5, 10]}},
    "required": ["x"],
    "additionalProperties": False,
}


@pytest.fixture
def choose(run, host):
    write_llm(host.models_dir / "llm" / "tiny")
    return lambda **given: run("LocalLLM", model="tiny", max_tokens=200, temperature=0.5, **given)[0]


def test_a_folder_answers_by_the_schema(choose):
    llm = choose()
    assert llm.label == "tiny"
    answer = llm.complete([Message("user", "Where?")], SCHEMA, seed=1, watch=lambda _: None)
    assert json.loads(answer)["x"] in (0, 5, 10)


def test_auto_is_the_hosts_device(choose, host, monkeypatch):
    monkeypatch.setattr(host, "device", torch.device("meta"))
    assert "bfloat16" in choose().identity
    assert "float32" in choose(device="cpu").identity
