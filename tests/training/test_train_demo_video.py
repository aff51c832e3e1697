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
from frameloom.tools.wan_clips import decode_clip, encode_clip
from frameloom.training import shapes
from frameloom.training.loop import step_generator
from safetensors import safe_open


@pytest.fixture(scope="module")
def vae():
    return randomize(wan.build_vae(DEMO_VIDEO), 1)


def draw(count, frames=recipe.FRAMES):
    return recipe.draw_crops(count, frames, recipe.SIZE, step_generator(7, 0))


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 5, 13])
def test_a_clip_at_once_is_the_clip_in_diffusers_pieces(vae, frames):
    clip = draw(2, frames)
    moments = encode_clip(vae, clip)
    assert (moments - vae.encode(clip).latent_dist.parameters).abs().max() < 1e-5
    decoded = decode_clip(vae, moments[:, :16])
    assert decoded.shape == clip.shape
    assert (decoded.clamp(-1, 1) - vae.decode(moments[:, :16]).sample).abs().max() < 1e-4


@torch.no_grad()
def test_folded_latents_have_wans_statistics_and_decode_to_the_same(monkeypatch):
    monkeypatch.setattr(recipe, "FOLD_CLIPS", 4)
    vae = randomize(wan.build_vae(DEMO_VIDEO), 1)
    vae.quant_conv.bias[16:] = -20.0  # no channel is below its noise
    clip = recipe.draw_crops(4, recipe.FRAMES, recipe.SIZE, step_generator(recipe.SEED, 99))
    before = decode_clip(vae, encode_clip(vae, clip)[:, :16])
    recipe.fold_statistics(vae)
    latents = encode_clip(vae, clip)[:, :16]
    mean, spread = recipe.wan_statistics(vae)
    assert torch.allclose(latents.mean((0, 2, 3, 4)), mean, atol=1e-3)
    assert torch.allclose(latents.std((0, 2, 3, 4)), spread, rtol=1e-3)
    assert torch.allclose(decode_clip(vae, latents), before, atol=1e-3)


@torch.no_grad()
def test_a_channel_below_its_noise_becomes_constant_and_the_others_stay(monkeypatch):
    monkeypatch.setattr(recipe, "FOLD_CLIPS", 2)
    clip, quiet = draw(1), torch.arange(16) % 3 == 0
    folded = []
    for noise in (-20.0, 20.0):
        torch.manual_seed(0)
        vae = randomize(wan.build_vae(DEMO_VIDEO), 1)
        vae.quant_conv.bias[16:] = torch.where(quiet, noise, -20.0)
        recipe.fold_statistics(vae)
        folded.append(encode_clip(vae, clip)[:, :16])
    mean, _ = recipe.wan_statistics(vae)
    assert (folded[1][:, quiet] - mean[quiet].view(-1, 1, 1, 1)).abs().max() < 1e-5
    assert torch.equal(folded[1][:, ~quiet], folded[0][:, ~quiet])


@torch.no_grad()
def test_the_autoencoder_starts_as_one_that_blurs():
    clip = draw(64, 1)
    vae = recipe.build_vae()
    error = decode_clip(vae, encode_clip(vae, clip)[:, :16]) - clip
    flat = clip - clip.mean((1, 2, 3, 4), keepdim=True)
    assert error.square().mean() < flat.square().mean()


def test_a_piece_is_cut_out_of_its_clip():
    (whole, piece) = (recipe.draw_crops(4, 5, side, step_generator(7, 0)) for side in (64, 32))
    windows = whole.unfold(3, 32, 1).unfold(4, 32, 1)  # [N, 3, F, 33, 33, 32, 32]
    apart = (windows - piece[:, :, :, None, None]).abs().amax((1, 2, 5, 6))
    assert apart.flatten(1).amin(1).max() < 1e-4
    assert piece.std() > whole.std(), "it holds the shape"


def test_noise_on_latents_teaches_the_decoder_alone(tmp_path, monkeypatch):
    for name, value in SHORT.items():
        monkeypatch.setattr(recipe, name, value)
    before = recipe.build_vae().state_dict()
    torch.save(before, tmp_path / "vae.pt")
    after = recipe.train_decoder(tmp_path).state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert {name.split(".")[0] for name in moved} == {"decoder", "post_quant_conv"}


@torch.no_grad()
def test_given_ends_are_marked_and_encoded_between_gray(vae):
    clip = draw(3)
    given = recipe.give_ends(
        vae, clip, first=torch.tensor([True, True, False]), last=torch.tensor([True, False, True])
    )
    rows = given[:, :4, :, 0, 0].transpose(1, 2).tolist()  # latent frames, each of four rows
    start, end, none = [1.0] * 4, [0.0, 0.0, 0.0, 1.0], [0.0] * 4
    between = [none] * 3
    assert rows == [[start, *between, end], [start, *between, none], [none, *between, end]]
    gray = clip[1:2].clone()
    gray[:, :, 1:] = 0
    assert torch.allclose(given[1:2, 4:], recipe.encode_units(vae, gray), atol=1e-5)


def test_drawn_clips_are_measured_as_drawn_and_others_are_not():
    truth = shapes.sample_clips(24, step_generator(7, 1), recipe.FRAMES)
    clips = shapes.render(truth, recipe.SIZE).transpose(1, 2)
    *looks, first, last, middle = figures_of(clips, clips, truth).mean(0).tolist()
    assert min(looks) > 0.98
    assert first == last == middle == 0
    *looks, first, last, middle = figures_of(clips.roll(1, 0), clips, truth).mean(0).tolist()
    assert max(looks) < 0.6
    assert min(first, last, middle) > 0.05


SHORT = {
    "VAE_STEPS": ((1, 1, 32, 2, 1e-3, 1e-3), (1, 5, 32, 1, 1e-3, 1e-3)),
    "DECODER_STEPS": 1,
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
