"""The whole of Text2Video-Zero against diffusers' pipeline, on random weights and the same noise."""

from __future__ import annotations

from dataclasses import replace

import pytest
from frameloom.headless.weights.networks import build_unet
from frameloom.models.network.sizes import DEMO
from frameloom.tests.support.tensors import apart, draw
from frameloom.tests.support.text2video_zero import by_diffusers
from frameloom.tests.support.zero_shot_case import by_node

PROMPTS = tuple(draw(1, 77, DEMO.unet.context_dim, seed=seed) for seed in (3, 4))


@pytest.fixture(scope="module")
def theirs(random_parts):
    """What diffusers draws with the noise prediction of the same weights."""

    def call(**options):
        unet = build_unet(DEMO.unet)
        unet.load_state_dict(random_parts[0].unet.state_dict())
        return by_diffusers(unet, PROMPTS, "epsilon", **options)

    return call


@pytest.fixture(scope="module")
def wanted(theirs):
    return theirs()


def test_the_sampler_draws_what_diffusers_draws(model, port, wanted):
    from frameloom.nodes.zero_shot.sampler import ZeroShotSampler

    model = replace(model, base_sampling=replace(model.base_sampling, prediction="eps"))
    ours = by_node(ZeroShotSampler, model, PROMPTS) * model.latent_scale
    assert apart(ours, wanted) <= 1e-4


def test_diffusers_own_forward_level_is_one_step_early(theirs, wanted):
    """By so much that the comparison would notice, and by no more than a step of training's thousand."""
    assert 2e-4 < apart(theirs(is_early=True), wanted) < 1e-2
