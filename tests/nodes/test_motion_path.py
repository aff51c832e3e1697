"""The path node: each kind makes its path, a wrong setting is told what it should be."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.storyboard.scenes import BoxKey, Entity, Scene, Storyboard
from frameloom.models.zero_shot.motion_path import translation


@pytest.fixture
def make(run):
    return lambda kind, **given: run("MotionPath", kind=kind, **({"frames": 5} | given))


@pytest.fixture
def board():
    moving = Entity(
        id="fox",
        text="a fox",
        track=[BoxKey(f=0, box=(0.1, 0.1, 0.3, 0.3)), BoxKey(f=4, box=(0.5, 0.1, 0.7, 0.3))],
    )
    return Storyboard(
        scenes=[Scene(id=1, frames=5, prompt="a wood", entities=[Entity(id="tree", text="a tree"), moving])]
    )


def test_translation_is_on_the_papers_canvas_or_the_pictures(make):
    strengths = {"motion_field_strength_x": 12.0, "motion_field_strength_y": -20.0}
    paper, _ = make("translation", **strengths)
    assert torch.equal(paper.move, translation(5, 12, -20).move)
    own, _ = make("translation", canvas="the picture", width=128, height=64, **strengths)
    assert torch.equal(own.move, translation(5, 12, -20, (128, 64)).move)


def test_camera_arrives_in_the_last_frame(make):
    path, picture = make("camera", move_right=0.2, move_down=-0.1, zoom=2.0, angle=30.0)
    assert path.move[-1].tolist() == pytest.approx([0.2, -0.1])
    assert (float(path.zoom[-1]), float(path.angle[-1])) == pytest.approx((2.0, 30.0))
    assert (float(path.zoom[0]), float(path.angle[0])) == (1.0, 0.0)
    assert picture.shape == (1, *picture.shape[1:3], 3)


def test_keyframes_are_read_from_their_lines(make):
    path, _ = make("keyframes", keyframes="0: 0 0\n4: 0.5 0")
    assert path.move[:, 0].tolist() == pytest.approx([0, 0.125, 0.25, 0.375, 0.5])


@pytest.mark.parametrize("entity", ["fox", ""])
def test_a_track_is_followed(make, board, entity):
    path, _ = make("storyboard track", storyboard=board, scene=1, entity=entity)
    assert path.move[:, 0].tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=1e-6)


def test_one_frame_is_a_path(make):
    for kind in ("translation", "camera", "keyframes"):
        assert len(make(kind, frames=1)[0]) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"storyboard: nothing is connected"),
        ({"scene": 7}, r"scene=7 is not in the storyboard; expected one of \[1\]"),
        ({"scene": 1, "entity": "cat"}, r"entity='cat' is not in scene 1.*'tree', 'fox'"),
    ],
)
def test_a_track_that_is_not_there_is_named(make, board, settings, message):
    with pytest.raises(ValueError, match=message):
        make("storyboard track", storyboard=board if settings else None, **settings)
