"""The Free Init node, from its inputs to an edit on a model."""

from __future__ import annotations

import pytest
from frameloom.models.long_video.free_init import NoiseReinit


@pytest.fixture
def model(nodes):
    return nodes["DemoModelLoader"].execute()[0]


def init(nodes, model, **inputs):
    defaults = {"extra_iterations": 2, "filter": "butterworth", "spatial_stop": 0.25, "temporal_stop": 0.25}
    defaults |= {"order": 4, "coarse_to_fine": False}
    return nodes["FreeInit"].execute(model=model, **(defaults | inputs))[0]


def test_it_installs_one_edit_on_a_clone(nodes, model):
    patched = init(
        nodes, model, extra_iterations=3, filter="gaussian", spatial_stop=0.2, temporal_stop=0.3, order=2,
        coarse_to_fine=True,
    )  # fmt: skip
    (edit,) = patched.edits
    assert edit.run == NoiseReinit(3, "gaussian", 0.2, 0.3, 2, True)
    assert model.edits == ()


def test_its_defaults_are_the_authors(nodes, model):
    assert init(nodes, model).edits[0].run == NoiseReinit()


def test_without_extra_iterations_the_model_stays(nodes, model):
    assert init(nodes, model, extra_iterations=0) is model
