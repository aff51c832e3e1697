"""What every host promises of Hold Frames: given frames come out as they went in, and others are made."""

from __future__ import annotations

import pytest
import torch
from frameloom.tests.support.scene import FRAMES
from frameloom.tests.support.tensors import apart


@pytest.fixture
def hold(demo):
    def go(images, frames, strength=1.0, latent=None):
        from frameloom.nodes.video.hold_frames import HoldFrames

        latent = {"samples": torch.zeros(FRAMES, 4, 8, 8)} if latent is None else latent
        return HoldFrames.execute(latent, demo[2], images, frames, strength).args[0]

    return go


def pictures(count, height=64, width=64):
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(2))


def test_held_frames_come_out_as_they_went_in(port, demo, scene, moving, hold):
    images = pictures(2)
    latent = hold(images, "0, -1")
    given = port.encode(demo[2], images)["samples"]
    assert torch.equal(latent["samples"][[0, -1]], given.to(latent["samples"]))
    assert latent["samples"][1:-1].abs().max() == 0
    assert latent["noise_mask"].flatten(1).mean(1).tolist() == [0, 1, 1, 0]
    drawn = scene.run(moving, latent=latent["samples"], mask=latent["noise_mask"])
    torch.testing.assert_close(drawn[[0, -1]], given.to(drawn), rtol=1e-4, atol=1e-4)
    assert apart(drawn[1], scene.drawn(moving)[1]) > 0.01  # the module has seen them


def test_pictures_of_another_size_are_scaled_and_cut(port, demo, hold):
    wide = pictures(1, 64, 64)
    for images in (
        torch.cat([torch.zeros(1, 64, 16, 3), wide, torch.zeros(1, 64, 16, 3)], 2),
        torch.cat([wide, torch.ones(1, 64, 64, 1)], 3),
    ):
        assert torch.equal(hold(images, "0")["samples"], hold(wide, "0")["samples"])
    large = wide.repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert apart(hold(large, "0")["samples"], hold(wide, "0")["samples"]) < 0.1


def test_a_mask_and_other_frames_stay(hold):
    before = torch.full((FRAMES, 1, 64, 64), 0.25)
    samples = torch.ones(FRAMES, 4, 8, 8)
    latent = {"samples": samples, "noise_mask": before, "batch_index": [0, 1, 2, 3]}
    held = hold(pictures(1), "2", 0.9, latent)
    assert held["noise_mask"].flatten(1).mean(1).tolist() == pytest.approx([0.25, 0.25, 0.1, 0.25])
    assert torch.equal(held["samples"][[0, 1, 3]], samples[[0, 1, 3]])
    assert held["batch_index"] == [0, 1, 2, 3]
    assert latent["samples"] is samples
    assert (samples == 1).all()
    one = hold(pictures(1), "0", latent={"samples": samples, "noise_mask": torch.full((64, 64), 0.5)})
    assert one["noise_mask"].flatten(1).mean(1).tolist() == [0, 0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ("first", "got 'first'; expected whole numbers such as 0, 8, -1"),
        ("0.5", "got '0.5'"),
        ("", "got 0 numbers for 2 pictures; expected one for each"),
        ("0", "got 1 numbers for 2 pictures"),
        ("0, 4", "got frame 4 of a clip of 4; expected -4 to 3"),
        ("0, -5", "got frame -5 of a clip of 4"),
    ],
)
def test_frames_that_are_none_are_refused(hold, frames, said):
    with pytest.raises(ValueError, match=said):
        hold(pictures(2), frames)
    assert hold(pictures(1), "1, 0")["noise_mask"].flatten(1).mean(1).tolist() == [1, 0, 1, 1]
