"""A layout prior's loss counts what it must say and nothing else; training lowers it, the same way each time."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from frameloom.models.layout_prior.sequence import OPEN, Words, encode_names, encode_scene
from frameloom.models.storyboard.scenes import BoxKey, Entity, Scene
from frameloom.training.layout.scenes import draw_scenes
from frameloom.training.layout.training import (
    LayoutSettings,
    make_corpus,
    new_prior,
    score,
    show,
    train_prior,
)
from frameloom.training.loop import step_generator

TINY = LayoutSettings(steps=40, batch_size=8, learning_rate=2e-2, width=16, layers=1)


@pytest.fixture(scope="module")
def corpus():
    return make_corpus(draw_scenes(60, step_generator(0, 0)), TINY)


def shown(corpus, count=19):
    return [show(scene, TINY, step_generator(1, i)) for i, scene in enumerate(corpus.training[:count])]


def test_the_loss_is_that_of_each_token_after_what_is_given(corpus):
    """Scene by scene and token by token, without any padding."""
    network, scenes, words = new_prior(TINY, corpus.words), shown(corpus), Words(corpus.words)
    wanted, tokens = 0.0, 0
    with torch.no_grad():
        for scene in scenes:
            sequence = encode_scene(scene, words)
            given = len(encode_names(scene.prompt, [entity.text for entity in scene.entities], words))
            assert sequence[given] == OPEN
            chances = network(torch.tensor([sequence]))[0][0].log_softmax(-1)
            wanted -= sum(float(chances[place - 1, sequence[place]]) for place in range(given, len(sequence)))
            tokens += len(sequence) - given
        total, count = score(network, scenes)
    assert count == tokens
    assert float(total) == pytest.approx(wanted, rel=1e-5)


def test_training_lowers_the_loss_of_what_is_held_out(corpus):
    held_out = [show(scene, TINY, step_generator(2, i)) for i, scene in enumerate(corpus.held_out)]
    losses = []
    network = train_prior(corpus, TINY, on_step=lambda step, loss: losses.append(loss))
    assert len(losses) == 40
    with torch.no_grad():
        before, after = (float(score(each, held_out)[0]) for each in (new_prior(TINY, corpus.words), network))
    assert after < 0.7 * before
    assert not network.training


def test_a_seed_decides_and_torchs_own_random_numbers_stay(corpus):
    short = replace(TINY, steps=3)
    before = torch.get_rng_state()
    one, same, other = (train_prior(corpus, replace(short, seed=seed)).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_weights_are_those_that_its_file_will_hold(corpus):
    network = train_prior(corpus, replace(TINY, steps=1))
    assert network.words == corpus.words
    for value in network.state_dict().values():
        assert value.dtype == torch.float32
        assert torch.equal(value, value.half().float())


def scene(number, *, text="a dog", box=(0.0, 0.0, 0.5, 0.5)):
    track = (BoxKey(f=0, box=box),)
    return Scene(
        id=1, prompt=f"number {number}", frames=4, entities=(Entity(id="a", text=text, track=track),)
    )


def test_scenes_without_boxes_or_longer_than_the_context_are_left_out_and_counted():
    scenes = [scene(number) for number in range(20)]
    long, empty = scene(20, text="a dog " * 80), scene(21, box=None)
    corpus = make_corpus([*scenes, long, empty], TINY)
    assert corpus.left_out == 2
    assert {each.prompt for each in (*corpus.training, *corpus.held_out)} == {each.prompt for each in scenes}


def test_a_width_that_the_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="width=18; expected a multiple of 4"):
        new_prior(replace(TINY, width=18))
