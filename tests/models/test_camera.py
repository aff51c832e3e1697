"""Cameras: their rays against projection, the moves against their numbers, and texts of poses."""

from __future__ import annotations

import json
import math

import pytest
import torch
from frameloom.models.motion.camera import CANVAS, LENS, CameraPoses, rays, read_poses
from frameloom.models.motion.camera_moves import MOVES, follow_picture, move_camera, outlines, parse_moves
from frameloom.models.zero_shot.motion_path import interpolate
from frameloom.tests.support.tensors import draw


def some_poses(frames, seed=0, ratio=16 / 9):
    """Cameras turned and moved at random."""
    turns, _ = torch.linalg.qr(draw(frames, 3, 3, seed=seed).double())
    turns = turns * torch.linalg.det(turns)[:, None, None]
    view = torch.cat([turns, draw(frames, 3, 1, seed=seed + 1).double()], dim=2)
    lens = torch.tensor([0.5, 0.9, 0.48, 0.53], dtype=torch.float64) * (
        1 + 0.1 * torch.arange(frames)[:, None]
    )
    return CameraPoses(lens, view, torch.full((frames,), ratio, dtype=torch.float64))


def project(poses, frame, point, height, width):
    """Where a camera shows a point of the world, in pixels: by homogeneous coordinates, another way than rays."""
    fx, fy, cx, cy = poses.lens[frame].tolist()
    ratio = float(poses.ratio[frame])
    if ratio > width / height:
        fx = height * ratio * fx / width
    else:
        fy = width / ratio * fy / height
    fx, fy, cx, cy = fx * width, fy * height, cx * width, cy * height
    intrinsic = torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=torch.float64)
    x, y, z = (intrinsic @ poses.view[frame] @ torch.cat([point, torch.ones(1)])).tolist()
    return x / z, y / z, z


@pytest.mark.parametrize("size", [(16, 24), (24, 16), (8, 32)])
@pytest.mark.parametrize("frames", [1, 2, 3, 5])
def test_a_point_seen_at_a_pixel_lies_on_its_ray(frames, size):
    """With three frames too, where a product over the wrong axis would still have a shape."""
    height, width = size
    poses = some_poses(frames)
    seen = rays(poses, size, size).double()
    first = torch.eye(4, dtype=torch.float64)
    first[:3] = poses.view[0]
    for frame, row, column in [(frames - 1, 3, 5), (0, 0, 0), (frames // 2, height - 1, width - 1)]:
        moment, ahead = seen[frame, :3, row, column], seen[frame, 3:, row, column]
        assert float(ahead.norm()) == pytest.approx(1, abs=1e-6)
        assert float(moment @ ahead) == pytest.approx(0, abs=1e-5)
        for distance in (0.5, 4.0):
            point = torch.linalg.cross(ahead, moment) + ahead * 50 * distance
            world = torch.linalg.inv(first) @ torch.cat([point, torch.ones(1, dtype=torch.float64)])
            x, y, before = project(poses, frame, world[:3], height, width)
            assert before > 0
            assert (x, y) == (pytest.approx(column + 0.5, abs=1e-3), pytest.approx(row + 0.5, abs=1e-3))
        place = -poses.view[frame, :, :3].T @ poses.view[frame, :, 3]
        own = (first @ torch.cat([place, torch.ones(1)]))[:3]
        torch.testing.assert_close(torch.linalg.cross(own, ahead), moment, atol=1e-5, rtol=1e-5)


def test_the_first_frame_has_no_moment_and_looks_ahead():
    seen = rays(some_poses(3), (9, 9), (9, 9))
    assert float(seen[0, :3].abs().max()) < 1e-6
    assert float(seen[0, 5].min()) > 0


def test_rays_beyond_the_edge_go_on_as_those_inside():
    """They are those of a larger picture's upper left part, whose lens has the same pixels."""
    poses = some_poses(2, ratio=1.5)
    beyond = rays(poses, (16, 24), (24, 32))
    assert torch.equal(beyond[:, :, :16, :24], rays(poses, (16, 24), (16, 24)))
    slopes = beyond[0, 3, 0] / beyond[0, 5, 0]
    torch.testing.assert_close(
        slopes.diff(), torch.full((31,), float(slopes.diff()[0])), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("speed", [1.0, -0.5])
def test_a_move_is_the_published_one(name, speed):
    """MotionCtrl's: angles of 60 degrees and 1.5 units in 16 frames, turns about z, y, x."""
    view = move_camera(16, parse_moves(f"{name} {speed}")).view
    turn, shift = MOVES[name]
    for frame in (0, 1, 15):
        part = frame / 16 * speed
        x, y, z = (part * math.pi / 3 * each for each in turn)
        wanted = torch.linalg.matrix_exp(
            torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
        )  # of one axis alone, in any order
        torch.testing.assert_close(view[frame, :, :3], wanted)
        torch.testing.assert_close(view[frame, :, 3], part * 1.5 * torch.tensor(shift).double())


WAYS = {
    "pan left": (1, 0), "pan right": (-1, 0), "pan up": (0, 1), "pan down": (0, -1), "tilt left": (1, 0),
    "tilt right": (-1, 0), "tilt up": (0, 1), "tilt down": (0, -1),
}  # fmt: skip


@pytest.mark.parametrize("name", WAYS)
def test_what_is_seen_goes_the_other_way(name):
    poses = move_camera(4, parse_moves(name))
    middle = outlines(poses, (720, 1280), 4.0).mean(1) - 0.5
    right, down = middle[-1].tolist()
    x, y = WAYS[name]
    assert (right * x > 0.005) if x else (down * y > 0.005)


def test_zooming_in_enlarges_and_rolling_clockwise_turns_the_picture_back():
    closer = outlines(move_camera(8, parse_moves("zoom in")), (720, 1280), 4.0)[-1]
    assert float(closer[1, 0] - closer[0, 0]) == pytest.approx(4 / (4 - 3 * 7 / 16))
    rolled = outlines(move_camera(8, parse_moves("roll clockwise")), (720, 1280), 4.0)[-1]
    assert float(rolled[1, 1]) < float(rolled[0, 1])


def test_moves_of_one_line_are_added_and_later_ones_begin_where_the_camera_is():
    both = move_camera(16, parse_moves("0: pan left 1, zoom in 0.5")).view[:, :, 3]
    parts = [move_camera(16, parse_moves(each)).view[:, :, 3] for each in ("pan left", "zoom in .5")]
    torch.testing.assert_close(both, parts[0] + parts[1])
    later = move_camera(9, parse_moves("0: tilt right 2\n4: pan left")).view
    assert torch.equal(later[:5], move_camera(5, parse_moves("tilt right 2")).view)
    # panning left, in the camera's own axes: each frame's view is the turned one's, shifted along its right.
    torch.testing.assert_close(later[8, :, :3], later[4, :, :3])
    torch.testing.assert_close(later[8, :, 3], later[4, :, 3] + torch.tensor([1.5 * 4 / 16, 0, 0]).double())
    still = move_camera(4, parse_moves("2: zoom out")).view
    assert torch.equal(still[0], still[2])
    assert not torch.equal(still[2], still[3])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pan sideways", "moves line 1: got 'pan sideways'; expected `frame: move speed"),
        ("0: pan left\n\nx: zoom in", "moves line 3: got 'x: zoom in'"),
        ("0: pan left\n0: zoom in", "moves line 2: frame 0 comes twice"),
        ("pan left 1000", "moves line 1: got speed 1000; expected -100 to 100"),
        ("pan left,", "moves line 1"),
        ("# nothing", "moves: got none"),
    ],
)
def test_what_is_no_move_is_refused_with_its_line(text, said):
    with pytest.raises(ValueError, match=said):
        parse_moves(text)


POSE = "0 0.5 0.9 0.5 0.5 0 0 1 0 0 0.1 0 1 0 0.2 0 0 1 0.3"


def test_a_file_of_realestate10k_is_read():
    poses = read_poses(f"https://example.org/watch\n{POSE}\n\n{POSE.replace('0.1', '4e-1')}\n", 1280, 720)
    assert len(poses) == 2
    assert poses.view[:, :, 3].tolist() == [[0.1, 0.2, 0.3], [0.4, 0.2, 0.3]]
    assert poses.lens[1].tolist() == [0.5, 0.9, 0.5, 0.5]
    assert poses.ratio.tolist() == [1280 / 720] * 2


def test_a_line_without_an_address_before_it_is_a_pose_and_its_own_size_counts():
    poses = read_poses(POSE.replace("0.5 0 0 1", "0.5 640 320 1"), 1280, 720)
    assert poses.ratio.tolist() == [2.0]


VIEW = [1.0, 0, 0, 0.1, 0, 1, 0, 0.2, 0, 0, 1, 0.3]


def test_a_file_of_motionctrl_is_read_and_gets_the_usual_lens():
    turned = [0.0, -1, 0, 5, 1, 0, 0, 6, 0, 0, 1, 7]
    poses = read_poses(f"\n{json.dumps([VIEW, turned], indent=4)}\n", 512, 512)
    assert poses.view.flatten(1).tolist() == [VIEW, turned]
    assert poses.lens.tolist() == [list(LENS)] * 2
    assert poses.ratio.tolist() == [1280 / 720] * 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "poses: got no line of numbers; expected one of 19"),
        ("address", "poses: got no line of numbers"),
        (f"address\n{POSE}\n{POSE} 1", "poses line 3: got 20 values; expected 19 numbers"),
        (f"{POSE}\n[[1, 0, 0]]", r"poses line 2: got '\[\[1'; expected 19 numbers"),
        (POSE.replace("0.9", "nan"), "poses line 1: got focal lengths 0.5 and nan"),
        (POSE.replace("0.5 0.9", "640 648"), "poses line 1: got focal lengths 640 and 648; .* divide"),
        (
            POSE.replace("0 1 0 0.2", "0 2 0 0.2"),
            "poses line 1: got a view whose first three columns are no turn",
        ),
        (POSE.replace("0 1 0 0.2", "0 -1 0 0.2"), "poses line 1: got a view"),
        (POSE.replace("0.3", "inf"), "poses line 1: got a view .* all finite"),
        ("[]", "poses: got an empty list; expected MotionCtrl's form"),
        ("[[1, 0, 0", "poses: got text that is not JSON"),
        ("[[1, 0, 0]]", r"poses frame 0: got 3 values; expected MotionCtrl's form, \[\[12 numbers\], ...\]"),
        ("[1, 2]", "poses frame 0: got 0 values"),
        (json.dumps([VIEW, [*VIEW[:-1], "0"]]), "poses frame 1: got '0'; expected"),
        (json.dumps([VIEW, [*VIEW[:-1], math.nan]]), "poses frame 1: got a view"),
        (json.dumps([[2.0, *VIEW[1:]]]), "poses frame 0: got a view whose first three columns are no turn"),
    ],
)
def test_what_is_no_pose_is_refused_with_its_line(text, said):
    with pytest.raises(ValueError, match=said):
        read_poses(text, 1280, 720)


@pytest.mark.parametrize("by", ["dolly", "focal length"])
@pytest.mark.parametrize("depth", [0.5, 3.0])
@pytest.mark.parametrize("size", [(512, 512), (256, 384), (360, 1000)])
def test_a_plane_goes_the_way_of_the_picture(by, depth, size):
    """Its corners, projected, are those of the motion path."""
    path = interpolate(5, {0: (0, 0, 1, 0), 4: (0.3, -0.2, 1.7, 40)})
    poses = follow_picture(path.move, path.zoom, path.angle, size, depth, by)
    middle = torch.tensor([size[1] / 2, size[0] / 2]).double()
    square = torch.tensor([[-1, -1], [1, -1], [1, 1], [-1, 1]]).double() * middle
    turn = torch.deg2rad(path.angle)[:, None]
    x = (turn.cos() * square[:, 0] - turn.sin() * square[:, 1]) * path.zoom[:, None]
    y = (turn.sin() * square[:, 0] + turn.cos() * square[:, 1]) * path.zoom[:, None]
    wanted = (torch.stack([x, y], 2) + middle) / (2 * middle) + path.move[:, None]
    torch.testing.assert_close(outlines(poses, size, depth), wanted)


def test_a_pan_of_p_pixels_is_a_shift_of_p_z_over_f():
    path = interpolate(2, {0: (0, 0, 1, 0), 1: (0.25, 0, 1, 0)})
    poses = follow_picture(path.move, path.zoom, path.angle, (512, 512), 3.0)
    focal = LENS[1] * 512
    assert float(poses.view[1, 0, 3]) == pytest.approx(0.25 * 512 * 3 / focal)
    assert CANVAS[0] * LENS[0] == pytest.approx(CANVAS[1] * LENS[1])  # its pixels are squares


def test_a_clip_longer_than_its_poses_is_refused():
    with pytest.raises(ValueError, match="poses: got frame 5 of a clip with 3 poses; expected one for each"):
        some_poses(3).pick((0, 5))
