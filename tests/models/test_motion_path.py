"""Paths, and warping along them: equal to the reference's warp cell for cell, and to geometry."""

from __future__ import annotations

import pytest
import torch
from diffusers.pipelines.deprecated.text_to_video_synthesis.pipeline_text_to_video_zero import (
    create_motion_field_and_warp_latents,
)
from frameloom.models.storyboard.scenes import BoxKey, Entity
from frameloom.models.zero_shot.motion_path import (
    follow_track,
    interpolate,
    parse_keyframes,
    translation,
    warp,
)
from frameloom.tests.support.tensors import draw


def picture(height, width):
    """A latent whose cells all differ."""
    return torch.arange(4 * height * width, dtype=torch.float32).view(1, 4, height, width)


@pytest.mark.parametrize("size", [(64, 64), (32, 40), (16, 16)])
@pytest.mark.parametrize("strength", [(12, 12), (0, 0), (-7, 30), (3, -200), (600, 0)])
def test_the_papers_warp_equals_diffusers_cell_for_cell(size, strength):
    latent, frames = picture(*size), 8
    theirs = create_motion_field_and_warp_latents(
        *strength, list(range(1, frames)), latent.expand(frames - 1, -1, -1, -1)
    )
    ours = warp(latent, translation(frames, *strength), range(1, frames))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_warping_copies_values_in_their_own_dtype(dtype):
    latent = draw(1, 4, 16, 16).to(dtype)
    moved = warp(latent, interpolate(3, {0: (0, 0, 1, 0), 2: (0.3, -0.2, 1.4, 30)}), [2])
    assert moved.dtype == dtype
    assert set(moved.flatten().tolist()) <= set(latent.flatten().tolist())


def test_a_path_that_does_not_move_warps_nothing():
    latent = picture(9, 13)
    for path in (translation(4, 0, 0), translation(4, 0, 0, (100, 100)), interpolate(4, {2: (0, 0, 1, 0)})):
        assert torch.equal(warp(latent, path, range(4)), latent.expand(4, -1, -1, -1))


def test_on_the_pictures_own_canvas_8_pixels_are_a_cell():
    latent = picture(16, 24)
    moved = warp(latent, translation(4, 8, -16, (24 * 8, 16 * 8)), [3])
    assert torch.equal(moved[0, :, 6:, :-3], latent[0, :, :-6, 3:])


def test_what_leaves_one_side_is_mirrored_at_the_other():
    moved = warp(torch.arange(6.0).expand(1, 1, 1, 6), interpolate(1, {0: (1 / 3, 0, 1, 0)}), [0])
    assert moved.flatten().tolist() == [1, 0, 0, 1, 2, 3]


def test_a_quarter_turn_is_clockwise_and_exact():
    latent = picture(8, 8)
    turned = warp(latent, interpolate(1, {0: (0, 0, 1, 90)}), [0])
    assert torch.equal(turned, latent.rot90(-1, (2, 3)))


def test_corners_lie_where_warping_takes_the_corners_of_a_wide_picture():
    height, width = 40, 80
    path = interpolate(1, {0: (0.05, -0.02, 0.5, 30)})
    rows, columns = path.source_cells(0, height, width)
    ends = [(0, 0), (0, width - 1), (height - 1, width - 1), (height - 1, 0)]
    for corner, (row, column) in zip(path.corners(width, height)[0], ends, strict=True):
        shown = ((rows - row).abs().le(1) & (columns - column).abs().le(1)).nonzero().flip(1) + 0.5
        assert float((shown - corner * torch.tensor([width, height])).norm(dim=1).min()) < 1.5


def test_zoom_2_doubles_every_cell_of_the_middle():
    latent = picture(8, 8)
    zoomed = warp(latent, interpolate(1, {0: (0, 0, 2, 0)}), [0])
    expected = latent[:, :, 2:6, 2:6].repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(zoomed, expected)


def test_frames_depend_on_their_number_alone():
    latent, path = picture(16, 16), interpolate(9, {0: (0, 0, 1, 0), 8: (0.5, 0.1, 2, 45)})
    whole = warp(latent, path, range(9))
    assert torch.equal(warp(latent, path, [0, 5, 3]), whole[[0, 5, 3]])


def test_keyframes_are_reached_and_crossed_straight():
    path = interpolate(7, parse_keyframes("# camera\n1: 0 0\n\n5: 0.4, -0.2, 4, 40  # far"))
    assert path.move[:, 0].tolist() == pytest.approx([0, 0, 0.1, 0.2, 0.3, 0.4, 0.4])
    assert path.zoom.tolist() == pytest.approx([1, 1, 2**0.5, 2, 8**0.5, 4, 4])
    assert path.angle.tolist() == pytest.approx([0, 0, 10, 20, 30, 40, 40])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0: 0 0\n4 0 0", r"line 2: got '4 0 0'"),
        ("x: 0 0", r"line 1: got 'x: 0 0'"),
        ("0: 1", "line 1"),
        ("0: 0 0\n4: nan 0", r"line 2: got '4: nan 0'; expected"),
        ("0: 0 0 inf", r"line 1: got '0: 0 0 inf'; expected"),
        ("0: 0 0 1 2 3", "line 1"),
        ("-1: 0 0", "line 1"),
        ("2: 0 0\n2: 1 1", "line 2: frame 2 comes twice"),
    ],
)
def test_keyframes_that_cannot_be_read_name_their_line(text, message):
    with pytest.raises(ValueError, match=message):
        parse_keyframes(text)


def test_keyframes_need_a_line_and_a_zoom_above_0():
    with pytest.raises(ValueError, match="got none"):
        interpolate(4, parse_keyframes("# nothing"))
    with pytest.raises(ValueError, match="zoom=0 must be above 0"):
        interpolate(4, {0: (0, 0, 0, 0)})


def test_a_track_takes_its_entity_along_its_boxes():
    keys = (BoxKey(f=0, box=(0.125, 0.25, 0.375, 0.5)), BoxKey(f=4, box=(0.5, 0.25, 1, 0.75)))
    path = follow_track(5, Entity(id="a", text="a ball", track=keys))
    latent = torch.zeros(1, 1, 16, 16)
    latent[..., 4:8, 2:6] = 1
    moved = warp(latent, path, [0, 4])
    assert torch.equal(moved[0], latent[0])
    expected = torch.zeros(16, 16)
    expected[4:12, 8:16] = 1
    assert torch.equal(moved[1, 0], expected)


def test_an_entity_that_goes_away_leaves_the_picture_where_it_was():
    keys = (BoxKey(f=1, box=(0, 0, 0.2, 0.2)), BoxKey(f=2, box=(0.4, 0, 0.6, 0.2)))
    path = follow_track(5, Entity(id="a", text="a ball", track=keys))
    assert path.move[:, 0].tolist() == pytest.approx([0, 0, 0.4, 0.4, 0.4])
    with pytest.raises(ValueError, match="entity 'b' has no box"):
        follow_track(5, Entity(id="b", text="a ghost"))
