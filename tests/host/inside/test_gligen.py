"""GLIGEN in ComfyUI: its contract, against core's own nodes and layers; windows."""

from __future__ import annotations

import comfy.context_windows
import comfy.model_management
import comfy.sd
import pytest
import torch
from frameloom.models.layout.gligen import Grounding
from frameloom.tests.support.gligen import BOXES, WideClip, embeddings, grounded, grounding, write_gligen
from frameloom.tests.support.gligen_contract import *  # noqa: F403  the tests, which pytest finds by name
from frameloom.tests.support.gligen_contract import ground, predict

import nodes


@pytest.fixture
def wide(demo):
    return WideClip(demo[1])


@pytest.fixture
def load():
    return lambda path: comfy.sd.load_gligen(str(path))


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    with torch.inference_mode():
        return comfy.sd.load_gligen(
            str(write_gligen(tmp_path_factory.mktemp("gligen") / "gligen.safetensors"))
        )


@pytest.fixture
def text_box():
    return lambda *inputs: nodes.GLIGENTextBoxApply().append(*inputs)[0]


def test_the_null_set_is_cores_empty_one(port, demo, scene, network):
    """Core's boxes with no box in them, on a negative prompt that would get the positive one's."""
    positive = grounded(scene.positive, grounding())
    places = [(embeddings(2)[[number]], *box) for number, box in enumerate(((8, 8, 4, 0), (8, 8, 0, 8)))]
    sides = [
        [[tokens, {**options, "gligen": ("position", network, boxes)}] for tokens, options in side]
        for side, boxes in ((scene.positive, places), (scene.negative, []))
    ]

    def run(model, positive, negative):
        return port.sample(
            model, positive, negative, {"samples": torch.zeros(4, 4, 16, 16)}, noise=scene.noise(4),
            sigmas=port.sigmas(demo[0], 3, "normal"), sampler="euler", cfg=3.0,
        )["samples"]  # fmt: skip

    theirs = run(demo[0], *sides)
    ours = run(ground(port, demo[0], network), positive, scene.negative)
    assert float((ours - theirs).norm() / theirs.norm()) <= 1e-5


def test_windows_see_their_own_frames(port, demo, scene, network):
    places = torch.rand(8, 2, 2, generator=torch.Generator().manual_seed(4)) / 2
    present = torch.ones(8, 2, dtype=torch.bool)
    moving = Grounding(torch.cat([places, places + 0.4], -1), present, embeddings(2))
    model, positive = ground(port, demo[0], network), grounded(scene.positive, moving)
    whole = scene.run(model, frames=8, positive=positive)
    windowed = model.clone()
    windowed.model_options["context_handler"] = comfy.context_windows.IndexListContextHandler(
        context_schedule=comfy.context_windows.get_matching_context_schedule("standard_static"),
        fuse_method=comfy.context_windows.get_matching_fuse_method("pyramid"),
        context_length=4,
        context_overlap=2,
    )
    comfy.context_windows.create_prepare_sampling_wrapper(windowed)
    windows = scene.run(windowed, frames=8, positive=positive)
    torch.testing.assert_close(windows, whole, rtol=1e-3, atol=1e-3)
    still = grounded(scene.positive, grounding(BOXES, 8))
    assert not torch.allclose(scene.run(model, frames=8, positive=still), whole, atol=1e-2)


def test_comfyui_loads_the_layers_with_the_model(port, demo, scene, network):
    comfy.model_management.unload_all_models()
    predict(port, ground(port, demo[0], network), grounded(scene.positive, grounding()))
    loaded = comfy.model_management.loaded_models()
    assert any(each.is_clone(network) for each in loaded)
