"""What every host promises of FreeNoise's parts."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.long_video.free_noise import NoiseShuffle, WindowFusion
from frameloom.models.motion.edit import motion_edit
from frameloom.models.zero_shot.cross_frame import CrossFrameEdit

FRAMES = 7
# Windows 0..3, 2..5 and, since they do not end with the clip, 3..6.
SHUFFLE, FUSION = NoiseShuffle(4, 2, seed=5), WindowFusion(4, 2)


def free(port, model, **parts):
    return port.install(model, Edit("Free Noise", **parts))


def apart(one, other):
    return float((one - other).norm() / other.norm())


def test_a_shuffle_is_the_plain_model_on_shuffled_noise(port, demo, motion, scene):
    moving = scene.moving(demo[0], motion)
    noise = scene.noise(FRAMES)
    wanted = scene.run(moving, noise=noise[SHUFFLE.sources(range(FRAMES))])
    shuffled = scene.run(free(port, moving, noise=SHUFFLE), noise=noise)
    assert torch.equal(shuffled, wanted)
    assert apart(shuffled, scene.run(moving, noise=noise)) > 0.01


def test_a_shuffle_leaves_the_callers_noise_and_noisy_latents_as_they_are(port, demo, scene):
    model = free(port, demo[0], noise=SHUFFLE)
    noise, noisy = scene.noise(FRAMES), {"samples": 20 * scene.noise(FRAMES)}
    kept = noise.clone()
    scene.run(model, noise=noise)
    assert torch.equal(noise, kept)
    levels = {"sigmas": torch.tensor([3.0, 1.0, 0.0]), "sampler": "euler", "cfg": 3.0}
    rest = [
        port.sample(
            each, scene.positive, scene.negative, noisy, noise=torch.zeros(FRAMES, 4, 16, 16), **levels
        )
        for each in (model, demo[0])
    ]
    assert torch.equal(rest[0]["samples"], rest[1]["samples"])


@pytest.mark.parametrize("frames", [1, 3, 4])
def test_a_clip_of_one_window_is_bit_identical_to_the_plain_model(port, demo, motion, scene, frames):
    moving = scene.moving(demo[0], motion)
    both = free(port, moving, noise=SHUFFLE, time=FUSION)
    assert torch.equal(scene.run(both, frames=frames), scene.run(moving, frames=frames))


def test_fusion_without_a_module_that_acts_is_bit_identical_to_the_plain_model(port, demo, motion, scene):
    plain = scene.run(demo[0], frames=FRAMES)
    assert torch.equal(scene.run(free(port, demo[0], time=FUSION), frames=FRAMES), plain)
    for settings in ({"strength": 0.0}, {"start_percent": 0.9999, "end_percent": 0.99991}):
        still = scene.moving(demo[0], motion, **settings)
        assert torch.equal(scene.run(free(port, still, time=FUSION), frames=FRAMES), plain)


def test_fusion_acts_before_and_behind_the_module_alike_and_the_last_counts(port, demo, motion, scene):
    behind = scene.run(free(port, scene.moving(demo[0], motion), time=FUSION), frames=FRAMES)
    before = scene.moving(free(port, free(port, demo[0], time=WindowFusion(2, 1)), time=FUSION), motion)
    assert torch.equal(scene.run(before, frames=FRAMES), behind)
    assert apart(behind, scene.run(scene.moving(demo[0], motion), frames=FRAMES)) > 0.01


def test_windows_without_overlap_are_clips_by_themselves(port, demo, motion, scene):
    """So every other layer, and the strength, is as it would be for each clip."""
    moving = scene.moving(demo[0], motion, 0.7, end_percent=0.5)
    noise = scene.noise(8)
    fused = scene.run(free(port, moving, time=WindowFusion(4, 4)), noise=noise)
    clips = torch.cat([scene.run(moving, noise=part) for part in noise.split(4)])
    torch.testing.assert_close(fused, clips, rtol=1e-3, atol=1e-4)


def test_all_modules_of_a_model_attend_in_windows(port, demo, motion, scene):
    twice = scene.moving(scene.moving(demo[0], motion, 0.6), motion, 0.4)
    noise = scene.noise(8)
    fused = scene.run(free(port, twice, time=WindowFusion(4, 4)), noise=noise)
    clips = torch.cat([scene.run(twice, noise=part) for part in noise.split(4)])
    torch.testing.assert_close(fused, clips, rtol=1e-3, atol=1e-4)


def test_a_clip_longer_than_the_encoding_is_one_piece(port, demo, motion, scene):
    """What is refused without windows: 40 frames of a module of 32. Equal noise gives equal frames 4 apart."""
    model = free(port, port.install(demo[0], motion_edit("test", motion)), time=WindowFusion(4, 4))
    noise = scene.noise(4).repeat(10, 1, 1, 1)
    clip = scene.run(model, noise=noise)
    torch.testing.assert_close(clip, clip[:4].repeat(10, 1, 1, 1), rtol=1e-3, atol=1e-4)


def test_a_window_longer_than_the_encoding_is_refused(port, demo, motion, scene):
    model = free(port, scene.moving(demo[0], motion), time=WindowFusion(36, 4))
    with pytest.raises(ValueError, match=r"window_length=36 is more than the 32 .* lower Free Noise's"):
        scene.run(model, frames=40)


def test_it_acts_beside_cross_frame_attention_in_any_order(port, demo, motion, scene):
    cross = Edit("test", self_attention=CrossFrameEdit())
    one = free(port, port.install(scene.moving(demo[0], motion), cross), noise=SHUFFLE, time=FUSION)
    other = scene.moving(port.install(free(port, demo[0], noise=SHUFFLE, time=FUSION), cross), motion)
    assert torch.equal(scene.run(one, frames=FRAMES), scene.run(other, frames=FRAMES))


def test_training_goes_through_the_windows(port, demo, motion, scene):
    forward = port.train_forward(free(port, scene.moving(demo[0], motion), time=WindowFusion(2, 2)), 4)
    with torch.inference_mode(False):
        generator = torch.Generator().manual_seed(2)
        device = port.compute_device()
        noisy = torch.randn(4, 4, 16, 16, generator=generator).to(device).requires_grad_(True)
        tokens = torch.randn(4, 77, 64, generator=generator).to(device)
        out = forward(noisy, torch.full((4,), 300, device=device), tokens)
        (gradient,) = torch.autograd.grad(out[0].sum(), noisy)
    assert (gradient.abs().amax((1, 2, 3)) > 0).tolist() == [True, True, False, False]
