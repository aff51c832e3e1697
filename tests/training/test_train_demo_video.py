"""The recipe in tools/train_demo_video.py: its parts are exact, and every stage runs, goes on, and writes its files."""

from __future__ import annotations

import json

import pytest
import torch
from frameloom.headless.weights import wan
from frameloom.models.network.sizes import DEMO_VIDEO
from frameloom.tests.support.tiny_wan import randomize
from frameloom.tools import train_demo_video as recipe
from frameloom.tools.score_demo_video import figures_of
from frameloom.training import shapes
from frameloom.training.loop import step_generator
from safetensors import safe_open


@pytest.fixture(scope="module")
def vae():
    return randomize(wan.build_vae(DEMO_VIDEO), 1)


def draw(count, frames=recipe.FRAMES):
    return recipe.draw_crops(count, frames, step_generator(7, 0))


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 5, 9])
def test_a_clip_at_once_is_the_clip_in_diffusers_pieces(vae, frames):
    clip = draw(2, frames)
    moments = recipe.encode_clip(vae, clip)
    assert (moments - vae.encode(clip).latent_dist.parameters).abs().max() < 1e-5
    decoded = recipe.decode_clip(vae, moments[:, :16])
    assert decoded.shape == clip.shape
    assert (decoded.clamp(-1, 1) - vae.decode(moments[:, :16]).sample).abs().max() < 1e-4


@torch.no_grad()
def test_folded_latents_have_wans_statistics_and_decode_to_the_same(monkeypatch):
    monkeypatch.setattr(recipe, "FOLD_CLIPS", 16)
    vae = randomize(wan.build_vae(DEMO_VIDEO), 1)
    clip = recipe.draw_crops(16, recipe.FRAMES, step_generator(recipe.SEED, 99))
    before = recipe.decode_clip(vae, recipe.encode_clip(vae, clip)[:, :16])
    recipe.fold_statistics(vae)
    latents = recipe.encode_clip(vae, clip)[:, :16]
    mean, spread = recipe.wan_statistics(vae)
    assert torch.allclose(latents.mean((0, 2, 3, 4)), mean, atol=1e-3)
    assert torch.allclose(latents.std((0, 2, 3, 4)), spread, rtol=1e-3)
    assert torch.allclose(recipe.decode_clip(vae, latents), before, atol=1e-3)


@torch.no_grad()
def test_the_autoencoder_starts_as_one_that_blurs():
    clip = draw(16)
    vae = recipe.build_vae()
    error = recipe.decode_clip(vae, recipe.encode_clip(vae, clip)[:, :16]) - clip
    flat = clip - clip.mean((1, 2, 3, 4), keepdim=True)
    assert error.square().mean() < flat.square().mean()


@torch.no_grad()
def test_given_ends_are_marked_and_encoded_between_gray(vae):
    clip = draw(3)
    given = recipe.give_ends(
        vae, clip, first=torch.tensor([True, True, False]), last=torch.tensor([True, False, True])
    )
    rows = given[:, :4, :, 0, 0].transpose(1, 2).tolist()  # latent frames, each of four rows
    start, none, end = [1.0] * 4, [0.0] * 4, [0.0, 0.0, 0.0, 1.0]
    assert rows == [[start, none, end], [start, none, none], [none, none, end]]
    gray = clip[1:2].clone()
    gray[:, :, 1:] = 0
    assert torch.allclose(given[1:2, 4:], recipe.encode_units(vae, gray), atol=1e-5)


def test_drawn_clips_are_measured_as_drawn_and_others_are_not():
    truth = shapes.sample_clips(64, step_generator(7, 1), recipe.FRAMES)
    clips = shapes.render(truth, recipe.SIZE).transpose(1, 2)
    *looks, first, last, middle = figures_of(clips, clips, truth).mean(0).tolist()
    assert min(looks) > 0.98
    assert first == last == middle == 0
    *looks, first, last, middle = figures_of(clips.roll(1, 0), clips, truth).mean(0).tolist()
    assert max(looks) < 0.6
    assert min(first, last, middle) > 0.05


SHORT = {
    "VAE_STEPS": ((1, 1, 2, 1e-3, 1e-3), (1, 5, 1, 1e-3, 1e-3)),
    "FOLD_CLIPS": 2,
    "CLIPS": 4,
    "BATCH": 2,
    "VIDEO_STEPS": 2,
}


def test_every_stage_runs_goes_on_and_is_exported(tmp_path, monkeypatch, capsys):
    for name, value in SHORT.items():
        monkeypatch.setattr(recipe, name, value)
    monkeypatch.setattr("sys.argv", ["train_demo_video.py", "--work", str(tmp_path), "--threads", "1"])
    assert recipe.main() == 0
    assert "clips: 4/4" in capsys.readouterr().out
    first = torch.load(tmp_path / "video.pt")
    assert recipe.main() == 0
    assert "clips: 4/4" not in capsys.readouterr().out, "the training set was encoded again"
    assert all(torch.equal(value, first[key]) for key, value in torch.load(tmp_path / "video.pt").items())
    with safe_open(tmp_path / recipe.TRANSFORMER_FILE, "pt") as file:
        kept = first["blocks.0.attn1.to_q.weight"].half()
        assert torch.equal(file.get_tensor("blocks.0.self_attn.q.weight"), kept)
        assert json.loads(file.metadata()["config"])["transformer"]["num_heads"] == DEMO_VIDEO.heads
    with safe_open(tmp_path / recipe.VAE_FILE, "pt") as file:
        assert file.get_tensor("decoder.head.0.gamma").shape[0] == DEMO_VIDEO.vae_width
