"""A motion module with a mask encoder in ComfyUI: core's own nodes, and areas."""

from __future__ import annotations

import pytest
import torch
from frameloom.tests.contract.test_mask_adapter import draw, encoded_by_hand, held, told
from frameloom.tests.host.inside.core import call, sample_plain
from frameloom.tests.support.tensors import apart

import nodes

__all__ = ["draw", "told"]


def test_cores_noise_mask_says_what_is_given(port, demo, moving, told, scene):
    """Animate a first frame: Set Latent Noise Mask at pixel size, and the plain sampler."""
    latents, mask = held()
    pixels = mask.repeat_interleave(8, 2).repeat_interleave(8, 3)[:, 0]
    latent = call(nodes.SetLatentNoiseMask, {"samples": latents}, pixels)
    with encoded_by_hand(demo[0], latents / port.noise_unit(demo[0]), 1 - mask):
        wanted = sample_plain(moving, scene, latent)
    torch.testing.assert_close(sample_plain(told, scene, latent), wanted, rtol=1e-4, atol=1e-4)
    assert apart(wanted, sample_plain(moving, scene, latent)) > 0.01


def test_an_area_is_refused(told, draw, scene):
    [[tokens, options]] = scene.positive
    part = [[tokens, {**options, "area": (4, 8, 2, 0), "strength": 1.0}]]
    with pytest.raises(ValueError, match="mask adapter: got 4 x 8 cells of 8 x 8"):
        draw(told, *held(), positive=part)
    assert torch.isfinite(draw(told, held()[0], positive=part)).all()
