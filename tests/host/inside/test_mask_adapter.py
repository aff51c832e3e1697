"""A motion module with a mask encoder in ComfyUI: its contract, core's own nodes, areas, and what a clone is given."""

from __future__ import annotations

import pytest
import torch
from frameloom.host.comfyui.seams import input
from frameloom.tests.contract.test_mask_adapter import FRAMES, adapted, apart, draw, encoded_by_hand, held

import nodes


def test_cores_noise_mask_says_what_is_given(port, demo, motion, scene):
    """Animate a first frame: Set Latent Noise Mask at pixel size, and the plain sampler."""
    latents, mask = held()
    (latent,) = nodes.SetLatentNoiseMask().set_mask(
        {"samples": latents}, mask.repeat_interleave(8, 2).repeat_interleave(8, 3)[:, 0]
    )

    def animate(module):
        (drawn,) = nodes.KSampler().sample(
            scene.moving(demo[0], module),
            3,
            3,
            3.0,
            "euler",
            "normal",
            scene.positive,
            scene.negative,
            latent,
        )
        return drawn["samples"]

    with encoded_by_hand(demo[0], latents / port.noise_unit(demo[0]), 1 - mask):
        wanted = animate(motion)
    torch.testing.assert_close(animate(adapted(motion)), wanted, rtol=1e-4, atol=1e-4)
    assert apart(wanted, animate(motion)) > 0.01


def test_an_area_is_refused(port, demo, motion, scene):
    latents, mask = held()
    [[tokens, options]] = scene.positive
    part = [[tokens, {**options, "area": (8, 16, 4, 0), "strength": 1.0}]]
    model = scene.moving(demo[0], adapted(motion))
    with pytest.raises(ValueError, match="mask adapter: got 8 x 16 cells of 16 x 16"):
        draw(port, scene, model, latents, mask, positive=part)
    assert draw(port, scene, model, latents, positive=part).shape == (FRAMES, 4, 16, 16)


def test_only_a_clone_with_an_encoder_has_the_patch_and_it_has_one(demo, motion, scene):
    def patches(model):
        return model.model_options["transformer_options"].get("patches", {}).get("input_block_patch", [])

    told = scene.moving(demo[0], adapted(motion))
    assert patches(told) == [input.add]
    assert patches(scene.moving(scene.moving(told, adapted(motion)), motion)) == [input.add]
    assert patches(scene.moving(demo[0], motion)) == patches(demo[0]) == []
