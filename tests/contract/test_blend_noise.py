"""What every host promises of Blend Noise: a run starts from the blend, and where nothing is blended in, as before."""

from __future__ import annotations

import torch
from frameloom.models.video.noise import FrameNoise
from frameloom.tests.support.scene import FRAMES, SIDE
from frameloom.tests.support.tensors import apart

LATENT = {"samples": torch.zeros(FRAMES, 4, SIDE, SIDE)}


def blended(blend, weight, mask=None):
    from frameloom.nodes.video.noise import BlendNoise

    return (
        BlendNoise.execute(FrameNoise(1), FrameNoise(2), blend, weight, mask).args[0].generate_noise(LATENT)
    )


def test_frames_without_the_other_noise_are_as_before_and_those_with_it_alone_are_its(scene, demo):
    one, other = (scene.run(demo[0], noise=FrameNoise(seed).generate_noise(LATENT)) for seed in (1, 2))
    mask = torch.zeros(FRAMES, 64, 64)
    mask[1] = 1
    drawn = scene.run(demo[0], noise=blended("normalised", 1.0, mask))
    torch.testing.assert_close(drawn[[0, 2, 3]], one[[0, 2, 3]], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(drawn[1], other[1], rtol=1e-4, atol=1e-4)


def test_a_little_of_the_other_noise_changes_a_little(scene, demo):
    one = scene.run(demo[0], noise=FrameNoise(1).generate_noise(LATENT))
    changes = [
        apart(scene.run(demo[0], noise=blended("normalised", weight)), one) for weight in (0.1, 0.3, 0.9)
    ]
    assert 0 < changes[0] < changes[1] < changes[2]
