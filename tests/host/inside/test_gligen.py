"""GLIGEN in ComfyUI against core's own layers, which ComfyUI loads."""

from __future__ import annotations

import comfy.model_management
from frameloom.tests.contract.test_gligen import grounding_model, network
from frameloom.tests.support.gligen import embeddings, grounded, grounding
from frameloom.tests.support.tensors import apart

__all__ = ["grounding_model", "network"]


def test_the_null_set_is_cores_empty_one(demo, scene, network, grounding_model):
    """Core's boxes with no box in them, on a negative prompt that would get the positive one's."""
    places = [(embeddings(2)[[number]], *box) for number, box in enumerate(((4, 4, 2, 0), (4, 4, 0, 4)))]
    positive, negative = (
        [[tokens, {**options, "gligen": ("position", network, boxes)}] for tokens, options in side]
        for side, boxes in ((scene.positive, places), (scene.negative, []))
    )
    theirs = scene.run(demo[0], positive=positive, negative=negative)
    ours = scene.run(grounding_model, positive=grounded(scene.positive, grounding()))
    assert apart(ours, theirs) <= 1e-5


def test_comfyui_loads_the_layers_with_the_model(scene, network, grounding_model):
    comfy.model_management.unload_all_models()
    scene.predict(grounding_model, grounded(scene.positive, grounding()))
    assert any(each.is_clone(network) for each in comfy.model_management.loaded_models())
