"""Text2Video-Zero in ComfyUI: equal to diffusers' pipeline; its first frame is the picture alone."""

from __future__ import annotations

import os

import pytest
import torch
from frameloom.models.video.noise import draw_noise
from frameloom.models.zero_shot.motion_path import translation
from frameloom.tests.support.zero_shot_case import CFG, SEED, SIZE, STEPS, by_node
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def reference():
    return load_file(os.environ["FRAMELOOM_REFERENCE"])


@pytest.fixture(scope="module")
def sampler(port):
    from frameloom.nodes.zero_shot.sampler import ZeroShotSampler

    return ZeroShotSampler


def apart(one, other):
    return float((one - other).norm() / other.norm())


def test_the_sampler_draws_what_diffusers_draws(demo, sampler, reference):
    prompts = reference["tokens"][:1], reference["tokens"][1:2]
    ours = by_node(sampler, demo[0], prompts) * demo[0].model.latent_format.scale_factor
    assert apart(ours, reference["zero_shot"]) <= 1e-4


def test_the_first_frame_is_plain_sampling_and_chunks_change_nothing(demo, port, scene, sampler):
    start = {"samples": torch.zeros(1, 4, SIZE, SIZE)}
    sides = scene.positive, scene.negative
    settings = {"seed": SEED, "steps": STEPS, "cfg": CFG, "sampler_name": "ddim", "scheduler": "normal"}
    levels = {"t0": 640.0, "t1": 720.0, "level_unit": "timestep"}

    def draw(chunk):
        path = translation(5, -30, 12)
        out = sampler.execute(demo[0], *sides, start, path, **settings, **levels, chunk_size=chunk)
        return out[0]["samples"]

    whole = draw(0)
    assert apart(draw(3), whole) <= 1e-5
    plain = port.sample(
        demo[0],
        *sides,
        start,
        noise=draw_noise(SEED, [0], (4, SIZE, SIZE)),
        sigmas=port.sigmas(demo[0], STEPS, "normal"),
        sampler="ddim",
        cfg=CFG,
    )["samples"]
    assert apart(whole[:1], plain) <= 1e-5
    assert apart(whole[1:2], plain) > 1e-2
