"""Windows and boxes of latent frames, from those of frames."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.edits.call import LATENTS, Call, Condition
from frameloom.models.layout.attention import BoxBias, Layout, Reading, Region
from frameloom.models.network.time_law import TimeLaw
from frameloom.models.storyboard.masks import box_masks, latent_masks
from frameloom.models.video.windows import WindowPlan, latent_windows
from frameloom.tests.support.layout import track

WAN = TimeLaw(4)
FRAMES, BOX = 17, ((0.0, 0.0, 0.25, 0.5), (0.75, 0.5, 1.0, 1.0))


def test_windows_are_as_many_latent_frames_as_their_frames_make():
    plan = latent_windows(WindowPlan(81, 16, "uniform", 2, "flat"), WAN, anchor=False)
    assert (plan.length, plan.overlap, plan.schedule, plan.stride, plan.weights) == (
        21,
        4,
        "uniform",
        2,
        "flat",
    )
    assert plan.windows(30, 0) == WindowPlan(21, 4, "uniform", 2, "flat").windows(30, 0)
    assert [plan.anchored, latent_windows(WindowPlan(), WAN, anchor=True).anchored] == [False, True]
    assert latent_windows(WindowPlan(16, 0), WAN, anchor=False).overlap == 0


def test_an_overlap_that_becomes_as_long_as_a_window_is_refused():
    with pytest.raises(
        ValueError, match=r"overlap=15 with windows of length=16: got 4 and 4 latent frames of 4"
    ):
        latent_windows(WindowPlan(16, 15), WAN, anchor=True)


def test_a_latent_frame_has_all_that_a_box_covers_in_its_frames():
    boxes, present = track(*BOX, FRAMES)
    frames = box_masks(boxes, present, 8, 8)
    region = Region([(1, 3)], ((boxes, present),), law=WAN)
    wanted = torch.stack([frames[:1].amax(0), *(frames[4 * t - 3 : 4 * t + 1].amax(0) for t in range(1, 5))])
    assert torch.equal(region.masks(range(5), 8, 8), wanted)
    assert torch.equal(region.masks([3, 1], 8, 8), wanted[[3, 1]])
    assert torch.equal(latent_masks(frames, WAN), wanted)
    assert torch.equal(latent_masks(frames, TimeLaw()), frames)
    assert latent_masks(frames[:15], WAN).shape == (4, 8, 8)  # the last latent frame has two of its frames


def test_latent_frames_behind_the_scene_are_refused():
    region = Region([(1, 3)], (track(*BOX, FRAMES),), law=WAN)
    with pytest.raises(ValueError, match="got frame 5 to sample; expected frames below 5"):
        region.masks(range(6), 8, 8)


def test_a_bias_is_by_latent_frame_and_a_condition_says_how_many_there_are():
    region = Region([(1, 3)], (track(*BOX, FRAMES),), law=WAN)
    whole = Reading(torch.zeros(1, 5, 4), (region,))
    payload = Layout(whole, whole, ()).payload()
    assert payload[LATENTS] == 5
    plain = Reading(torch.zeros(1, 5, 4), (Region([(1, 3)], (track(*BOX, FRAMES),)),))
    assert LATENTS not in Layout(plain, plain, ()).payload()

    class Half:
        number, depth, level = 0, 0, 0

        def grid(self, size):
            return size[0] // 2, size[1] // 2

    call = Call(2, 1, (Condition(0, payload), Condition(1)), (3, 4), 1.0, 0.0, (8, 8))
    bias = BoxBias(4.0, 1.0).bias(call, Half(), 5)
    wanted = (2 * region.masks([3, 4], 4, 4).flatten(1) - 1) * 4
    assert torch.equal(bias[:2, :, 1:3], wanted[:, :, None].expand(-1, -1, 2))
    assert float(bias[:2, :, [0, 3, 4]].abs().max()) == float(bias[2:].abs().max()) == 0
