"""Sampled layouts: always valid, and after training where the names say."""

from __future__ import annotations

import math
import random

import pytest
import torch
from frameloom.language.planning.layout_prior import Request, Sampling, read_layout_prior, sample_storyboard
from frameloom.models.layout_prior.prior import LayoutGPT, PriorSize, save_prior
from frameloom.models.layout_prior.sequence import LINES, NAME, PADDING, SMALLEST, VOCABULARY, encode_scene
from frameloom.models.storyboard.scenes import BoxKey, Entity, Provenance, Scene, parse_storyboard
from torch.nn import functional

TINY = PriorSize(VOCABULARY, context=256, width=32, layers=2, heads=4)


def random_prior(spread=0.5):
    """Weights that are far from uniform chances, as a trained prior's are, and not even near a trained one's."""
    network = LayoutGPT(TINY)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * spread)
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


PLACES = {"left": 0.25, "right": 0.75}  # middles of the boxes of what has this name


def synthetic_scene(rng):
    """A thing of ``PLACES``, jittered; under ``rise`` it moves up by three tenths of the picture."""
    name, caption = rng.choice(sorted(PLACES)), rng.choice(["rest", "rise"])
    x, up = PLACES[name] + rng.uniform(-0.06, 0.06), 0.15 * (caption == "rise")
    middles = {0: 0.5 + up, 15: 0.5 - up}
    track = tuple(BoxKey(f=f, box=(x - 0.1, y - 0.1, x + 0.1, y + 0.1)) for f, y in middles.items())
    return Scene(id=1, prompt=caption, frames=16, entities=(Entity(id="1", text=name, track=track),))


def train(steps):
    """Teach a small prior the synthetic layouts, by the likelihood of every next token."""
    torch.manual_seed(0)
    rng, network = random.Random(0), LayoutGPT(PriorSize(VOCABULARY, context=64, width=48, layers=2, heads=4))
    optimizer = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.98))
    for step in range(steps):
        sequences = [torch.tensor(encode_scene(synthetic_scene(rng))) for _ in range(16)]
        tokens = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=PADDING)
        logits, _ = network(tokens[:, :-1])
        loss = functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=PADDING)
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * min(1, (step + 1) / 10) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def middle(key):
    left, top, right, bottom = key.box
    return (left + right) / 2, (top + bottom) / 2


def test_a_prior_that_was_trained_places_what_is_named_where_it_belongs(tmp_path):
    """32 samples. By chance half were placed right, and half moved so."""
    save_prior(tmp_path / "prior.safetensors", train(140), NAME)
    network = read_layout_prior(tmp_path / "prior.safetensors")
    placed = moved = 0
    for seed in range(32):
        name, rising = sorted(PLACES)[seed % 2], seed % 4 > 1
        request = Request([name], "rise" if rising else "rest", 24, 2)
        scene = sample_storyboard(network, "prior", request, Sampling(seed=seed)).only_scene()
        (x, y), (end_x, end_y) = map(middle, scene.entities[0].track)
        placed += min(PLACES, key=lambda each: abs(PLACES[each] - (x + end_x) / 2)) == name
        moved += (y - end_y > 0.15) is rising
    assert placed >= 28
    assert moved >= 26
