"""Frames laid into pictures, and RAVE's shuffles of them."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.video.control_schedule import ControlSchedule
from frameloom.models.video.factors import Factors
from frameloom.models.video.grid import Tiles
from frameloom.models.zero_shot.rave import Rave


@pytest.mark.parametrize("side", [1, 2, 3])
@pytest.mark.parametrize("frames", [1, 2, 4, 5, 9, 10])
def test_frames_come_back_from_pictures(frames, side):
    clip = torch.rand(frames, 4, 3, 5)
    tiles = Tiles(side, tuple(range(frames)))
    pictures = tiles.tile(clip)
    assert pictures.shape == (tiles.pictures, 4, 3 * side, 5 * side)
    assert torch.equal(tiles.untile(pictures), clip)


def test_cells_are_row_by_row_and_frames_begin_again():
    clip = torch.arange(5.0).view(5, 1, 1, 1).expand(-1, -1, 2, 3)
    first, second = Tiles(2, tuple(range(5))).tile(clip)
    by_hand = torch.cat([torch.cat([clip[0], clip[1]], -1), torch.cat([clip[2], clip[3]], -1)], -2)
    assert torch.equal(first, by_hand)
    assert torch.equal(second[0, ::2, ::3], torch.tensor([[4.0, 0.0], [1.0, 2.0]]))
    assert torch.equal(Tiles(2, (0, 1, 2, 3)).tile(clip[3:4])[0, 0], torch.full((4, 6), 3.0))


@pytest.mark.parametrize("frames", [2, 3, 4, 7, 8, 30])
@pytest.mark.parametrize("side", [2, 3])
def test_every_frame_is_in_a_picture_and_at_most_one_picture_shares_frames(frames, side):
    full = side**2
    windows = Rave(side, seed=5).windows(frames, step=3)
    assert {frame for window in windows for frame in window} == set(range(frames))
    assert {len(window) for window in windows} == {min(full, frames)}
    assert all(len({*window}) == len(window) for window in windows)
    assert len(windows) == -(-frames // full)
    before = [frame for window in windows[:-1] for frame in window]
    assert len(before) == len({*before})


def test_steps_and_seeds_shuffle_otherwise_and_always_the_same():
    rave = Rave(2, seed=1)
    steps = [tuple(map(tuple, rave.windows(16, step))) for step in range(6)]
    assert len({*steps}) == 6
    assert steps[4] == tuple(Rave(2, seed=1).windows(16, 4))
    assert steps[0] != tuple(Rave(2, seed=2).windows(16, 0))
    generator = torch.Generator().manual_seed(1)
    drawn = [torch.randperm(16, generator=generator).tolist() for _ in range(6)]
    assert [frame for window in steps[5] for frame in window] == drawn[5]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("cell", [(4, 6), (3, 3)])
def test_a_controls_factors_lie_as_its_frames_do(cell, masked):
    frame_ids, factors = (2, 0, 3, 1), torch.tensor([1.0, 0.5, 0.25, 0.0])
    mask = torch.rand(4, 8, 12) if masked else None
    schedule = ControlSchedule(Factors(factors, {0.0: 1.0}, mask))
    tiles = Tiles(2, frame_ids)
    added = torch.rand(8, 5, *cell)  # two chunks
    given = {"frame_ids": frame_ids, "progress": 0.2, "sides": [0, 1]}
    apart = schedule.weigh(added, 0, 3, **given)
    laid = torch.cat([tiles.tile(chunk) for chunk in added.chunk(2)])
    together = schedule.weigh(laid, 0, 3, **given, tiles=tiles)
    assert torch.allclose(torch.cat([tiles.untile(chunk) for chunk in together.chunk(2)]), apart)


def test_factors_reach_features_that_cells_do_not_divide():
    schedule = ControlSchedule(Factors(torch.tensor([1.0, 2.0, 3.0, 4.0]), {0.0: 1.0}))
    laid = schedule.weigh(
        torch.ones(1, 1, 5, 5), None, 3, frame_ids=(0, 1, 2, 3), progress=0.0, sides=[0],
        tiles=Tiles(2, (0, 1, 2, 3)),
    )  # fmt: skip
    assert laid.shape == (1, 1, 5, 5)
    assert [laid[0, 0, y, x].item() for y in (0, 4) for x in (0, 4)] == [1.0, 2.0, 3.0, 4.0]
