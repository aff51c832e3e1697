"""What every host promises of MotionCtrl's camera: the prompt sees it, the negative one does not."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.errors import CheckpointError
from frameloom.models.files.keys import hash_settings, plain
from frameloom.models.long_video.free_noise import WindowFusion
from frameloom.models.motion.camera_moves import move_camera, parse_moves
from frameloom.models.motion.edit import motion_edit
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.support.motion import save
from frameloom.tests.support.motion_ctrl import tiny_motion_ctrl
from frameloom.tests.support.scene import FRAMES
from frameloom.tests.support.tensors import apart


@pytest.fixture
def files(port, motion, tmp_path, monkeypatch):
    """A file for the demo's motion module, and one of another kind; as the host finds them."""
    found = {
        "ctrl": save(tmp_path / "ctrl.safetensors", tiny_motion_ctrl(motion.weights.state)),
        "module": save(tmp_path / "module.safetensors", dict(motion.weights.state)),
    }
    monkeypatch.setattr(type(port), "resolve", lambda _, kind, name: found[name])
    return found


@pytest.fixture
def filmed(motion, files):
    """Give a module a camera, by the node."""

    def go(moves="pan left 3, roll clockwise", frames=FRAMES, file="ctrl", module=motion):
        from frameloom.nodes.motion.motion_ctrl import MotionCtrlCamera

        return MotionCtrlCamera.execute(module, file, move_camera(frames, parse_moves(moves))).args[0]

    return go


@pytest.fixture
def drawn(scene, demo, filmed):
    def go(*args, cfg=3.0, frames=FRAMES, noise=None, **settings):
        module = filmed(*args, frames=frames, **settings)
        return scene.run(scene.moving(demo[0], module), cfg=cfg, frames=frames, noise=noise)

    return go


def near(one, other):
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("frames", [3, 4])
def test_cameras_change_the_clip_and_others_change_it_otherwise(scene, moving, drawn, frames):
    plain_clip = scene.drawn(moving, frames)
    left = drawn(frames=frames)
    assert apart(left, plain_clip) > 0.01
    assert apart(left, drawn("static", frames=frames)) > 0.003
    assert torch.equal(drawn(frames=frames), left)
    assert torch.equal(scene.run(moving, frames=frames), plain_clip)


def test_the_negative_prompt_is_told_no_camera(drawn):
    near(drawn("pan left 3", cfg=0.0), drawn("roll clockwise 2", cfg=0.0))
    assert apart(drawn("pan left 3", cfg=1.0), drawn("roll clockwise 2", cfg=1.0)) > 0.003


@pytest.mark.parametrize("at_once", [1, 3])
def test_in_parts_the_clip_is_the_same(scene, demo, filmed, drawn, at_once):
    model = scene.port.install(demo[0], motion_edit("test", filmed(), None, at_once))
    near(scene.run(model), drawn())


def test_in_context_windows_each_is_a_clip_of_its_own(scene, demo, filmed, drawn):
    moves = "pan left 3, zoom in"
    model = scene.windowed(scene.moving(demo[0], filmed(moves, frames=8)), WindowPlan(4, 0))
    noise = scene.noise(8)
    clip = scene.run(model, noise=noise, frames=8)
    for first in (0, 4):
        near(clip[first : first + 4], drawn(moves, noise=noise[first : first + 4]))


def test_it_goes_with_motion_strength_and_free_noise(scene, demo, filmed):
    """A frame in which the module does nothing is the model's alone, whatever its camera."""
    from frameloom.models.edits.edit import Edit
    from frameloom.nodes.motion.strength import MotionStrength

    settings = {"strength": "1: 1, 2: 1", "between": "these alone", "by_step": "1", "scale": 1.0}
    varied = MotionStrength.execute(filmed(), frames=FRAMES, **settings)[0]
    clip, alone = scene.run(scene.moving(demo[0], varied)), scene.drawn(demo[0])
    near(clip[0], alone[0])
    assert apart(clip[1], alone[1]) > 0.003
    long = [scene.moving(demo[0], filmed(moves, frames=6)) for moves in ("static", "pan left 3")]
    free = [
        scene.run(scene.port.install(each, Edit("Free Noise", time=WindowFusion(4, 2))), frames=6)
        for each in long
    ]
    assert apart(*free) > 0.003


def test_motion_loras_stay_on_the_module(port, motion, filmed):
    from frameloom.models.motion.lora import MotionLoRA

    key = next(key for key in motion.weights.state if key.endswith("attention_blocks.0.to_q.weight"))
    width = len(motion.weights.state[key])
    lora = MotionLoRA("a.safetensors", {key: (torch.ones(1, width), torch.ones(width, 1))})
    assert len(filmed(module=motion.with_lora(lora, 0.5)).loras) == 1


def test_a_longer_clip_than_there_are_poses_is_refused(scene, demo, filmed):
    with pytest.raises(ValueError, match="poses: got frame 3 of a clip with 2 poses"):
        scene.run(scene.moving(demo[0], filmed(frames=2)))


def test_files_of_other_kinds_are_named(filmed, files):
    from frameloom.nodes.motion.modules import MotionModuleLoader

    with pytest.raises(
        CheckpointError, match=r"module.safetensors is an AnimateDiff motion module; expected Motion"
    ):
        filmed(file="module")
    said = r"ctrl.safetensors is MotionCtrl's camera module .* choose this file in MotionCtrl Camera"
    with pytest.raises(CheckpointError, match=said):
        MotionModuleLoader.execute("ctrl")


def test_keys_of_finished_work_tell_cameras_apart(port, scene, demo, moving, filmed):
    models = [
        moving,
        *(scene.moving(demo[0], filmed(moves)) for moves in ("pan left", "pan right", "pan left")),
    ]
    keys = [hash_settings(edits=plain(port.edits(model))) for model in models]
    assert len(set(keys)) == 3
    assert keys[1] == keys[3]
