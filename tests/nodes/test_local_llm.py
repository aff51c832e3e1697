"""The local model's node: what it lists, and what it hands on."""

from __future__ import annotations

import json

import pytest
import torch
from frameloom.language.llm.model import Message
from frameloom.models.errors import LanguageModelError
from frameloom.tests.support.tiny_llm import write_llm

SETTINGS = {"model": "tiny", "max_tokens": 200, "temperature": 0.5, "device": "auto"}
SCHEMA = {
    "type": "object",
    "properties": {"x": {"enum": [0, 5, 10]}},
    "required": ["x"],
    "additionalProperties": False,
}


@pytest.fixture
def node(nodes, host):
    write_llm(host.models_dir / "llm" / "tiny")
    return nodes["LocalLLM"]


def test_a_folder_is_listed_and_answers_by_the_schema(node):
    assert node.define_schema().inputs[0].options == ["tiny"]
    (llm,) = node.execute(**SETTINGS).args
    assert llm.label == "tiny"
    answer = llm.complete([Message("user", "Where?")], SCHEMA, seed=1, watch=lambda _: None)
    assert json.loads(answer)["x"] in (0, 5, 10)


def test_auto_is_the_hosts_device(node, host, monkeypatch):
    monkeypatch.setattr(host, "device", torch.device("meta"))
    (elsewhere,), (here,) = node.execute(**SETTINGS).args, node.execute(**SETTINGS | {"device": "cpu"}).args
    assert "bfloat16" in elsewhere.identity
    assert "float32" in here.identity


def test_a_changed_file_is_read_again(node, host):
    before = node.fingerprint_inputs(**SETTINGS)
    write_llm(host.models_dir / "llm" / "tiny", context=512)
    assert node.fingerprint_inputs(**SETTINGS) != before


def test_a_damaged_model_is_refused_by_the_node_that_chose_it(node, host):
    (host.models_dir / "llm" / "a.gguf").write_bytes(b"<html>")
    with pytest.raises(LanguageModelError, match=r"a.gguf: "):
        node.execute(**SETTINGS | {"model": "a.gguf"})
    with pytest.raises(ValueError, match=r"llm: '../tiny' was not found"):
        node.execute(**SETTINGS | {"model": "../tiny"})
