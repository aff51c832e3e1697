"""Sampled layouts: always valid, whatever the weights say, and with what was asked for in them."""

from __future__ import annotations

import random

import pytest
import torch
from frameloom.language.planning.layout_prior import Request, Sampling, sample_storyboard
from frameloom.models.layout_prior.prior import LayoutGPT, PriorSize
from frameloom.models.layout_prior.sequence import LINES, SMALLEST, VOCABULARY
from frameloom.models.storyboard.scenes import Provenance, parse_storyboard

TINY = PriorSize(VOCABULARY, context=256, width=32, layers=2, heads=4)


def random_prior():
    """Weights that are far from uniform chances, as a trained prior's are, and not even near a trained one's."""
    network = LayoutGPT(TINY)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.5)
    return network.eval()


@pytest.mark.parametrize("keyframes", [1, 2, 5])
def test_every_sample_of_random_weights_is_valid(keyframes):
    """No training is needed for a valid layout."""
    network, rng = random_prior(), random.Random(keyframes)
    for seed in range(30):
        names = rng.choices(["a red ball", "dog", "dog", "猫"], k=rng.randint(1, 3))
        frames = rng.choice([5, 16, 24, 300])
        sampling = Sampling(rng.choice([0.0, 0.7, 1.0, 3.0]), rng.choice([0, 1, 70]), seed)
        board = sample_storyboard(network, "tiny", Request(names, "a park", frames, keyframes), sampling)
        scene = parse_storyboard(board.to_json()).only_scene()
        assert [entity.text for entity in scene.entities] == names
        assert (scene.prompt, scene.frames) == ("a park", frames)
        for entity in scene.entities:
            places = [key.f for key in entity.track]
            assert len(places) == keyframes
            assert (places[0], places[-1]) == (0, frames - 1 if keyframes > 1 else 0)
            assert bool(entity.boxes_at(frames)[1].all())
            for key in entity.track:
                left, top, right, bottom = key.box
                assert min(right - left, bottom - top) >= SMALLEST / LINES


def test_the_storyboard_says_where_it_is_from():
    request = Request(["dog"], "", 8, 2, (640, 360), 12.0)
    board = sample_storyboard(random_prior(), "tiny.safetensors", request, Sampling(seed=7))
    assert board.provenance == Provenance(planner="prior", model="tiny.safetensors", seed=7)
    assert (board.size, board.fps) == ((640, 360), 12.0)
