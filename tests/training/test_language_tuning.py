"""Tuning a language model: lessons of a row don't see each other, answers alone count, a stopped run goes on."""

from __future__ import annotations

import json

import pytest
import torch
from frameloom.language.answers.compact import VERSION
from frameloom.language.llm.local import FORM, LocalModel
from frameloom.language.llm.model import Message
from frameloom.language.llm.tuning import ADAPTER, open_to_tune, save_tuned
from frameloom.models.errors import LanguageModelError
from frameloom.tests.support.tiny_llm import write_llm
from frameloom.training.language.lessons import UNASKED, Lesson, fill, pack
from frameloom.training.language.tuning import TuningSettings, answer_loss, measure, tune
from torch.nn import functional

ASK = [Message("system", "Write."), Message("user", "A ball.")]
LESSONS = [Lesson([5, 6, 7], [8, 9]), Lesson([10, 11], [12, 13, 14]), Lesson([15, 16, 17, 18], [19])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_llm(tmp_path_factory.mktemp("llm") / "tiny")


def opened(folder, seed=0):
    return open_to_tune(folder, "tiny", rank=2, seed=seed)


def draw(generator):
    tokens = torch.randint(5, 50, (12,), generator=generator).tolist()
    return pack([Lesson(tokens[:4], tokens[4:6]), Lesson(tokens[6:8], tokens[8:])])


def test_a_row_of_lessons_has_the_loss_of_each_by_itself_weighed_by_its_answer(folder):
    """Each lesson alone, by a plain call of the network and torch's cross-entropy."""
    network = opened(folder).network.eval()
    total = count = 0
    for lesson in LESSONS:
        tokens = torch.tensor([[*lesson.question, *lesson.answer]])
        first = len(lesson.question) - 1
        logits = network(input_ids=tokens).logits[0, first:-1]
        total = total + functional.cross_entropy(logits, tokens[0, first + 1 :], reduction="sum")
        count += len(lesson.answer)
    torch.testing.assert_close(answer_loss(network, pack(LESSONS)), total / count, rtol=1e-5, atol=1e-5)


def test_what_is_given_has_no_target():
    row = pack(LESSONS)
    assert row.targets.tolist() == [
        -100,
        -100,
        8,
        9,
        -100,
        -100,
        12,
        13,
        14,
        -100,
        -100,
        -100,
        -100,
        19,
        -100,
    ]
    assert (row.targets == UNASKED).sum() == len(row.tokens) - 6
    assert row.positions.tolist() == [*range(5), *range(5), *range(5)]


def test_a_row_is_filled_with_whole_lessons_and_one_that_never_fits_is_refused():
    lessons = iter([*LESSONS, *LESSONS])
    assert len(fill(lambda: next(lessons), 12).tokens) == 10
    with pytest.raises(ValueError, match="tokens=4: got a script and its storyboard of 5 tokens"):
        fill(lambda: LESSONS[0], 4)


def test_tuning_learns_changes_the_lora_alone_and_a_stopped_run_ends_with_the_same_bits(folder, tmp_path):
    settings, rows = TuningSettings(12, 0.02, 0), [draw(torch.Generator().manual_seed(1))]

    def run(stop=None):
        tuned = opened(folder)
        base = {n: p.clone() for n, p in tuned.network.named_parameters() if not p.requires_grad}
        before = measure(tuned.network, rows)

        def on_step(step, loss):
            if step == stop:
                raise InterruptedError

        try:
            tune(
                tuned.network,
                lambda generator: rows[0],
                settings,
                checkpoint=tmp_path / f"{stop}.pt",
                on_step=on_step,
            )
        except InterruptedError:
            tune(opened_again := opened(folder).network, lambda generator: rows[0], settings,
                 checkpoint=tmp_path / f"{stop}.pt")  # fmt: skip
            tuned = type(tuned)(opened_again, tuned.tokenizer, tuned.label)
        assert all(
            torch.equal(base[n], p) for n, p in tuned.network.named_parameters() if not p.requires_grad
        )
        learned = {n: p.detach() for n, p in tuned.network.named_parameters() if p.requires_grad}
        return before, measure(tuned.network, rows), learned

    before, after, whole = run()
    assert after < before - 0.5
    _, again, stopped = run(stop=5)
    assert again == after
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)


def test_what_is_saved_is_the_model_with_its_lora_and_says_its_form(folder, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    tuned = opened(folder)
    tune(tuned.network, draw, TuningSettings(4, 0.05, 0))
    tokens = torch.tensor([[5, 6, 7, 8]])
    tuned.network.eval()
    with torch.no_grad():
        wanted = tuned.network(input_ids=tokens).logits
        save_tuned(tmp_path / "mine", tuned, VERSION)
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "mine", dtype=torch.float32)
        base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        adapted = PeftModel.from_pretrained(base, tmp_path / "mine" / ADAPTER)
        plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(input_ids=tokens).logits
        torch.testing.assert_close(merged(input_ids=tokens).logits, wanted, rtol=0.01, atol=0.02)  # float16
        torch.testing.assert_close(adapted(input_ids=tokens).logits, wanted, rtol=1e-4, atol=1e-4)
        assert (plain - wanted).abs().max() > 0.1
    assert json.loads((tmp_path / "mine" / "config.json").read_text())[FORM] == VERSION
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    model = LocalModel(tmp_path / "mine", "mine", max_tokens=60, temperature=0, device=torch.device("cpu"))
    assert model.write(ASK, 'start: "yes" | "no"', seed=0, watch=lambda _: None) in ("yes", "no")


def test_a_model_without_a_template_and_a_seed_are_what_they_are(folder, tmp_path):
    bare = write_llm(tmp_path / "bare", template=None)
    with pytest.raises(LanguageModelError, match="has no chat template"):
        open_to_tune(bare, "bare", rank=2, seed=0)
    state = torch.get_rng_state()
    one, same, other = (
        {n: p for n, p in opened(folder, seed).network.named_parameters() if "lora_A" in n}
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(torch.get_rng_state(), state)
