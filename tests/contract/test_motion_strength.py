"""What every host promises of Motion Strength: a frame, a step or a place of strength 0 is the model's alone."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.files.keys import hash_settings, plain
from frameloom.models.long_video.free_noise import WindowFusion
from frameloom.models.motion.edit import motion_edit
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.support.scene import FRAMES
from frameloom.tests.support.tensors import apart

PLAIN = {"frames": FRAMES, "strength": "1", "between": "linear", "by_step": "1", "scale": 1.0}


@pytest.fixture
def varied(port, demo, motion):
    """Return the demo model with its motion module, at a strength that changes."""

    def go(module=None, frames_at_once=0, **settings):
        from frameloom.nodes.motion.strength import MotionStrength

        varying = MotionStrength.execute(motion if module is None else module, **{**PLAIN, **settings}).args[
            0
        ]
        return port.install(demo[0], motion_edit("test", varying, None, frames_at_once))

    return go


def near(one, other):
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_one_strength_for_all_is_the_modules(scene, demo, motion, varied):
    for strength in (1.0, 0.5):
        near(scene.run(varied(strength=str(strength))), scene.run(scene.moving(demo[0], motion, strength)))


@pytest.mark.parametrize("kind", ["whole", "chunks", "windows"])
def test_a_frame_of_strength_0_is_the_models_alone_and_others_are_not(scene, demo, varied, kind):
    model = varied(
        strength="1: 1, 2: 0.5", between="these alone", frames_at_once=2 if kind == "chunks" else 0
    )
    if kind == "windows":
        model = scene.windowed(model, WindowPlan(3, 2))
    drawn, alone = scene.run(model), scene.drawn(demo[0])
    for frame in range(FRAMES):
        if frame in (1, 2):
            assert apart(drawn[frame], alone[frame]) > 0.01
        else:
            near(drawn[frame], alone[frame])
    if kind == "chunks":
        near(drawn, scene.run(varied(strength="1: 1, 2: 0.5", between="these alone")))


def test_a_place_of_strength_0_and_a_step(scene, demo, motion, varied):
    near(scene.run(varied(mask=torch.zeros(1, 64, 64))), scene.drawn(demo[0]))
    mask = torch.zeros(FRAMES, 8, 8)
    mask[1] = 1
    near(scene.run(varied(mask=mask)), scene.run(varied(strength="1: 1", between="these alone")))
    near(scene.run(varied(by_step="0: 1, 0.4: 0")), scene.run(scene.moving(demo[0], motion, end_percent=0.4)))


def test_attention_of_scale_0_looks_at_all_frames_alike_and_of_1_as_ever(scene, demo, motion, varied):
    """Of queries that are nothing, which is the module with its queries' weights at 0."""
    from dataclasses import replace

    queries = {key: value * 0 for key, value in motion.weights.state.items() if ".to_q." in key}
    blind = scene.port.load_motion(replace(motion.weights, state={**motion.weights.state, **queries}))
    near(scene.run(varied(scale=0.0)), scene.run(scene.moving(demo[0], blind)))
    assert apart(scene.run(varied(scale=0.5)), scene.run(varied())) > 0.01


def test_a_scale_for_all_frames_is_the_number(scene, varied):
    near(scene.run(varied(scale=2.0, scale_by_frame="0.25")), scene.run(varied(scale=0.5)))


@pytest.mark.parametrize("kind", ["windows", "free noise"])
def test_a_scale_is_of_the_frame_that_is_looked_at_also_in_windows(port, scene, varied, kind):
    """Windows without overlap are clips by themselves."""
    cut = {
        "windows": Edit("test", windows=WindowPlan(2, 0)),
        "free noise": Edit("test", time=WindowFusion(2, 2)),
    }
    model = port.install(varied(scale_by_frame="1: 1, 2: 0.2"), cut[kind])
    halves = zip((1.0, 0.2), scene.noise().split(2), strict=True)
    clips = [scene.run(varied(scale=scale), noise=noise) for scale, noise in halves]
    near(scene.run(model), torch.cat(clips))
    assert apart(scene.run(varied(scale_by_frame="1: 1, 2: 0.2")), scene.run(varied())) > 0.01


def test_it_stays_when_a_lora_is_added_later(port, scene, motion, varied):
    from frameloom.models.motion.lora import read_motion_lora
    from frameloom.nodes.motion.strength import MotionStrength

    lora = read_motion_lora(port.resolve("animatediff_motion_lora", "frameloom_demo_pan_left.safetensors"))
    first = varied(motion.with_lora(lora, 1.0), strength="0: 1, -1: 0")
    varying = MotionStrength.execute(motion, **{**PLAIN, "strength": "0: 1, -1: 0"}).args[0]
    later = scene.moving(first, varying.with_lora(lora, 1.0))
    assert port.edits(later)[-1].slots.varying is varying.varying
    alone = varied(strength="0: 1, -1: 0")
    assert apart(scene.run(first), scene.run(alone)) > 0.01


def test_keys_of_finished_work_tell_strengths_apart(port, scene, demo, motion, varied):
    models = [scene.moving(demo[0], motion), *(varied(strength=each) for each in ("1", "0.5", "0.5"))]
    keys = [hash_settings(edits=plain(port.edits(model))) for model in models]
    assert len(set(keys)) == 3
    assert keys[2] == keys[3]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"strength": "0: x"}, "strength: got '0: x'"),
        ({"by_step": "2: 1"}, "by_step: got 2"),
        ({"scale_by_frame": "1, -1"}, "scale_by_frame: got -1"),
    ],
)
def test_what_is_no_strength_is_refused(varied, settings, said):
    with pytest.raises(ValueError, match=said):
        varied(**settings)
