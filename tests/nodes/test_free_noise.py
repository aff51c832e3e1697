"""The Free Noise node, from its inputs to an edit on a model."""

from __future__ import annotations

import pytest
from frameloom.models.long_video.free_noise import NoiseShuffle, WindowFusion


@pytest.fixture
def model(nodes):
    return nodes["DemoModelLoader"].execute()[0]


def free(nodes, model, **inputs):
    defaults = {"window_length": 16, "stride": 4, "seed": 0, "reshuffle": True, "fuse": True}
    return nodes["FreeNoise"].execute(model=model, **(defaults | inputs))[0]


def parts(patched):
    (edit,) = patched.edits
    return edit.noise, edit.time


def test_it_installs_one_edit_on_a_clone(nodes, model):
    patched = free(nodes, model, window_length=24, stride=6, seed=9)
    assert parts(patched) == (NoiseShuffle(24, 6, 9), WindowFusion(24, 6))
    assert model.edits == ()


def test_each_switch_takes_its_part_out_and_both_the_node(nodes, model):
    assert parts(free(nodes, model, reshuffle=False)) == (None, WindowFusion(16, 4))
    assert parts(free(nodes, model, fuse=False)) == (NoiseShuffle(16, 4, 0), None)
    assert free(nodes, model, reshuffle=False, fuse=False) is model


def test_a_stride_that_does_not_divide_the_window_is_refused(nodes, model):
    with pytest.raises(ValueError, match=r"stride=5 does not divide window_length=16; .*\[1, 2, 4, 8, 16\]"):
        free(nodes, model, stride=5)


@pytest.mark.parametrize("seed", [0, 0xFFFFFFFFFFFFFFFF])
def test_any_seed_of_the_widget_gives_an_order(nodes, model, seed):
    shuffle, _ = parts(free(nodes, model, seed=seed))
    assert sorted(shuffle.sources(range(16, 32))) == list(range(16))
