"""The layout prior's network is GPT-2, its file says what it is, and what it samples keeps to a grammar."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.errors import CheckpointError
from frameloom.models.layout_prior.prior import LayoutGPT, PriorSize, read_prior, sample_tokens, save_prior
from frameloom.tests.support.motion import save, tiny_state
from safetensors import safe_open
from safetensors.torch import load_file, save_file

SIZE = PriorSize(vocabulary=50, context=40, width=32, layers=3, heads=4)
TOKENS = torch.randint(0, 50, (2, 40), generator=torch.Generator().manual_seed(1))


def reference():
    """Hugging Face's GPT-2 of the same sizes, with random weights, also where GPT-2 starts at 0 and 1."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=50, n_positions=40, n_embd=32, n_layer=3, n_head=4)
    network = GPT2LMHeadModel(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.4)
    return network


@pytest.fixture(scope="module")
def network():
    ours = LayoutGPT(SIZE)
    ours.transformer.load_state_dict(reference().transformer.state_dict())
    return ours.eval()


def test_it_is_hugging_faces_gpt2(network):
    with torch.no_grad():
        theirs = reference()(TOKENS).logits
        assert theirs.abs().max() > 1
        torch.testing.assert_close(network(TOKENS)[0], theirs, atol=1e-5, rtol=1e-5)


def test_pieces_after_a_cache_are_the_whole(network):
    """At once, and in pieces of 7, 1, 20 and 12 tokens."""
    with torch.no_grad():
        whole, cache, pieces = network(TOKENS)[0], None, []
        for part in TOKENS.split([7, 1, 20, 12], 1):
            logits, cache = network(part, cache)
            pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, atol=1e-5, rtol=1e-5)


def test_more_tokens_than_the_context_are_an_error(network):
    with pytest.raises(IndexError, match="out of range"):
        network(torch.zeros(1, 41, dtype=torch.int64))


def test_a_file_comes_back_and_opens_in_hugging_face(network, tmp_path):
    save_prior(tmp_path / "prior.safetensors", network, "test 1")
    back = read_prior(tmp_path / "prior.safetensors", "test 1", 50)
    assert back.size == SIZE
    assert not back.training
    with torch.no_grad():
        assert torch.equal(back(TOKENS)[0], network(TOKENS)[0])
    theirs = reference()
    theirs.transformer.wte.weight.data.zero_()
    missing, unexpected = theirs.load_state_dict(load_file(tmp_path / "prior.safetensors"), strict=False)
    assert (missing, unexpected) == (["lm_head.weight"], [])
    with torch.no_grad():
        torch.testing.assert_close(theirs(TOKENS).logits, network(TOKENS)[0], atol=1e-5, rtol=1e-5)


def test_its_words_come_back_and_files_that_name_none_have_none(network, tmp_path):
    path = tmp_path / "prior.safetensors"
    spoken = LayoutGPT(SIZE, [" a", " 猫"])
    save_prior(path, spoken, "test 1")
    assert read_prior(path, "test 1", 48).words == (" a", " 猫")
    with pytest.raises(CheckpointError, match=r"wte.weight is \(50, 32\).*\(52, width\)"):
        read_prior(path, "test 1", 50)
    rewrite(path, **{"frameloom.words": None})
    assert read_prior(path, "test 1", 50).words == ()


def test_half_precision_is_read_as_float32(network, tmp_path):
    save_prior(tmp_path / "prior.safetensors", network.half(), "test 1")
    network.float()
    back = read_prior(tmp_path / "prior.safetensors", "test 1", 50)
    assert {value.dtype for value in back.state_dict().values()} == {torch.float32}


def rewrite(path, tensors=None, **metadata):
    """Change tensors and the header of a file; None: take away."""
    with safe_open(path, framework="pt") as file:
        header = file.metadata() | metadata
    state = load_file(path) | (tensors or {})
    state, header = ({key: each for key, each in of.items() if each is not None} for of in (state, header))
    save_file(state, path, header)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("kind", "x", r"prior\.safetensors is a GPT-2 model whose header doesn't say"),
        ("version", "2", r"says version '2' and sequence 'test 1'; expected '1' and 'test 1'"),
        ("sequence", "old", r"sequence 'old'; expected '1' and 'test 1'; update Frameloom"),
        ("heads", "5", r"heads='5'; expected a number that divides its width 32"),
        ("heads", "-4", r"heads='-4'"),
        ("words", "[3]", r"words='\[3\]'; expected a list of words as JSON"),
        ("words", "a ball", r"words='a ball'; expected a list of words as JSON"),
        ("wte.weight", torch.zeros(51, 32), r"wte.weight is \(51, 32\).*\(50, width\)"),
        ("wpe.weight", None, r"transformer.wpe.weight \(\); expected"),
        ("h.1.mlp.c_fc.bias", None, r"h\.1\.mlp\.c_fc\.bias is missing; expected \(128,\)"),
        ("ln_f.weight", torch.zeros(3), r"ln_f.weight is \(3,\); expected \(32,\)"),
        ("h.1.attn.bias", torch.zeros(3), r"holds transformer.h.1.attn.bias, which"),
        ("ln_f.bias", torch.full((32,), torch.nan), r"ln_f.bias holds NaN"),
    ],
)
def test_a_wrong_prior_is_refused(network, tmp_path, name, value, message):
    path = tmp_path / "prior.safetensors"
    save_prior(path, network, "test 1")
    if isinstance(value, str):
        rewrite(path, **{f"frameloom.{name}": value})
    else:
        rewrite(path, {f"transformer.{name}": value})
    with pytest.raises(CheckpointError, match=message):
        read_prior(path, "test 1", 50)


def test_another_file_is_named_for_what_it_is(tmp_path):
    save(tmp_path / "other.safetensors", tiny_state())
    with pytest.raises(CheckpointError, match=r"is an AnimateDiff motion module; expected a layout prior; "):
        read_prior(tmp_path / "other.safetensors", "test 1", 50)


def free(count, allowed=range(5, 45)):
    """A grammar of so many tokens."""
    for _ in range(count):
        yield allowed


def sample(network, grammar, **settings):
    return sample_tokens(network, [1, 2, 3], grammar, **settings)


def test_the_likeliest_tokens_are_those_of_the_whole_sequence_anew(network):
    sequence = sample(network, free(20), temperature=0)
    for length in range(3, 23):
        with torch.no_grad():
            logits = network(torch.tensor([sequence[:length]]))[0][0, -1, 5:45]
        assert sequence[length] == 5 + int(logits.argmax())


def test_forced_tokens_are_read_by_those_after_them(network):
    def grammar():
        yield range(5, 45)
        for token in (7, 7, 9):
            yield [token]
        yield range(5, 45)

    sequence = sample(network, grammar(), temperature=0)
    assert sequence[4:7] == [7, 7, 9]
    with torch.no_grad():
        logits = network(torch.tensor([sequence[:7]]))[0][0, -1, 5:45]
    assert sequence[7] == 5 + int(logits.argmax())


def test_samples_are_as_frequent_as_the_network_says(network):
    """First tokens of 500 samples against their probabilities, by chi-squared at one in a thousand."""
    allowed = range(5, 13)
    with torch.no_grad():
        logits = network(torch.tensor([[1, 2, 3]]))[0][0, -1, 5:13]
    chances = (logits.double() / 2.0).softmax(0)
    tokens = [sample(network, free(1, allowed), temperature=2.0, seed=seed)[-1] - 5 for seed in range(500)]
    counts, expected = torch.bincount(torch.tensor(tokens), minlength=8), chances * 500
    assert float(((counts - expected) ** 2 / expected).sum()) < 24.32  # 7 degrees of freedom


def test_top_k_leaves_the_likeliest(network):
    with torch.no_grad():
        best = network(torch.tensor([[1, 2, 3]]))[0][0, -1, 5:45].topk(3).indices + 5
    tokens = {sample(network, free(1), top_k=3, temperature=9.0, seed=seed)[-1] for seed in range(100)}
    assert tokens == set(best.tolist())


def test_a_seed_decides_and_torchs_own_random_numbers_stay(network):
    before = torch.get_rng_state()
    samples = [sample(network, free(20), seed=seed) for seed in (3, 3, 4, 2**64 - 1)]
    assert samples[0] == samples[1]
    assert len({tuple(each) for each in samples}) == 3
    assert torch.equal(torch.get_rng_state(), before)


def test_watch_is_told_and_may_stop_it(network):
    seen = []
    sample(network, free(4), watch=seen.append)
    assert seen == [4, 5, 6, 7]

    def stop(_length):
        raise InterruptedError("cancelled")

    with pytest.raises(InterruptedError, match="cancelled"):
        sample(network, free(4), watch=stop)
