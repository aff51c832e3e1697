"""Foreground Mask on the headless host: what it finds in the demo model's own pictures, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.models.motion.edit import motion_edit
from frameloom.models.video.noise import draw_noise
from frameloom.tools.detector import measure
from frameloom.training import shapes

ASKING = {"method": "contrast", "seed": 3, "passes": 2, "at_percent": 0.6, "levels": "0, 1, 2, 3"}
CLEANING = {"threshold": 0.4, "dilation": 1, "hold": 0}


@pytest.fixture
def demo(host):
    return host.load_demo()


@pytest.fixture
def drawn(host, demo):
    """A circle drawn in two places: its latents, where it is in cells, what to call the picture, and it."""
    clip = shapes.sample_images(1, torch.Generator().manual_seed(0)).select(torch.tensor([0, 0]))
    names = {"shape": "circle", "color": "red", "background": "navy", "size": "big"}
    tables = {
        "shape": shapes.SHAPES,
        "color": shapes.COLORS,
        "background": shapes.BACKGROUNDS,
        "size": shapes.SIZES,
    }
    which = {key: torch.full((2,), list(tables[key]).index(name)) for key, name in names.items()}
    centers, radius = torch.tensor([[[0.4, 0.35]], [[0.6, 0.6]]]), torch.full((2,), shapes.SIZES["big"])
    images = shapes.render(replace(clip, **which, centers=centers, radius=radius))[:, 0]
    latent = host.encode(demo[2], images.movedim(1, -1) / 2 + 0.5)
    truth = torch.nn.functional.avg_pool2d(measure(images).mask[:, None].float(), 8)[:, 0] > 0.5
    return latent, truth, "a big red circle on a navy background", "red circle"


def find(nodes, demo, latent, prompt, phrase, mask=None, **settings):
    chosen = {**ASKING, **CLEANING, **settings}
    return (
        nodes["ForegroundMask"].execute(demo[0], demo[1], prompt, phrase, latent, mask=mask, **chosen).args[0]
    )


def overlap(mask, truth):
    return float(((mask > 0) & truth).sum() / ((mask > 0) | truth).sum())


def test_the_phrase_is_found_where_it_is_drawn(nodes, demo, drawn):
    latent, truth, prompt, phrase = drawn
    mask = find(nodes, demo, latent, prompt, phrase)
    assert mask.shape == truth.shape
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert overlap(mask, truth) > 0.6
    assert overlap(mask.flip(2), truth) < overlap(mask, truth)
    background = find(nodes, demo, latent, prompt, "navy")
    assert overlap(background, truth) < 0.7 * overlap(mask, truth)


def test_a_mask_depends_on_seed_and_frame_number_alone(nodes, demo, drawn):
    latent, _, prompt, phrase = drawn
    raw = {"threshold": 0.0, "passes": 1}
    one = find(nodes, demo, latent, prompt, phrase, **raw)
    assert torch.equal(find(nodes, demo, latent, prompt, phrase, **raw), one)
    settings = {"threshold": 0.3, "passes": 1}
    swapped = {"samples": latent["samples"].flip(0), "batch_index": [1, 0]}
    straight = find(nodes, demo, latent, prompt, phrase, **settings)
    assert torch.equal(find(nodes, demo, swapped, prompt, phrase, **settings).flip(0), straight)


@pytest.mark.parametrize("method", ["contrast", "attention"])
def test_seed_passes_and_noise_level_each_count(nodes, demo, drawn, method, monkeypatch):
    from frameloom.nodes.zero_shot import foreground

    latent, _, prompt, phrase = drawn
    seen = []
    monkeypatch.setattr(foreground, "normalise", lambda maps: (seen.append(maps), maps)[1])
    for settings in ({}, {"seed": 4}, {"passes": 1}, {"at_percent": 0.3}, {"seed": 4, "passes": 1}):
        find(nodes, demo, latent, prompt, phrase, method=method, **settings)
    base, seed, one, noisier, second = seen
    assert not any(torch.allclose(base, other, rtol=1e-3) for other in (seed, one, noisier))
    if method == "attention":  # the mean of what its two seeds see one by one
        torch.testing.assert_close(base, (one + second) / 2)


def test_levels_count_for_attention(nodes, demo, drawn):
    latent, _, prompt, phrase = drawn
    every, fine = (
        find(nodes, demo, latent, prompt, phrase, method="attention", levels=levels)
        for levels in ("0, 1, 2, 3", "0")
    )
    assert not torch.equal(every, fine)
    with pytest.raises(ValueError, match="levels='5': '5' is no level"):
        find(nodes, demo, latent, prompt, phrase, method="attention", levels="5")


@pytest.mark.parametrize("method", ["contrast", "attention"])
def test_a_model_with_a_motion_module_is_asked_with_it_and_stays_as_it_is(nodes, host, demo, drawn, method):
    latent, _, prompt, phrase = drawn
    path = host.resolve("animatediff_models", host.list_files("animatediff_models")[0])
    motion = host.load_motion(read_motion_weights(path))
    moving = host.install(demo[0], motion_edit("motion", motion))
    noisy = {"samples": 10 * draw_noise(0, [0, 1], (4, 16, 16))}
    conditioning, _ = host.encode_text(demo[1], prompt)
    before = host.predict(moving, conditioning, noisy, 2.0)
    settings = {"method": method, "threshold": 0.3}
    moved = find(nodes, (moving, demo[1]), latent, prompt, phrase, **settings)
    assert not torch.equal(moved, find(nodes, demo, latent, prompt, phrase, **settings))
    assert torch.equal(host.predict(moving, conditioning, noisy, 2.0), before)
    assert len(moving.edits) == 1


def test_a_connected_mask_is_cleaned_and_the_model_not_asked(nodes, drawn):
    latent = {"samples": torch.zeros(3, 4, 16, 16)}
    mask = torch.zeros(3, 128, 128)
    mask[1, 64:72, 64:72] = 1
    found = find(nodes, (None, None), latent, "", "", mask=mask, dilation=3, hold=1)
    assert found.shape == (3, 16, 16)
    assert found.sum((1, 2)).tolist() == [9, 9, 9]
    assert found[0, 7:10, 7:10].all()


def test_dilation_only_adds(nodes, demo, drawn):
    latent, truth, prompt, phrase = drawn
    small = find(nodes, demo, latent, prompt, phrase)
    large = find(nodes, demo, latent, prompt, phrase, dilation=3)
    assert (large >= small).all()
    assert (truth & (large > 0)).sum() >= (truth & (small > 0)).sum()
    assert large.sum() > small.sum()


def test_what_cannot_be_asked_is_refused(nodes, demo, drawn):
    latent, _, prompt, phrase = drawn
    with pytest.raises(ValueError, match="batch_index has 1 numbers for 2 frames"):
        find(nodes, demo, {**latent, "batch_index": [2]}, prompt, phrase)
    for phrase in ("", "  "):
        with pytest.raises(
            ValueError, match=r"phrase is empty; expected words of the prompt .* or connect a mask"
        ):
            find(nodes, demo, latent, prompt, phrase)
    for method in ("contrast", "attention"):
        with pytest.raises(
            ValueError, match=r"phrase='blue house' is not in the prompt 'a big .*; expected words"
        ):
            find(nodes, demo, latent, prompt, "blue house", method=method)
    with pytest.raises(ValueError, match=r"mask is \(3, 8, 8\), latent has 2 frames"):
        find(nodes, demo, latent, prompt, "", mask=torch.zeros(3, 8, 8))
    broken = {"samples": torch.full((2, 4, 16, 16), torch.inf)}
    with pytest.raises(ValueError, match="latent holds NaN or infinity"):
        find(nodes, demo, broken, prompt, "background")
    with pytest.raises(ValueError, match=r"latent: got one of a video model, \[1, 4, 2, 16, 16\]"):
        find(nodes, demo, {"samples": torch.zeros(1, 4, 2, 16, 16)}, prompt, "background")
