"""What is said of a prior: what is valid, that the grammar makes it so, and controls that know nothing or all."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.layout_prior.sequence import CLOSE, END, encode_scene
from frameloom.models.storyboard.scenes import BoxKey, Entity, Scene
from frameloom.training.layout.report import (
    BOXES,
    FREELY,
    PRIOR,
    TRAINED_ON,
    WEIGHTS,
    describe,
    held_out_loss,
    is_valid,
    train_and_measure,
)
from frameloom.training.layout.scenes import draw_scenes
from frameloom.training.layout.training import LayoutSettings, new_prior, score, show
from frameloom.training.loop import step_generator

TINY = LayoutSettings(steps=20, batch_size=8, width=16, layers=1)
BALL = Entity(id="ball", text="ball", track=(BoxKey(f=0, box=(0.0, 0.0, 0.5, 0.5)),), hold=True)
SCENE = Scene(id=1, prompt="a", frames=4, entities=(BALL,))


@pytest.fixture(scope="module")
def measured():
    return train_and_measure(draw_scenes(60, step_generator(0, 0)), TINY)


def test_a_layout_is_valid_if_it_reads_back_with_the_same_names_and_a_box_for_each():
    good = encode_scene(SCENE)
    assert is_valid(good, SCENE)
    absent = BALL.model_copy(update={"track": (BoxKey(f=0, box=None),)})
    bad = {
        "cut": good[:-1],
        "another name": encode_scene(
            SCENE.model_copy(update={"entities": (BALL.model_copy(update={"text": "cube"}),)})
        ),
        "nothing": encode_scene(SCENE.model_copy(update={"entities": ()})),
        "no box": encode_scene(SCENE.model_copy(update={"entities": (absent,)})),
        "edges crossed": [*good[:-4], good[-6], *good[-3:]],
        "closed twice": [*good[:-1], CLOSE, END],
    }
    assert [name for name, tokens in bad.items() if is_valid(tokens, SCENE)] == []


def test_within_the_grammar_every_layout_is_valid_and_freely_a_prior_that_knows_little_makes_none(measured):
    _, report = measured
    assert report.valid == {FREELY: 0.0, PRIOR: 1.0}
    assert report.measured == 8


def test_what_was_trained_on_is_nearest_to_what_is_held_out(measured):
    """Tiny as it is: 20 steps say little, and a draw from the same scenes says all."""
    _, report = measured
    assert set(report.fidelity) == {PRIOR, WEIGHTS, BOXES, TRAINED_ON}
    ceiling = report.fidelity[TRAINED_ON]
    for arm in (WEIGHTS, BOXES):
        assert report.fidelity[arm].precision < ceiling.precision
        assert report.fidelity[arm].density < 0.5 * ceiling.density


def test_the_loss_is_a_mean_over_all_tokens_of_all_held_out_scenes(measured):
    network, report = measured
    assert report.loss[PRIOR] < report.loss[WEIGHTS]
    scenes = [show(scene, TINY, step_generator(5, 1)) for scene in draw_scenes(33, step_generator(5, 0))]
    with torch.no_grad():
        total, count = score(network, scenes)
    assert held_out_loss(network, scenes) == pytest.approx(float(total) / count, rel=1e-5)


def test_the_figures_as_text(measured):
    _, report = measured
    text = describe(report)
    assert "scenes: 52 to train on, 8 held out, 0 left out" in text
    assert "valid layouts of 8: 0.0 % sampled freely, 100.0 % within the grammar" in text
    assert f"prior {report.loss[PRIOR]:.3f}, random weights {report.loss[WEIGHTS]:.3f}" in text
    (line,) = [line for line in text.splitlines() if line.startswith(TRAINED_ON)]
    assert line.split()[-1] == f"{report.fidelity[TRAINED_ON].coverage:.3f}"


def test_it_trains_where_gradients_are_off():
    """As ComfyUI runs nodes; and its weights are no inference tensors."""
    scenes = draw_scenes(40, step_generator(0, 0))
    with torch.inference_mode():
        network, report = train_and_measure(scenes, LayoutSettings(2, 4, width=16, layers=1))
    assert not any(value.is_inference() for value in network.parameters())
    untrained = new_prior(LayoutSettings(width=16, layers=1)).state_dict()
    assert not all(torch.equal(value, untrained[key]) for key, value in network.state_dict().items())
    assert report.valid[PRIOR] == 1.0
