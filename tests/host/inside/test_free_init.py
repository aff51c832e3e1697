"""FreeInit in ComfyUI: both kinds of sampler node, and what its nodes that take part of a run get."""

from __future__ import annotations

from copy import copy

import pytest
import torch
from comfy_extras import nodes_custom_sampler
from frameloom.models.long_video.free_init import NoiseReinit
from frameloom.tests.contract.test_free_init import FRAMES, again, by_hand

import nodes

SEED = 3


def call(name, **inputs):
    """Run one of ComfyUI's nodes for custom sampling."""
    return getattr(nodes_custom_sampler, name).execute(**inputs).args[0]


def sample_plain(model, scene, latent, **more):
    inputs = {"steps": 3, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    (drawn,) = nodes.KSampler().sample(
        model=model, seed=SEED, positive=scene.positive, negative=scene.negative, latent_image=latent,
        **(inputs | more),
    )  # fmt: skip
    return drawn["samples"]


@pytest.fixture
def latent():
    return {"samples": torch.zeros(FRAMES, 4, 16, 16)}


def test_the_plain_sampler_and_the_custom_one_draw_the_same(port, demo, motion, scene, latent):
    reinit = NoiseReinit(2)
    moving = scene.moving(demo[0], motion)
    model = again(port, moving, reinit)
    guider = call("CFGGuider", model=model, positive=scene.positive, negative=scene.negative, cfg=3.0)
    sigmas = call("BasicScheduler", model=model, scheduler="normal", steps=3, denoise=1.0)
    source = call("RandomNoise", noise_seed=SEED)
    drawn = nodes_custom_sampler.SamplerCustomAdvanced.execute(
        noise=source, guider=guider, sampler=call("KSamplerSelect", sampler_name="euler"), sigmas=sigmas,
        latent_image=latent,
    ).args  # fmt: skip
    plain = sample_plain(model, scene, latent)
    assert torch.equal(plain, drawn[0]["samples"])
    torch.testing.assert_close(drawn[1]["samples"], plain, rtol=1e-3, atol=1e-3)  # the last run's last step
    wanted = by_hand(port, scene, moving, reinit, source.generate_noise(latent), sigmas=sigmas)
    torch.testing.assert_close(plain, wanted, rtol=1e-3, atol=1e-3)


def test_the_plain_sampler_repeats_at_denoise_below_1(port, demo, motion, scene, latent):
    """KSampler's own shortened schedule; the clip it starts from stays the same for every run."""
    moving = scene.moving(demo[0], motion)
    clip = {"samples": sample_plain(moving, scene, latent)}
    kept = clip["samples"].clone()
    once = sample_plain(moving, scene, clip, denoise=0.5)
    twice = sample_plain(again(port, moving, NoiseReinit(1)), scene, clip, denoise=0.5)
    assert torch.equal(clip["samples"], kept)
    assert float((twice - once).norm() / once.norm()) > 0.01
    assert float((twice - kept).norm()) < 3 * float((once - kept).norm())


def test_conditions_of_a_part_of_the_steps_act_in_every_run(port, demo, motion, scene, latent):
    """ComfyUI works out noise levels of ConditioningSetTimestepRange once for all runs."""
    late = [
        [tokens, {**options, "start_percent": 0.5, "end_percent": 1.0}] for tokens, options in scene.positive
    ]
    early = [
        [tokens, {**options, "start_percent": 0.0, "end_percent": 0.5}] for tokens, options in scene.negative
    ]
    reinit, moving = NoiseReinit(1), scene.moving(demo[0], motion)
    noise, sigmas = scene.noise(FRAMES), port.sigmas(moving, 4, "normal")
    parts = copy(scene)
    parts.positive = [*late, *early]
    wanted = by_hand(port, parts, moving, reinit, noise, sigmas=sigmas)
    drawn = port.sample(
        again(port, moving, reinit), parts.positive, parts.negative, latent, noise=noise, sigmas=sigmas,
        sampler="euler", cfg=3.0,
    )["samples"]  # fmt: skip
    torch.testing.assert_close(drawn, wanted, rtol=1e-3, atol=1e-3)
