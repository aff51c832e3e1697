"""Foreground Mask in ComfyUI: it finds a drawn circle there too, and leaves the model as it found it."""

from __future__ import annotations

import pytest
import torch

PROMPT, PHRASE = "a big red circle on a navy background", "red circle"
SETTINGS = {"seed": 3, "passes": 2, "at_percent": 0.6, "levels": "0, 1, 2, 3", "threshold": 0.4, "hold": 0}


@pytest.fixture
def drawn(port, demo):
    """A circle in two places, as latents, and where it is in cells."""
    from frameloom.training import shapes

    centers = torch.tensor([[0.4, 0.35], [0.6, 0.6]])
    cover = shapes.coverage(torch.zeros(2, dtype=torch.long), centers, torch.full((2,), 0.23), 128)
    red, navy = (torch.tensor(shade) / 255 for shade in (shapes.COLORS["red"], shapes.BACKGROUNDS["navy"]))
    images = cover[..., None] * red + (1 - cover[..., None]) * navy
    truth = torch.nn.functional.avg_pool2d(cover[:, None], 8)[:, 0] > 0.5
    return port.encode(demo[2], images), truth


def find(demo, latent, **settings):
    from frameloom.nodes.zero_shot.foreground import ForegroundMask

    chosen = {**SETTINGS, "method": "contrast", "dilation": 1, **settings}
    return ForegroundMask.execute(demo[0], demo[1], PROMPT, PHRASE, latent, **chosen).args[0]


def overlap(mask, truth):
    return float(((mask > 0) & truth).sum() / ((mask > 0) | truth).sum())


def test_the_phrase_is_found_where_it_is_drawn(demo, drawn):
    latent, truth = drawn
    mask = find(demo, latent)
    assert mask.shape == (2, 16, 16)
    assert overlap(mask, truth) > 0.6
    assert overlap(mask.flip(0), truth) < 0.3


@pytest.mark.parametrize("method", ["contrast", "attention"])
def test_masks_repeat_and_the_model_stays_as_it_is(port, demo, scene, drawn, method):
    before = scene.run(demo[0])
    options = demo[0].model_options["transformer_options"]
    patches = {key: list(value) for key, value in options.get("patches", {}).items()}
    first = find(demo, drawn[0], method=method)
    assert torch.equal(find(demo, drawn[0], method=method), first)
    assert options.get("patches", {}) == patches
    assert torch.equal(scene.run(demo[0]), before)


def test_models_with_other_edits_can_be_asked(port, demo, motion, scene, drawn):
    moving = (scene.moving(scene.crossing(demo[0]), motion), demo[1])
    for method in ("contrast", "attention"):
        mask = find(moving, drawn[0], method=method, threshold=0.2)
        assert 0 < mask.mean() < 1
