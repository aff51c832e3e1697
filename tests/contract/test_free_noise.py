"""What every host promises of FreeNoise's parts."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.long_video.free_noise import NoiseShuffle, WindowFusion
from frameloom.tests.support.tensors import apart

FRAMES = 7
# Windows 0..3, 2..5 and, since they do not end with the clip, 3..6.
SHUFFLE, FUSION = NoiseShuffle(4, 2, seed=5), WindowFusion(4, 2)


def free(port, model, **parts):
    return port.install(model, Edit("Free Noise", **parts))


def test_a_shuffle_is_the_plain_model_on_shuffled_noise(port, moving, scene):
    noise = scene.noise(FRAMES)
    kept = noise.clone()
    shuffled = scene.run(free(port, moving, noise=SHUFFLE), noise=noise)
    assert torch.equal(noise, kept), "the caller's noise was written to"
    assert torch.equal(shuffled, scene.run(moving, noise=noise[SHUFFLE.sources(range(FRAMES))]))
    assert apart(shuffled, scene.drawn(moving, FRAMES)) > 0.01


def test_a_shuffle_leaves_a_run_without_noise_as_it_is(port, demo, scene):
    """Its latents are noisy already."""
    given = {"noise": torch.zeros_like(scene.noise(FRAMES)), "latent": 20 * scene.noise(FRAMES)}
    assert torch.equal(scene.run(free(port, demo[0], noise=SHUFFLE), **given), scene.run(demo[0], **given))


def test_a_clip_of_one_window_is_bit_identical_to_the_plain_model(port, moving, scene):
    both = free(port, moving, noise=SHUFFLE, time=FUSION)
    assert torch.equal(scene.run(both), scene.drawn(moving))


def test_fusion_without_a_module_that_acts_is_bit_identical_to_the_plain_model(port, demo, motion, scene):
    for still in (demo[0], scene.moving(demo[0], motion, 0.0)):
        fused = scene.run(free(port, still, time=FUSION), frames=FRAMES)
        assert torch.equal(fused, scene.drawn(demo[0], FRAMES))


@pytest.mark.parametrize("strengths", [(0.7,), (0.6, 0.4)], ids=["one module", "two modules"])
def test_windows_without_overlap_are_clips_by_themselves(port, demo, motion, scene, strengths):
    """So every other layer, and the strength, is as it would be for each clip."""
    model, noise = demo[0], scene.noise(8)
    for strength in strengths:
        model = scene.moving(model, motion, strength, end_percent=0.5)
    fused = scene.run(free(port, model, time=WindowFusion(4, 4)), noise=noise)
    clips = torch.cat([scene.run(model, noise=part) for part in noise.split(4)])
    torch.testing.assert_close(fused, clips, rtol=1e-3, atol=1e-4)
