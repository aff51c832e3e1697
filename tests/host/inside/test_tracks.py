"""Tracks as ComfyUI's nodes for Wan read them."""

from __future__ import annotations

import pytest
import torch
from comfy_extras import nodes_wan, nodes_wanmove
from frameloom.models.storyboard.scenes import BoxKey, Entity, Scene, Storyboard

pytestmark = pytest.mark.usefixtures("port")

WIDTH, HEIGHT = 128, 64
FIRST, LAST = (0.0, 0.0, 0.25, 0.5), (0.75, 0.5, 1.0, 1.0)


def written(frames, *, gone=None):
    """Return a box that goes from the upper left to the lower right, and what the node gives of it."""
    from frameloom.nodes.layout.pictures import LayoutToTracks

    keys = [BoxKey(f=0, box=FIRST), BoxKey(f=frames - 1, box=LAST)]
    if gone is not None:
        keys = [keys[0], BoxKey(f=gone, box=None)]
    ball = Entity(id="ball", text="a ball", track=keys, hold=True)
    board = Storyboard(size=(WIDTH, HEIGHT), scenes=[Scene(id=0, frames=frames, entities=[ball])])
    return ball, LayoutToTracks.execute(board, "", 0, 0, 1).args


def middles(ball, frames):
    boxes, _ = ball.boxes_at(frames)
    return (boxes[:, :2] + boxes[:, 2:]) / 2 * torch.tensor([WIDTH, HEIGHT])


@pytest.mark.parametrize("frames", [5, 17, 49, 81, 117, 161])
def test_ati_finds_each_frames_middle(frames):
    """Exactly, or in a clip of more frames than it reads places to one frame's way."""
    ball, (text, *_) = written(frames)
    (points,) = [nodes_wan.pad_pts(track) for track in nodes_wan.parse_json_tracks(text)]
    found = nodes_wan.process_tracks(points[None], (WIDTH, HEIGHT), frames - 1)[:, 0]
    assert found.shape == (frames, 4)
    places = found[:, 1:3] * min(WIDTH, HEIGHT) / 2 + torch.tensor([WIDTH, HEIGHT]) / 2
    way = torch.tensor([WIDTH * 0.75, HEIGHT * 0.5]) / (frames - 1)
    assert ((places - middles(ball, frames)).abs() <= (way if frames > 121 else 0) + 0.01).all()
    assert (found[:, 3] == 1).all()


def test_ati_sees_no_track_after_its_thing_has_gone():
    _, (text, *_) = written(81, gone=41)
    (points,) = [nodes_wan.pad_pts(track) for track in nodes_wan.parse_json_tracks(text)]
    visible = nodes_wan.process_tracks(points[None], (WIDTH, HEIGHT), 80)[:, 0, 3]
    assert (visible[:41] == 1).all()
    assert (visible[41:] == -1).all()


@pytest.mark.parametrize("gone", [None, 8])
def test_wan_move_gets_each_frames_middle_and_skips_where_it_is_absent(gone):
    ball, (_, text, frames, _) = written(17, gone=gone)
    tracks, length = nodes_wanmove.WanMoveTracksFromCoords.execute(track_coords=text).args
    assert length == frames == 17
    seen = 17 if gone is None else gone
    torch.testing.assert_close(
        tracks["track_path"][:seen, 0].cpu(), middles(ball, 17)[:seen], atol=0.01, rtol=0
    )
    cells = nodes_wanmove.create_pos_embeddings(
        tracks["track_path"], tracks["track_visibility"], [4, 8, 8], HEIGHT, WIDTH, track_num=1
    )[0]
    assert (cells[:, 0] >= 0).tolist() == [frame < seen for frame in range(0, 17, 4)]
