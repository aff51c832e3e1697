"""Sampled layouts: always valid, and after training where the names say."""

from __future__ import annotations

import math
import random

import pytest
import torch
from frameloom.language.planning.layout_prior import (
    Request,
    Sampling,
    read_layout_prior,
    read_names,
    sample_storyboard,
)
from frameloom.models.layout_prior.prior import LayoutGPT, PriorSize, save_prior
from frameloom.models.layout_prior.sequence import LINES, NAME, PADDING, SMALLEST, VOCABULARY, encode_scene
from frameloom.models.storyboard.scenes import BoxKey, Entity, Scene, parse_storyboard
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
    """1,000 samples in all: no training is needed for a valid layout."""
    network, rng = random_prior(), random.Random(keyframes)
    for seed in range(334):
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
    assert (board.provenance.planner, board.provenance.model, board.provenance.seed) == (
        "prior",
        "tiny.safetensors",
        7,
    )
    assert (board.size, board.fps) == ((640, 360), 12.0)


def test_a_sequence_longer_than_the_context_is_refused_before_anything_is_sampled():
    request = Request(["dog"] * 20, "a park", 16, 2)

    def watch(_length):
        pytest.fail("something was sampled")

    with pytest.raises(ValueError, match=r"tiny: .* make 388 tokens; expected at most 256"):
        sample_storyboard(random_prior(), "tiny", request, watch=watch)


@pytest.mark.parametrize("text", ["", " \n,, "])
def test_without_names_there_is_nothing_to_place(text):
    with pytest.raises(ValueError, match=r"entities: got .*expected at least one name"):
        read_names(text)


# Where training places what a name begins with: the middle of its boxes.
PLACES = {"left": (0.2, 0.5), "right": (0.8, 0.5), "high": (0.5, 0.2), "low": (0.5, 0.8)}


def synthetic_scene(rng):
    """One or two things of ``PLACES``, jittered; under ``rise`` they move up by a fifth of the picture."""
    entities = []
    caption = rng.choice(["rest", "rise"])
    for number, word in enumerate(rng.sample(sorted(PLACES), rng.randint(1, 2))):
        x, y = (middle + rng.uniform(-0.06, 0.06) for middle in PLACES[word])
        up = 0.1 if caption == "rise" else 0.0
        boxes = [(x - 0.1, y + side * up - 0.08, x + 0.1, y + side * up + 0.08) for side in (1, -1)]
        boxes = [tuple(min(max(edge, 0.0), 1.0) for edge in box) for box in boxes]
        track = (BoxKey(f=0, box=boxes[0]), BoxKey(f=15, box=boxes[1]))
        entities.append(Entity(id=str(number), text=f"{word} ball", track=track))
    return Scene(id=1, prompt=caption, frames=16, entities=tuple(entities))


def train(steps, seed=0):
    """Teach a prior of two layers the synthetic layouts, by the likelihood of every next token."""
    torch.manual_seed(seed)
    rng, network = (
        random.Random(seed),
        LayoutGPT(PriorSize(VOCABULARY, context=128, width=64, layers=2, heads=4)),
    )
    optimizer = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.98))
    for step in range(steps):
        sequences = [torch.tensor(encode_scene(synthetic_scene(rng))) for _ in range(32)]
        tokens = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=PADDING)
        logits, _ = network(tokens[:, :-1])
        loss = functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=PADDING)
        for group in optimizer.param_groups:
            group["lr"] = 8e-3 * min(1, (step + 1) / 20) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def middle(key):
    left, top, right, bottom = key.box
    return (left + right) / 2, (top + bottom) / 2


def test_a_prior_that_was_trained_places_what_is_named_where_it_belongs(tmp_path):
    """64 samples of two things each. By chance a twelfth were placed right, and a quarter to a half moved so."""
    save_prior(tmp_path / "prior.safetensors", train(400), NAME)
    network = read_layout_prior(tmp_path / "prior.safetensors")
    placed = moved = 0
    for seed in range(64):
        rng = random.Random(seed)
        words = rng.sample(sorted(PLACES), 2)
        rising = bool(seed % 2)
        request = Request([f"{word} ball" for word in words], "rise" if rising else "rest", 24, 2)
        scene = sample_storyboard(network, "prior", request, Sampling(seed=seed)).only_scene()
        starts = [middle(entity.track[0]) for entity in scene.entities]
        ends = [middle(entity.track[-1]) for entity in scene.entities]
        means = [((a + c) / 2, (b + d) / 2) for (a, b), (c, d) in zip(starts, ends, strict=True)]
        nearest = [min(PLACES, key=lambda word: math.dist(PLACES[word], mean)) for mean in means]
        placed += nearest == words
        moved += all((start[1] - end[1] > 0.1) is rising for start, end in zip(starts, ends, strict=True))
    assert placed >= 56
    assert moved >= 48
