"""The recipe in tools/train_demo.py, shortened: every stage runs, resumes, and writes files the hosts read."""

import importlib.util
from pathlib import Path

import pytest
import torch
from frameloom.models.architecture import DEMO
from frameloom.models.motion_checkpoint import read_motion_weights
from frameloom.models.motion_lora import read_motion_lora
from frameloom.training.tokenizer import WORDS
from safetensors import safe_open

RECIPE = Path(__file__).parents[2] / "tools" / "train_demo.py"


@pytest.fixture
def recipe(tmp_path):
    spec = importlib.util.spec_from_file_location("train_demo_recipe", RECIPE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shipped = module.ASSETS / "tokenizer"
    module.COMPILE = False
    module.ASSETS = tmp_path / "assets"
    module.VAE_STEPS = ((1, 32, 2), (1, 32, 2))
    module.TEXT_STEPS, module.IMAGE_STEPS, module.IMAGE_BATCH, module.MOTION_ROUNDS = (
        1,
        1,
        2,
        ((1, 2), (1, 3)),
    )
    module.MOTION_BATCH, module.STILLS, module.CLIPS = 1, 4, 2
    module.FOLD_CLIPS = module.LORA_CLIPS = module.LORA_STEPS = 2
    module.shipped_tokenizer = shipped
    return module


def test_every_stage_runs_and_the_motion_stage_leaves_the_base_alone(recipe, tmp_path):
    finished = {
        "vae": "vae",
        "text": "text_final",
        "image": "unet",
        "motion": "motion_final",
        "lora": "lora_final",
    }
    for stage, name in finished.items():
        state = getattr(recipe, f"train_{stage}")(tmp_path).state_dict()
        torch.save(state, tmp_path / f"{name}.pt")
    base = torch.load(tmp_path / "unet.pt")
    recipe.export(tmp_path)
    with safe_open(tmp_path / "assets" / "model.safetensors", "pt") as file:
        key = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"
        kept = base["down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight"].half()
        assert torch.equal(file.get_tensor(key), kept)
        assert file.get_tensor("first_stage_model.encoder.mid.attn_1.q.weight").ndim == 4
    with safe_open(tmp_path / "assets" / "motion.safetensors", "pt") as file:
        assert file.metadata()["frameloom.kind"] == "motion"
        slot = "down_blocks.0.motion_modules.0.temporal_transformer"
        assert file.get_tensor(f"{slot}.proj_out.weight").abs().max() > 0
        assert file.get_tensor(f"{slot}.transformer_blocks.0.attention_blocks.0.pos_encoder.pe").shape == (
            1,
            32,
            32,
        )
    weights = read_motion_weights(tmp_path / "assets" / "motion.safetensors")
    lora = read_motion_lora(tmp_path / "assets" / "pan_left.safetensors").fit(weights)
    assert len(lora.pairs) == 20 * 8


def test_the_shipped_tokenizer_is_the_recipes(recipe, tmp_path):
    recipe.write_tokenizer(tmp_path, DEMO.text.vocabulary)
    for name in ("vocab.json", "merges.txt"):
        assert (tmp_path / name).read_bytes() == (recipe.shipped_tokenizer / name).read_bytes()


def test_the_tokenizer_knows_our_words_whole(recipe):
    encode = recipe.load_tokenizer(recipe.shipped_tokenizer)
    for word in WORDS:
        ids = encode([word])[0]
        assert ids[0] == DEMO.text.start_token, word
        assert (ids[2:] == DEMO.text.end_token).all(), word
