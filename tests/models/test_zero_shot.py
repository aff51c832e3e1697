"""Text2Video-Zero's latents between its segments, against closed forms and the paper's formulas written out."""

from __future__ import annotations

import math

import pytest
import torch
from frameloom.models.video.noise import draw_noise
from frameloom.models.video.schedules import STABLE_DIFFUSION
from frameloom.models.zero_shot.latents import (
    add_noise,
    chunk_frames,
    find_levels,
    smooth_background,
    warp_forward,
)
from frameloom.models.zero_shot.motion_path import interpolate, translation
from frameloom.tests.support.tensors import draw

UNIT = 1 / 0.18215
PATH = translation(5, 40, -25)
LEVELS = {"sigmas": torch.tensor([10.4, 9.0, 7.5]), "unit": UNIT}


def sigma(timestep):
    kept = float(STABLE_DIFFUSION.alphas_cumprod()[timestep])
    return ((1 - kept) / kept) ** 0.5


def test_forward_noise_is_the_papers_in_variance_preserving_latents():
    """x sqrt(a) + sqrt(1 - a) noise, a the product of 1 - beta after t0 up to t1, here 880 to 940."""
    a = float((1 - STABLE_DIFFUSION.betas()[881:941]).prod())
    assert a == pytest.approx(0.53106, abs=1e-5)
    low, high = sigma(880), sigma(940)
    x, noise = draw(2, 4, 8, 8).double(), draw(2, 4, 8, 8, seed=1).double()
    ours = add_noise(x * UNIT, noise, low, high, UNIT) / UNIT
    paper = x / (1 + low**2) ** 0.5 * a**0.5 + (1 - a) ** 0.5 * noise
    torch.testing.assert_close(ours / (1 + high**2) ** 0.5, paper, rtol=1e-9, atol=1e-9)


def test_no_rise_in_level_adds_nothing():
    x = draw(1, 4, 8, 8)
    assert torch.equal(add_noise(x, draw(1, 4, 8, 8), 3.0, 3.0, UNIT), x)


def test_each_frame_is_the_warped_frame_with_noise_of_its_number():
    """Frame k by the closed form of the paper's translation; the noise is the one of (seed, k)."""
    x = draw(1, 4, 64, 64)
    frames = warp_forward(x, translation(8, 12, 0), range(8), seed=3, **LEVELS)
    grown = math.sqrt(10.4**2 - 7.5**2) * UNIT
    for frame, shift in enumerate([0, 1, 3, 4, 6, 7, 9, 10]):
        moved = frames[frame] - draw_noise(3, [frame], (4, 64, 64))[0] * grown
        inside = 64 - shift
        torch.testing.assert_close(moved[..., :inside], x[0, ..., shift:], rtol=0, atol=1e-4)


def test_a_subset_of_frames_is_exactly_those_of_the_whole():
    x = draw(1, 4, 16, 16)
    whole = warp_forward(x, PATH, range(5), seed=3, anchor=x + 1, **LEVELS)
    some = warp_forward(x, PATH, [0, 3, 4], seed=3, anchor=x + 1, **LEVELS)
    assert torch.equal(some, whole[[0, 3, 4]])


def test_the_anchor_takes_frame_0s_place_alone():
    x, anchor = draw(1, 4, 16, 16), draw(1, 4, 16, 16, seed=1)
    without = warp_forward(x, PATH, [2, 0, 1], seed=3, **LEVELS)
    frames = warp_forward(x, PATH, [2, 0, 1], seed=3, anchor=anchor, **LEVELS)
    assert torch.equal(frames[1], anchor[0])
    assert torch.equal(frames[[0, 2]], without[[0, 2]])


def smoothed(frames, masks, path, keep):
    """The paper's formula, cell by cell."""
    out = frames.clone()
    height, width = frames.shape[-2:]
    for k in range(len(frames)):
        rows, columns = path.source_cells(k, height, width)
        for y in range(height):
            for x in range(width):
                at = int(rows[y, x]), int(columns[y, x])
                if masks[k, y, x] == 0 and masks[0][at] == 0:
                    out[k, :, y, x] = keep * frames[k, :, y, x] + (1 - keep) * frames[0][:, at[0], at[1]]
    return out


@pytest.mark.parametrize(
    "path", [PATH, interpolate(5, {0: (0, 0, 1, 0), 4: (0.3, 0.1, 1.4, 20)})], ids=["shift", "camera"]
)
def test_background_is_drawn_to_the_moved_first_frame(path):
    frames = draw(5, 4, 12, 12)
    masks = (torch.rand(5, 12, 12, generator=torch.Generator().manual_seed(1)) > 0.7).float()
    torch.testing.assert_close(
        smooth_background(frames, masks, path, 0.4), smoothed(frames, masks, path, 0.4)
    )


def test_masks_of_pictures_are_taken_cell_by_cell():
    frames = draw(5, 4, 12, 12)
    masks = (torch.rand(5, 12, 12, generator=torch.Generator().manual_seed(1)) > 0.7).float()
    big = masks.repeat_interleave(8, 1).repeat_interleave(8, 2)
    assert torch.equal(smooth_background(frames, big, PATH), smooth_background(frames, masks, PATH))


def test_nothing_is_smoothed_at_keep_1_or_where_all_is_foreground():
    frames = draw(5, 4, 12, 12)
    assert torch.equal(smooth_background(frames, torch.zeros(5, 12, 12), PATH, 1.0), frames)
    assert torch.equal(smooth_background(frames, torch.ones(5, 12, 12), PATH, 0.0), frames)


def test_levels_snap_to_the_nearest_of_the_schedule():
    sigmas = torch.tensor([16.0, 8.0, 4.0, 2.0, 1.0, 0.0])
    assert find_levels(sigmas, 3.9, 9.0) == (2, 1)
    assert find_levels(sigmas, 1.1, 5.0) == (4, 2)


def test_chunks_hold_every_frame_once_behind_the_first():
    assert chunk_frames(6, 3) == [[0, 1, 2], [0, 3, 4], [0, 5]]
    assert chunk_frames(5, 0) == chunk_frames(5, 5) == [[0, 1, 2, 3, 4]]
    assert chunk_frames(3, 2) == [[0, 1], [0, 2]]
