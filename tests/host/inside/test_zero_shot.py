"""Text2Video-Zero in ComfyUI equals diffusers' pipeline."""

from __future__ import annotations

import os

from frameloom.tests.support.tensors import apart
from frameloom.tests.support.zero_shot_case import by_node
from safetensors.torch import load_file


def test_the_sampler_draws_what_diffusers_draws(port, demo):
    from frameloom.nodes.zero_shot.sampler import ZeroShotSampler

    reference = load_file(os.environ["FRAMELOOM_REFERENCE"])
    prompts = reference["tokens"][:1], reference["tokens"][1:2]
    ours = by_node(ZeroShotSampler, demo[0], prompts) * demo[0].model.latent_format.scale_factor
    assert apart(ours, reference["zero_shot"]) <= 1e-4
