"""The whole of Text2Video-Zero against diffusers' pipeline, on random weights and the same noise."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from frameloom.headless import select_host
from frameloom.headless.port import HeadlessHost
from frameloom.headless.text.prompt import Tokenizer
from frameloom.headless.weights.loading import load_checkpoint
from frameloom.headless.weights.networks import build_unet
from frameloom.host import api
from frameloom.host.bundled import DEMO_TOKENIZER
from frameloom.models.network.sizes import DEMO
from frameloom.tests.support.random_demo import write_model
from frameloom.tests.support.text2video_zero import by_diffusers
from frameloom.tests.support.zero_shot_case import by_node

PROMPTS = tuple(
    torch.randn(1, 77, DEMO.unet.context_dim, generator=torch.Generator().manual_seed(seed))
    for seed in (3, 4)
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = write_model(tmp_path_factory.mktemp("zero") / "model.safetensors")
    return load_checkpoint(path, Tokenizer.from_folder(DEMO_TOKENIZER), torch.device("cpu"), DEMO)[0]


def theirs(model, prediction, **options):
    unet = build_unet(DEMO.unet)
    unet.load_state_dict(model.unet.state_dict())
    return by_diffusers(unet, PROMPTS, prediction, **options)


def apart(one, other):
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize(("prediction", "name"), [("eps", "epsilon"), ("v", "v_prediction")])
def test_the_sampler_draws_what_diffusers_draws(model, monkeypatch, tmp_path, prediction, name):
    monkeypatch.setattr(api, "_selected", {})
    host = HeadlessHost("cpu", tmp_path, tmp_path, tmp_path)
    select_host(host)
    from frameloom.nodes.zero_shot.sampler import ZeroShotSampler

    model = replace(model, base_sampling=replace(model.base_sampling, prediction=prediction))
    ours = by_node(ZeroShotSampler, model, PROMPTS) * model.latent_scale
    assert apart(ours, theirs(model, name)) <= 1e-4


def test_diffusers_own_forward_level_is_one_step_early(model):
    """By so much that the comparison would notice, and by no more than a step of training's thousand."""
    early = apart(theirs(model, "epsilon", is_early=True), theirs(model, "epsilon"))
    assert 2e-4 < early < 1e-2
