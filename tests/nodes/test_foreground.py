"""Foreground Mask on the headless host: what it finds in the demo model's own pictures, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from frameloom.models.motion.edit import motion_edit
from frameloom.tools.detector import measure
from frameloom.training import shapes


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


@pytest.fixture
def find(run, demo, drawn):
    """The node on what was drawn, with its settings replaced at will."""
    latent, _, prompt, phrase = drawn
    given = {"model": demo[0], "clip": demo[1], "latent": latent, "prompt": prompt, "phrase": phrase}
    given |= {"seed": 3, "dilation": 1}
    return lambda **changes: run("ForegroundMask", **(given | changes))[0]


def overlap(mask, truth):
    return float(((mask > 0) & truth).sum() / ((mask > 0) | truth).sum())


def test_the_phrase_is_found_where_it_is_drawn(find, drawn):
    _, truth, *_ = drawn
    mask = find()
    assert mask.shape == truth.shape
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert overlap(mask, truth) > 0.6
    assert overlap(mask.flip(2), truth) < overlap(mask, truth)
    background = find(phrase="navy")
    assert overlap(background, truth) < 0.7 * overlap(mask, truth)


def test_a_mask_depends_on_seed_and_frame_number_alone(find, drawn):
    settings = {"threshold": 0.3, "passes": 1}
    swapped = {"samples": drawn[0]["samples"].flip(0), "batch_index": [1, 0]}
    assert torch.equal(find(latent=swapped, **settings).flip(0), find(**settings))


def test_seed_passes_levels_and_noise_level_each_count(find, monkeypatch):
    from frameloom.nodes.zero_shot import foreground

    seen = []
    monkeypatch.setattr(foreground, "normalise", lambda maps: (seen.append(maps), maps)[1])
    changes = ({}, {"passes": 1}, {"seed": 4, "passes": 1}, {"at_percent": 0.3}, {"levels": "0"})
    for settings in changes:
        find(method="attention", **settings)
    base, one, second, *others = seen
    assert not any(torch.allclose(base, other, rtol=1e-3) for other in (one, second, *others))
    torch.testing.assert_close(base, (one + second) / 2)  # the mean of what its two seeds see one by one


@pytest.mark.parametrize("method", ["contrast", "attention"])
def test_a_model_with_a_motion_module_is_asked_with_it_and_stays_as_it_is(find, host, demo, motion, method):
    moving = host.install(demo[0], motion_edit("motion", motion))
    settings = {"method": method, "threshold": 0.3, "passes": 1}
    assert not torch.equal(find(model=moving, **settings), find(**settings))
    assert len(moving.edits) == 1


def test_a_connected_mask_is_cleaned_and_the_model_not_asked(find):
    mask = torch.zeros(3, 128, 128)
    mask[1, 64:72, 64:72] = 1
    asked = {"model": None, "clip": None, "prompt": "", "phrase": ""}
    found = find(**asked, latent={"samples": torch.zeros(3, 4, 16, 16)}, mask=mask, dilation=3, hold=1)
    assert found.shape == (3, 16, 16)
    assert found.sum((1, 2)).tolist() == [9, 9, 9]
    assert found[0, 7:10, 7:10].all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"phrase": " "}, r"phrase is empty; expected words of the prompt .* or connect a mask"),
        ({"phrase": "blue house"}, r"phrase='blue house' is not in the prompt 'a big .*; expected words"),
        ({"levels": "5"}, "levels='5': '5' is no level"),
        ({"mask": torch.zeros(3, 8, 8)}, r"mask is \(3, 8, 8\), latent has 2 frames"),
        ({"latent": {"samples": torch.full((2, 4, 16, 16), torch.inf)}}, "latent holds NaN or infinity"),
    ],
)
def test_what_cannot_be_asked_is_refused(find, given, message):
    with pytest.raises(ValueError, match=message):
        find(**given)
