"""What a schedule does to what a ControlNet adds."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.video.control_schedule import ControlSchedule
from frameloom.models.video.factors import Factors

PLACE = {"frame_ids": (0, 1), "progress": 0.0, "sides": (0, 1)}


def weigh(schedule, depth=None, size=(2, 2), **place):
    added = torch.ones(4, 3, *size)
    return schedule.weigh(added, depth, 12, **{**PLACE, **place})


def test_depths_have_powers_of_the_soft_factor_and_the_middle_has_1():
    schedule = ControlSchedule(Factors(torch.ones(1), {0: 1.0}), soft=0.825)
    for depth, expected in ((0, 0.825**12), (11, 0.825), (None, 1.0)):
        torch.testing.assert_close(weigh(schedule, depth), torch.full((4, 3, 2, 2), expected))


def test_frames_steps_and_sides():
    schedule = ControlSchedule(Factors(torch.tensor([1.0, 0.5]), {0: 1.0, 0.5: 0.1}), negative=0.25)
    assert weigh(schedule)[:, 0, 0, 0].tolist() == pytest.approx([1, 0.5, 0.25, 0.125])
    assert weigh(schedule, progress=0.6)[:, 0, 0, 0].tolist() == pytest.approx([0.1, 0.05, 0.025, 0.0125])
    assert weigh(schedule, frame_ids=(1, 7), sides=(1, 0))[:, 0, 0, 0].tolist() == [0.125, 0.125, 0.5, 0.5]


def test_a_mask_follows_its_frames_and_fits_every_size():
    mask = torch.stack([torch.zeros(8, 8), torch.ones(8, 8)])
    mask[0, :, 4:] = 1
    schedule = ControlSchedule(Factors(torch.ones(1), {0: 1.0}, mask))
    weighed = weigh(schedule, size=(4, 4))
    assert weighed[0, 0, 0].tolist() == pytest.approx([0, 0.2, 0.8, 1], abs=0.2)
    assert torch.equal(weighed[0], weighed[2])
    assert weighed[1].min() == 1
    picked = schedule.pick((1,))
    assert picked.factors.mask.shape == (1, 8, 8)
    assert weigh(picked, frame_ids=(0, 0)).min() == 1
