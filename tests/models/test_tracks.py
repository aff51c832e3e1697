"""Boxes as tracks of points: where points are, when they are to be seen, and what is written of them."""

from __future__ import annotations

import json
import math

import pytest
import torch
from frameloom.models.storyboard.scenes import BoxKey, Entity, Scene
from frameloom.models.storyboard.tracks import (
    ATI_POINTS,
    ati_text,
    describe_tracks,
    scene_tracks,
    wan_move_text,
)

WIDTH, HEIGHT, FRAMES = 200, 100, 5


def entity(name="ball", **keys):
    track = [BoxKey(f=int(frame.removeprefix("f")), box=box) for frame, box in keys.items()]
    return Entity(id=name, text=name, track=track, hold=True)


MOVING = entity(f0=(0.0, 0.2, 0.2, 0.4), f4=(0.4, 0.2, 0.8, 0.8))
LATE = entity("late", f0=None, f2=(0.1, 0.1, 0.2, 0.2))
BLINKS = entity("blinks", f0=(0.0, 0.0, 0.5, 0.5), f2=None, f4=(0.5, 0.5, 1.0, 1.0))


def tracks_of(*entities, which="", grid=1):
    return scene_tracks(Scene(id=3, frames=FRAMES, entities=entities), which, WIDTH, HEIGHT, grid)


def places(text):
    return [torch.tensor([[point["x"], point["y"]] for point in track]) for track in json.loads(text)]


def test_one_point_is_the_boxs_middle_in_pixels():
    (track,) = tracks_of(MOVING)["ball"]
    assert track.present.all()
    torch.testing.assert_close(track.places[0], torch.tensor([20.0, 30.0]).double())
    torch.testing.assert_close(track.places[2], torch.tensor([70.0, 40.0]).double())
    torch.testing.assert_close(track.places[4], torch.tensor([120.0, 50.0]).double())


def test_points_keep_their_shares_of_a_box_that_grows():
    found = torch.stack([track.places for track in tracks_of(MOVING, grid=2)["ball"]])
    first = torch.tensor([[10, 25], [30, 25], [10, 35], [30, 35]]).double()
    last = torch.tensor([[100, 35], [140, 35], [100, 65], [140, 65]]).double()
    torch.testing.assert_close(found[:, 0], first, atol=1e-4, rtol=0)
    torch.testing.assert_close(found[:, 4], last, atol=1e-4, rtol=0)


def read_as_ati(points, frames):
    """Places of the frames but the first, by repeating and leaving out."""
    common = math.gcd(120, frames - 1)
    return points[1:].repeat_interleave((frames - 1) // common, dim=0)[1 :: 120 // common]


def test_ati_reads_each_frames_place():
    (found,) = places(ati_text(tracks_of(MOVING)["ball"]))
    assert found.shape == (ATI_POINTS, 2) == (121, 2)
    read = torch.cat([found[:1], read_as_ati(found, FRAMES)])
    torch.testing.assert_close(read[:, 0], torch.linspace(20, 120, FRAMES), atol=0.01, rtol=0)
    torch.testing.assert_close(read[:, 1], torch.linspace(30, 50, FRAMES), atol=0.01, rtol=0)


def test_for_ati_a_track_ends_where_its_thing_is_first_absent():
    (found,) = places(ati_text(tracks_of(BLINKS)["blinks"]))
    padded = torch.cat([found, torch.full((ATI_POINTS - len(found), 2), math.nan)])
    assert (found == torch.tensor([50.0, 25.0])).all()
    assert read_as_ati(padded, FRAMES).isnan().any(dim=1).tolist() == [False, True, True, True]


def test_wan_move_gets_a_place_for_each_frame_and_minus_1_where_a_thing_is_absent():
    (found,) = places(wan_move_text(tracks_of(BLINKS)["blinks"]))
    assert found.tolist() == [[50, 25], [50, 25], [-1, -1], [-1, -1], [150, 75]]


def test_a_thing_that_comes_later_is_left_out_and_reported():
    found = tracks_of(MOVING, LATE, BLINKS, grid=2)
    assert [len(each) for each in found.values()] == [4, 0, 4]
    assert describe_tracks(found, FRAMES).splitlines() == [
        "ball: 4 points",
        "late: left out, since it is not in frame 0",
        "blinks: 4 points, absent from frame 2 on",
    ]


@pytest.mark.parametrize(
    ("entities", "which", "said"),
    [
        ((LATE,), "", "none of 'late' has a box in frame 0 of scene 3; expected one that has"),
        ((MOVING,), "fox", "entity='fox' is not in scene 3, .* expected one of: 'ball'"),
        ((), "", "entity='' is not in scene 3, .* expected one of: none"),
    ],
)
def test_a_scene_without_a_track_is_refused(entities, which, said):
    with pytest.raises(ValueError, match=said):
        tracks_of(*entities, which=which)


def test_a_single_frame_has_tracks_that_stand_still():
    scene = Scene(id=1, frames=1, entities=[entity(f0=(0.0, 0.2, 0.2, 0.4))])
    (found,) = places(ati_text(scene_tracks(scene, "", WIDTH, HEIGHT, 1)["ball"]))
    assert found.shape == (ATI_POINTS, 2)
    assert (found == torch.tensor([20.0, 30.0])).all()
