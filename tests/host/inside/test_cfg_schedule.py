"""CFG Schedule beside what core and others do with guidance."""

from __future__ import annotations

import comfy.samplers
import pytest
import torch
from comfy_extras.nodes_custom_sampler import Guider_Basic, Guider_DualCFG
from comfy_extras.nodes_model_advanced import RescaleCFG
from frameloom.models.edits.edit import Edit
from frameloom.models.errors import HostError
from frameloom.models.video.factors import read_factors
from frameloom.tests.support.scene import FRAMES
from frameloom.tests.support.tensors import apart


@pytest.fixture
def schedule(port):
    def put_on(model, strength="1"):
        factors = read_factors(FRAMES, strength, "linear", "1")
        return port.install(model, Edit("CFG Schedule", cfg=factors))

    return put_on


def rescaled(model):
    return RescaleCFG().patch(model, 0.7)[0]


def shifted(model):
    clone = model.clone()
    clone.set_model_sampler_post_cfg_function(lambda args: args["denoised"] + 0.1 * args["cond_denoised"])
    clone.set_model_sampler_cfg_function(lambda cond, uncond, scale: uncond + 0.9 * scale * (cond - uncond))
    return clone


@pytest.mark.parametrize("other", [rescaled, shifted])
def test_other_functions_of_guidance_go_on_before_and_behind(scene, demo, schedule, other):
    for strength in ("0.5", "0: 2, -1: 0.5"):
        behind, before = schedule(other(demo[0]), strength), other(schedule(demo[0], strength))
        drawn = scene.run(behind, cfg=6.0)
        assert torch.equal(scene.run(before, cfg=6.0), drawn)
        ends = [(0, float(strength.split()[1].strip(","))), (-1, 0.5)] if ":" in strength else [(0, 0.5)]
        for frame, factor in ends:
            wanted = scene.run(other(demo[0]), cfg=6.0 * factor)[frame]
            torch.testing.assert_close(drawn[frame], wanted, rtol=1e-3, atol=1e-3)
    assert apart(drawn, scene.run(schedule(demo[0], "0: 2, -1: 0.5"), cfg=6.0)) > 0.01


def sample(guider, scene, model):
    sigmas = scene.port.sigmas(model, 3, "normal")
    noise = scene.noise()
    euler = comfy.samplers.sampler_object("euler")
    return guider.sample(noise, torch.zeros_like(noise), euler, sigmas, disable_pbar=True, seed=0)


def test_a_guider_without_a_negative_prompt_is_refused_and_the_model_goes_on(scene, demo, schedule):
    model = schedule(demo[0], "0: 2, -1: 0.5")
    guider = Guider_Basic(model)
    guider.set_conds(scene.positive)
    with pytest.raises(
        HostError, match="CFG Schedule: got a guider without a negative prompt, Guider_Basic; exp"
    ):
        sample(guider, scene, model)
    assert torch.isfinite(scene.run(model)).all()
    assert torch.equal(scene.run(demo[0]), scene.drawn(demo[0]))


@pytest.mark.parametrize("nested", [False, True])
def test_of_two_guidances_the_one_that_functions_see_is_scaled(scene, demo, schedule, nested):
    """And headless the same, by tests/headless/test_guidance.py."""

    def draw(model, first, second):
        guider = Guider_DualCFG(model)
        guider.set_conds(scene.positive, scene.negative, scene.negative)
        guider.set_cfg(first, second, nested=nested)
        return sample(guider, scene, model)

    wanted = draw(demo[0], *((4.0, 3.0) if nested else (2.0, 6.0)))
    torch.testing.assert_close(draw(schedule(demo[0], "2"), 2.0, 3.0), wanted, rtol=1e-3, atol=1e-3)


def test_the_negative_prompt_is_asked_where_a_frame_needs_it_alone(scene, demo, schedule):
    asked = []

    def count(apply_model, given):
        asked.append(len(given["cond_or_uncond"]))
        return apply_model(given["input"], given["timestep"], **given["c"])

    model = demo[0].clone()
    model.set_model_unet_function_wrapper(count)
    scene.run(schedule(model, "1"), cfg=1.0)
    scene.run(schedule(model, "0: 1, -1: 2"), cfg=1.0)
    assert asked == [1] * 3 + [2] * 3
