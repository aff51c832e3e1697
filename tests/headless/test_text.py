"""Prompts to tokens to conditions; ComfyUI's own numbers are in tests/host."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest
import torch
from frameloom.headless.engine.encode import encode_prompt
from frameloom.headless.text.prompt import CHUNK, Tokenizer, weighted_parts
from frameloom.headless.text.vocabulary import _byte_letters, clip_tokenizer, read_byte_pairs
from frameloom.headless.weights.model import CLIP
from frameloom.headless.weights.networks import build_text
from frameloom.host.bundled import DEMO_TOKENIZER
from frameloom.models.errors import CheckpointError
from frameloom.models.network.sizes import DEMO


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_folder(DEMO_TOKENIZER)


@pytest.fixture(scope="module")
def clip(tokenizer):
    torch.manual_seed(0)
    return CLIP(build_text(DEMO.text).eval(), tokenizer)


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a (red:1.5) circle", [("a ", 1.0), ("red", 1.5), (" circle", 1.0)]),
        ("(a)", [("a", 1.1)]),
        ("((a))", [("a", pytest.approx(1.21))]),
        ("(a (b:0.5))", [("a ", 1.1), ("b", 0.5)]),
        (r"\(a\) (b\):2)", [("(a) ", 1.0), ("b)", 2.0)]),
        ("(a:b)", [("a:b", 1.1)]),
        ("(:2)", [(":2", 1.1)]),
        ("a ) (b", [("a ) (b", 1.0)]),
        ("", []),
    ],
)
def test_weight_syntax(prompt, parts):
    assert weighted_parts(prompt) == parts


def test_every_chunk_is_77_long_with_start_and_end(tokenizer):
    for prompt in ("", "red", "red circle, " * 60):
        for chunk in tokenizer.chunks(prompt):
            assert len(chunk) == CHUNK
            assert chunk[0].id == DEMO.text.start_token
            assert chunk[-1].id == DEMO.text.end_token


def test_long_prompts_lose_no_word(tokenizer):
    prompt = "a (big:1.2) red circle, " * 40
    kept = [token.id for chunk in tokenizer.chunks(prompt) for token in chunk if token.span is not None]
    plain = "".join(text for text, _ in weighted_parts(prompt))
    assert kept == [each for each, _ in tokenizer.words(plain)]
    assert len(tokenizer.chunks(prompt)) > 2


EMBEDDINGS = [
    "embedding:foo",
    "a embedding:bad",
    "(embedding:easy:1.2)",
    "bad\nembedding:foo",
    "a (b)embedding:c",
]


@pytest.mark.parametrize("prompt", EMBEDDINGS)
def test_embeddings_are_refused(tokenizer, prompt):
    with pytest.raises(ValueError, match="'embedding:', which is not built headless"):
        tokenizer.chunks(prompt)


def test_a_weight_of_1_is_the_plain_prompt(clip):
    plain, pooled = encode_prompt(clip, "a red circle")
    weighted, weighted_pooled = encode_prompt(clip, "a (red:1.0) circle")
    assert torch.equal(plain, weighted)
    assert torch.equal(pooled, weighted_pooled)
    assert plain.shape == (1, CHUNK, DEMO.text.hidden_size)


def test_weights_push_away_from_the_empty_prompt(clip):
    plain, empty = encode_prompt(clip, "red circle")[0], encode_prompt(clip, "")[0]
    pushed = encode_prompt(clip, "(red circle:1.5)")[0]
    words = slice(1, 1 + len(clip.tokenizer.words("red circle")))
    assert torch.allclose(pushed[:, words], empty[:, words] + 1.5 * (plain - empty)[:, words], atol=1e-5)
    assert torch.equal(pushed[:, words.stop :], plain[:, words.stop :])


def test_long_prompts_are_encoded_side_by_side(clip):
    prompt = "red circle, " * 60
    tokens, pooled = encode_prompt(clip, prompt)
    chunks = clip.tokenizer.chunks(prompt)
    assert tokens.shape[1] == CHUNK * len(chunks)
    ids = torch.tensor([[token.id for token in chunks[1]]])
    with torch.no_grad():
        assert torch.allclose(tokens[:, CHUNK : 2 * CHUNK], clip.network(ids).last_hidden_state, atol=1e-5)
        first = torch.tensor([[token.id for token in chunks[0]]])
        assert torch.allclose(pooled, clip.network(first).pooler_output, atol=1e-5)


def test_a_users_vocabulary_is_found(tmp_path):
    shutil.copytree(DEMO_TOKENIZER, tmp_path / "clip_tokenizer")
    assert clip_tokenizer(tmp_path).end == DEMO.text.end_token


def test_the_published_byte_pairs_give_clips_ids(tmp_path):
    """A file of the published form; its first merges are CLIP's own."""
    merges = ["i n", "t h", "a n", "r e", "a r", "e r", "th e</w>"]
    filler = [f"{letter} {other}" for letter in _byte_letters()[:250] for other in _byte_letters()[:250]]
    lines = ["#version", *merges, *(line for line in filler if line not in merges)]
    file = tmp_path / "bpe_simple_vocab_16e6.txt.gz"
    file.write_bytes(gzip.compress("\n".join(lines).encode()))
    tokenizer = read_byte_pairs(file)
    assert (tokenizer.start, tokenizer.end) == (49406, 49407)
    # The published table's "the</w>" follows its merges.
    assert [each for each, _ in tokenizer.words("the")] == [518]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("vocab.json", b"\xff{}", "codec can't decode"),
        ("vocab.json", b"Not Found", "Expecting value"),
        ("vocab.json", b'["a"]', "is no vocabulary of CLIP's"),
        ("merges.txt", b"a b c\n", "'a b c', which merges no two"),
        ("merges.txt", b"Not Found\n", "'Not Found', which merges no two"),
    ],
)
def test_a_damaged_tokenizer_is_named(tmp_path, name, text, said):
    folder = Path(shutil.copytree(DEMO_TOKENIZER, tmp_path / "tokenizer"))
    (folder / name).write_bytes(text)
    with pytest.raises(CheckpointError, match=rf"tokenizer: .*{said}.*put the folder there again"):
        Tokenizer.from_folder(folder)
