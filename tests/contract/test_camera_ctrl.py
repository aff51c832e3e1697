"""What every host promises of CameraCtrl: both prompts see the cameras, in windows and in parts too."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.errors import CheckpointError
from frameloom.models.files.keys import hash_settings, plain
from frameloom.models.long_video.free_noise import WindowFusion
from frameloom.models.motion.camera_moves import move_camera, parse_moves
from frameloom.models.motion.edit import motion_edit
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.support.camera import tiny_camera
from frameloom.tests.support.motion import save, tiny_state
from frameloom.tests.support.scene import FRAMES
from frameloom.tests.support.tensors import apart, draw

PLAIN = {"strength": "1", "start_percent": 0.0, "end_percent": 1.0}


@pytest.fixture(scope="module")
def files(port, tmp_path_factory):
    """A CameraCtrl whose projections count, one whose are nothing, and a motion module; as the host finds them."""
    folder = tmp_path_factory.mktemp("cameras")
    return {
        "camera": save(folder / "camera.safetensors", tiny_camera()),
        "nothing": save(folder / "nothing.safetensors", tiny_camera(0.0)),
        "module": save(folder / "module.safetensors", tiny_state()),
    }


@pytest.fixture
def filmed(port, files, monkeypatch):
    """Put cameras on a model, by the node."""
    monkeypatch.setattr(type(port), "resolve", lambda _, kind, name: files[name])

    def go(model, moves="pan left 3, roll clockwise", file="camera", frames=FRAMES, **settings):
        from frameloom.nodes.motion.camera import ApplyCameraCtrl

        poses = move_camera(frames, parse_moves(moves))
        return ApplyCameraCtrl.execute(model=model, file=file, poses=poses, **{**PLAIN, **settings})[0]

    return go


def near(one, other):
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_cameras_change_the_clip_and_others_change_it_otherwise(scene, moving, filmed):
    plain_clip, left, still = (
        scene.drawn(moving),
        scene.run(filmed(moving)),
        scene.run(filmed(moving, "static")),
    )
    assert apart(left, plain_clip) > 0.01
    assert apart(left, still) > 0.003
    assert torch.equal(scene.run(filmed(moving)), left)
    assert torch.equal(scene.run(moving), plain_clip)


def test_what_does_not_count_changes_no_bit(scene, moving, filmed):
    plain_clip = scene.drawn(moving)
    assert filmed(moving, strength="0") is moving
    assert torch.equal(scene.run(filmed(moving, file="nothing")), plain_clip)
    assert torch.equal(scene.run(filmed(moving, start_percent=0.6, end_percent=0.9)), plain_clip)


def test_it_counts_in_its_part_of_sampling(scene, moving, filmed):
    early = scene.run(filmed(moving, end_percent=0.4))
    assert apart(early, scene.drawn(moving)) > 0.003
    assert apart(early, scene.run(filmed(moving))) > 0.003


def test_strengths_are_factors_by_frame(scene, moving, filmed):
    near(scene.run(filmed(moving, strength="1, 1, 1, 1")), scene.run(filmed(moving)))
    some = scene.run(filmed(moving, strength="0: 1, -1: 0"))
    assert apart(some, scene.run(filmed(moving))) > 0.001


def test_both_prompts_see_the_cameras(scene, moving, filmed):
    """Of two equal prompts, guidance changes nothing, in either order."""
    model = filmed(moving)
    alone = scene.run(model, cfg=1.0)
    near(scene.run(model, cfg=7.0, negative=scene.positive), alone)
    turned = scene.run(model, positive=scene.negative, negative=scene.positive, cfg=-2.0)
    near(turned, scene.run(model, cfg=3.0))


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_in_parts_the_clip_is_the_same(scene, demo, motion, filmed, at_once):
    whole = scene.run(filmed(scene.moving(demo[0], motion)))
    parts = scene.port.install(demo[0], motion_edit("test", motion, None, at_once))
    near(scene.run(filmed(parts)), whole)


@pytest.mark.parametrize("order", ["windows last", "windows first"])
def test_in_context_windows_each_is_a_clip_of_its_own(scene, demo, moving, filmed, order):
    """Two windows side by side: each is drawn as a clip of its frames alone, whose camera begins to move."""
    plan, moves = WindowPlan(4, 0), "pan left 3, zoom in"
    if order == "windows last":
        model = scene.windowed(filmed(moving, moves, frames=8), plan)
    else:
        model = filmed(scene.windowed(moving, plan), moves, frames=8)
    noise = scene.noise(8)
    drawn = scene.run(model, noise=noise, frames=8)
    for first in (0, 4):
        near(drawn[first : first + 4], scene.run(filmed(moving, moves), noise=noise[first : first + 4]))


def test_it_goes_with_motion_strength(port, scene, demo, motion, filmed):
    """A frame in which the module does nothing is the model's alone, whatever its camera."""
    from frameloom.nodes.motion.strength import MotionStrength

    settings = {
        "frames": FRAMES,
        "strength": "1: 1, 2: 1",
        "between": "these alone",
        "by_step": "1",
        "scale": 1.0,
    }
    varied = port.install(demo[0], motion_edit("test", MotionStrength.execute(motion, **settings)[0]))
    drawn, alone = scene.run(filmed(varied)), scene.drawn(demo[0])
    near(drawn[0], alone[0])
    assert apart(drawn[1], scene.run(varied)[1]) > 0.003


def test_it_goes_with_free_noise(scene, moving, filmed):
    from frameloom.models.edits.edit import Edit

    free = WindowFusion(4, 2)
    model = scene.port.install(moving, Edit("Free Noise", time=free))
    plain_clip = scene.run(model, frames=6)
    near(scene.run(filmed(model, file="nothing", frames=6), frames=6), plain_clip)
    assert apart(scene.run(filmed(model, frames=6), frames=6), plain_clip) > 0.003


@pytest.mark.parametrize("size", [(9, 8), (11, 13)])
def test_sizes_that_64_does_not_divide_are_drawn(scene, moving, filmed, size):
    noise = draw(FRAMES, 4, *size)
    assert apart(scene.run(filmed(moving), noise=noise), scene.run(moving, noise=noise)) > 0.003


def test_a_clip_longer_than_the_encoder_knows(scene, moving, filmed):
    drawn = scene.run(filmed(moving, frames=20), frames=20)
    assert apart(drawn, scene.drawn(moving, frames=20)) > 0.003


def test_a_longer_clip_than_there_are_poses_is_refused(scene, moving, filmed):
    with pytest.raises(ValueError, match="poses: got frame 3 of a clip with 2 poses"):
        scene.run(filmed(moving, frames=2))


def test_a_model_without_a_motion_module_is_refused(scene, demo, filmed):
    with pytest.raises(ValueError, match="Apply CameraCtrl: got a model without a motion module"):
        scene.run(filmed(demo[0]))


def test_another_file_is_named(moving, filmed):
    with pytest.raises(
        CheckpointError, match=r"module.safetensors is an AnimateDiff motion module; expected CameraCt"
    ):
        filmed(moving, file="module")


def test_its_file_is_named_where_a_motion_module_belongs(port, files, monkeypatch):
    from frameloom.nodes.motion.modules import MotionModuleLoader

    monkeypatch.setattr(type(port), "resolve", lambda _, kind, name: files[name])
    said = r"camera.safetensors is CameraCtrl's camera encoder; .* choose this file in Apply CameraCtrl"
    with pytest.raises(CheckpointError, match=said):
        MotionModuleLoader.execute("camera")
    assert "Apply CameraCtrl" in MotionModuleLoader.validate_inputs("camera")


def test_keys_of_finished_work_tell_cameras_apart(port, moving, filmed):
    models = [
        moving,
        filmed(moving),
        filmed(moving, "pan right"),
        filmed(moving, strength="0.5"),
        filmed(moving),
    ]
    keys = [hash_settings(edits=plain(port.edits(model))) for model in models]
    assert len(set(keys)) == 4
    assert keys[1] == keys[4]
