"""The recipe in tools/train_demo.py, shortened: every stage runs, resumes, and writes files the hosts read."""

import pytest
import torch
from frameloom.models.network.sizes import DEMO
from frameloom.tools import train_demo
from frameloom.tools.tokenizer import WORDS
from safetensors import safe_open

SHIPPED_TOKENIZER = train_demo.ASSETS / "tokenizer"


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    short = {
        "COMPILE": False,
        "ASSETS": tmp_path / "assets",
        "VAE_STEPS": ((1, 32, 2), (1, 32, 2)),
        "TEXT_STEPS": 1,
        "IMAGE_STEPS": 1,
        "IMAGE_BATCH": 2,
        "STILLS": 4,
        "CLIPS": 2,
        "FOLD_CLIPS": 2,
    }
    for name, value in short.items():
        monkeypatch.setattr(train_demo, name, value)
    return train_demo


def test_every_stage_runs_and_is_exported(recipe, tmp_path):
    for train_stage, finished in recipe.STAGES.values():
        torch.save(train_stage(tmp_path).state_dict(), tmp_path / f"{finished}.pt")
    base = torch.load(tmp_path / "unet.pt")
    recipe.export(tmp_path)
    with safe_open(tmp_path / "assets" / "model.safetensors", "pt") as file:
        key = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"
        kept = base["down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight"].half()
        assert torch.equal(file.get_tensor(key), kept)
        assert file.get_tensor("first_stage_model.encoder.mid.attn_1.q.weight").ndim == 4


def test_the_shipped_tokenizer_is_the_recipes(recipe, tmp_path):
    recipe.write_tokenizer(tmp_path, DEMO.text.vocabulary)
    for name in ("vocab.json", "merges.txt"):
        assert (tmp_path / name).read_bytes() == (SHIPPED_TOKENIZER / name).read_bytes()


def test_the_tokenizer_knows_our_words_whole(recipe):
    encode = recipe.load_tokenizer(SHIPPED_TOKENIZER)
    for word in WORDS:
        ids = encode([word])[0]
        assert ids[0] == DEMO.text.start_token, word
        assert (ids[2:] == DEMO.text.end_token).all(), word
