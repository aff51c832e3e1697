"""A language model in this process: its answers follow the schema, and it leaves everything as it was."""

from __future__ import annotations

import gc
import json
import shutil
import socket
import sys

import pytest
import torch
from frameloom.language.llm import local
from frameloom.language.llm.local import LocalModel
from frameloom.language.llm.model import Message
from frameloom.models.errors import LanguageModelError
from frameloom.tests.support.tiny_llm import TEMPLATE, write_llm
from pydantic import BaseModel, ConfigDict, Field

CPU = torch.device("cpu")
ASK = [Message("system", "Answer in JSON."), Message("user", "Where is the ball?")]


class Ball(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=12)
    x: int = Field(ge=0, le=95)
    sure: bool


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    balls: list[Ball] = Field(min_length=1, max_length=2)


SCHEMA = Answer.model_json_schema()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_llm(tmp_path_factory.mktemp("llm") / "tiny")


def make(folder, temperature=0.7, max_tokens=400):
    return LocalModel(folder, "tiny", max_tokens=max_tokens, temperature=temperature, device=CPU)


def ignore(_characters):
    pass


def complete(folder, schema=SCHEMA, **settings):
    return make(folder, **settings).complete(ASK, schema, seed=0, watch=ignore)


def refused(folder, message, **settings):
    with pytest.raises(LanguageModelError, match=message) as caught:
        complete(folder, **settings)
    assert str(folder.parent) not in str(caught.value)


def test_random_weights_give_answers_that_follow_the_schema(folder):
    for seed, temperature in enumerate((0.0, 0.7, 2.0, 2.0)):
        answer = make(folder, temperature).complete(ASK, SCHEMA, seed=seed, watch=ignore)
        Answer.model_validate_json(answer, strict=True)


def test_words_of_a_schema_are_written_in_their_own_characters(folder):
    schema = {"größe": {"const": 'Füchslein 狐 🦊 "x"'}}
    form = {"type": "object", "properties": schema, "required": ["größe"], "additionalProperties": False}
    assert complete(folder, form) == '{"größe": "Füchslein 狐 🦊 \\"x\\""}'


def test_a_seed_decides_the_answer_and_torchs_own_random_numbers_stay(folder):
    before = torch.get_rng_state()
    model = make(folder)
    answers = [model.complete(ASK, SCHEMA, seed=seed, watch=ignore) for seed in (1, 1, 2, 2**64 - 1)]
    assert answers[0] == answers[1]
    assert len(set(answers)) == 3
    assert torch.equal(torch.get_rng_state(), before)


def test_what_it_keeps_between_tokens_changes_nothing(folder):
    """The same greedy choice over the whole text so far, computed anew for every token."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    answer = complete(folder, temperature=0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    turns = [{"role": each.role, "content": each.text} for each in ASK]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    tokens = tokenizer(text)["input_ids"]
    start = len(tokens)
    matcher = local._matcher(make(folder)._load(), local.json_grammar(SCHEMA), "tiny")
    choose = local._Choice(matcher, 0.0, torch.Generator(), "tiny")
    with torch.inference_mode():
        while not choose.finished:
            tokens = tokens + choose(network(torch.tensor([tokens])).logits[0, -1])
    assert tokenizer.decode(tokens[start:]) == answer


def test_watch_is_told_of_the_answer_as_it_grows_and_may_stop_it(folder):
    model, seen = make(folder), []
    answer = model.complete(ASK, SCHEMA, seed=0, watch=seen.append)
    assert seen == sorted(seen)
    assert seen[0] < seen[-1] == len(answer)

    def stop(characters):
        if characters > 10:
            raise InterruptedError("cancelled")

    with pytest.raises(InterruptedError, match="cancelled"):
        model.complete(ASK, SCHEMA, seed=0, watch=stop)
    assert model.complete(ASK, SCHEMA, seed=0, watch=ignore) == answer


def test_a_long_prompt_can_be_cancelled_while_it_is_read(folder):
    """It has some 1,500 tokens, which a large model reads for minutes on a CPU."""
    seen = []

    def stop(characters):
        seen.append(characters)
        if len(seen) > 4:
            raise InterruptedError(f"cancelled at {characters}")

    with pytest.raises(InterruptedError, match="cancelled at 0"):
        make(folder).complete([Message("user", "Where is the ball? " * 120)], SCHEMA, seed=0, watch=stop)


def test_it_runs_inside_and_outside_inference_mode(folder):
    with torch.inference_mode():
        inside = make(folder)
        answer = inside.complete(ASK, SCHEMA, seed=4, watch=ignore)
    assert inside.complete(ASK, SCHEMA, seed=4, watch=ignore) == answer


def test_a_file_is_read_once_and_its_memory_is_given_back(folder):
    gc.collect()
    assert len(local._loaded) == 0
    one, two = make(folder), make(folder, temperature=0.1)
    assert len(local._loaded) == 0, "read before anything was asked"
    for model in (one, two):
        model.complete(ASK, SCHEMA, seed=0, watch=ignore)
    assert one._held is two._held
    del one
    gc.collect()
    assert len(local._loaded) == 1
    del two, model
    gc.collect()
    assert len(local._loaded) == 0


def test_identity_tells_files_and_settings_apart_and_holds_no_path(folder, tmp_path):
    other = write_llm(tmp_path / "tiny", seed=1)
    models = [make(folder), make(folder, 0.1), make(folder, max_tokens=20), make(other)]
    assert len({model.identity for model in models}) == 4
    assert make(folder).identity == models[0].identity
    assert models[0].label == "tiny"
    assert not any(str(tmp_path.parent) in model.identity for model in models)


def test_nothing_is_fetched(folder, tmp_path, monkeypatch):
    """A folder that names another on the Hub for its tokenizer, as some do."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"_name_or_path": "somebody/else"}))

    def refuse(*_):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    complete(copy)
    (copy / "tokenizer.json").unlink()
    refused(copy, "tiny: transformers can't read it")


def test_a_system_turn_opens_the_users_where_a_template_has_none(tmp_path):
    strict = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system role') }}{% endif %}"
    tokenizer = make(write_llm(tmp_path / "strict", strict + TEMPLATE))._load().tokenizer
    text = local.render(tokenizer, [*ASK, Message("assistant", "Left."), Message("user", "Sure?")], "tiny")
    asked = "<|user|>Answer in JSON.\n\nWhere is the ball?<|end|>"
    assert text == asked + "<|assistant|>Left.<|end|><|user|>Sure?<|end|><|assistant|>"


@pytest.mark.parametrize(
    ("made", "settings", "message"),
    [
        ({}, {"max_tokens": 3}, r"not finished after .*'\{\"balls.*max_tokens=3; raise max_tokens"),
        ({}, {"schema": {"type": "nonsense"}}, "tiny: llguidance can't enforce the schema"),
        ({"context": 256}, {}, r"has \d+ tokens and max_tokens is 400; expected at most 256 together"),
        ({"template": None}, {}, r"tiny: has no chat template.*instruct or chat version"),
    ],
    ids=["too long", "no such schema", "no room", "no template"],
)
def test_what_cannot_be_answered_is_an_error(folder, tmp_path, made, settings, message):
    refused(write_llm(tmp_path / "tiny", **made) if made else folder, message, **settings)


def test_a_grammar_that_gives_up_on_the_way_is_an_error(folder):
    """It has room for fewer states than the pattern needs."""
    from llguidance import LLMatcher, LLParserLimits

    grammar = LLMatcher.grammar_from_json_schema({"type": "string", "pattern": "^(a|b)*a(a|b){18}$"})
    matcher = LLMatcher(make(folder)._load().vocabulary, grammar, limits=LLParserLimits(max_lexer_states=30))
    choose = local._Choice(matcher, 0.0, torch.Generator(), "tiny")
    with pytest.raises(LanguageModelError, match=r"tiny: llguidance stopped at the schema \(.*many states"):
        list(map(choose, [torch.zeros(400)] * 100))


@pytest.mark.parametrize("name", ["transformers", "llguidance"])
def test_a_missing_package_is_named_with_how_to_install_it(folder, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)  # Python's own way to say that there is none
    refused(folder, rf"{name} not installed; .*`python -m pip install {name}`")


def test_a_gguf_file_needs_the_packages_that_read_it(tmp_path, monkeypatch):
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    for name in ("gguf", "accelerate"):
        monkeypatch.setitem(sys.modules, name, None)
    refused(tmp_path / "a.gguf", r"pip install gguf accelerate`")


class Trap:
    """Code that a pickle runs when it is opened."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


EMPTY = b"\x08\0\0\0\0\0\0\0{}      "  # safetensors without a tensor


def test_pickles_are_refused(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "model.safetensors").unlink()
    torch.save(Trap(), copy / "pytorch_model.bin")
    refused(copy, r"tiny: a folder without safetensors \(.*pytorch_model.bin")
    (copy / "vae.safetensors").write_bytes(EMPTY)  # one that is no part of the model
    refused(copy, "tiny: transformers can't read it")


def test_code_of_a_models_folder_does_not_run(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    classes = {name: "trap.Class" for name in ("AutoConfig", "AutoModelForCausalLM", "AutoTokenizer")}
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "of_its_own", "auto_map": classes}))
    (copy / "trap.py").write_text("import pathlib\npathlib.Path(__file__).with_name('ran').touch()\n")
    refused(copy, "tiny: transformers can't read it")
    assert not (copy / "ran").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", None, "not a model's folder; expected a folder with config.json"),
        ("config.json", b"{", r"tiny: config.json is text that is not JSON \(.*\); expected the file"),
        ("tokenizer.json", b"version https://git-lfs", "tokenizer.json is text that is not JSON"),
        ("tokenizer.json", b"[]", "can't read it"),
        ("model.safetensors", b"<html>", r"tiny: model.safetensors: a web page"),
        ("model.safetensors", EMPTY, r"lacks lm_head.weight.* and \d+ more"),
    ],
)
def test_a_damaged_folder_is_an_error_without_its_place(folder, tmp_path, name, content, message):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / name).unlink()
    if content is not None:
        (copy / name).write_bytes(content)
    refused(copy, message)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"<html>", r"tiny: a.gguf: a web page"), (b"\x80\x02", r"first bytes are .*; expected a GGUF file")],
)
def test_what_is_no_gguf_file_is_refused(tmp_path, monkeypatch, content, message):
    monkeypatch.setattr(local, "GGUF_PACKAGES", ())
    (tmp_path / "a.gguf").write_bytes(content)
    refused(tmp_path / "a.gguf", message)
