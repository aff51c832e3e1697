"""What every host promises of Motion LoRA Schedule: each frame has a motion LoRA at its own strength."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.files.keys import hash_settings, plain
from frameloom.models.layout.energy import BoxEnergy
from frameloom.models.long_video.free_noise import WindowFusion
from frameloom.models.motion.edit import motion_edit
from frameloom.models.motion.lora import read_motion_lora
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.support.scene import FRAMES
from frameloom.tests.support.tensors import apart

FILE = "frameloom_demo_pan_left.safetensors"
SECOND_HALF = "3: 0, 4: 1"


@pytest.fixture
def scheduled(motion):
    """Return the demo's motion module with its pan at a strength that changes."""

    def go(strength="1", module=None, file=FILE, between="linear", by_step="1", **more):
        from frameloom.nodes.motion.lora_schedule import MotionLoRASchedule

        given = motion if module is None else module
        return MotionLoRASchedule.execute(given, file, 2 * FRAMES, strength, between, by_step, **more).args[0]

    return go


@pytest.fixture
def merged(port, motion):
    """Return the demo's motion module with its pan merged into it."""
    pan = read_motion_lora(port.resolve("animatediff_motion_lora", FILE))
    return lambda strength=1.0, module=motion: module.with_lora(pan, strength)


def near(one, other, tolerance=1e-5):
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("strength", [1.0, -0.7])
def test_one_strength_for_all_is_the_lora_merged(scene, demo, motion, scheduled, merged, strength):
    one, other = (
        scene.predict(scene.moving(demo[0], each)) for each in (scheduled(str(strength)), merged(strength))
    )
    near(one, other)
    assert apart(one, scene.predict(scene.moving(demo[0], motion))) > 0.001


def test_strength_0_is_bit_identical_to_no_lora(scene, demo, motion, moving, scheduled):
    near(scene.run(scene.moving(demo[0], scheduled("0"))), scene.drawn(moving), 0)
    near(scene.run(scene.moving(demo[0], scheduled(by_step="0: 0"))), scene.drawn(moving), 0)


@pytest.mark.parametrize("kind", ["windows", "free noise"])
def test_frames_keep_their_strength_in_windows(port, scene, demo, moving, scheduled, merged, kind):
    """Windows without overlap are clips by themselves: one without the LoRA, one with all of it."""
    cut = {
        "windows": Edit("test", windows=WindowPlan(4, 0)),
        "free noise": Edit("test", time=WindowFusion(4, 4)),
    }
    model = port.install(scene.moving(demo[0], scheduled(SECOND_HALF)), cut[kind])
    noise = scene.noise(2 * FRAMES)
    without, within = noise.split(FRAMES)
    clips = scene.run(moving, noise=without), scene.run(scene.moving(demo[0], merged()), noise=within)
    near(scene.run(model, noise=noise), torch.cat(clips), 1e-4)


def test_frames_in_chunks_and_in_other_calls_are_the_same(port, scene, demo, scheduled):
    chunks = motion_edit("test", scheduled(SECOND_HALF), None, frames_at_once=3)
    whole = scene.run(scene.moving(demo[0], scheduled(SECOND_HALF)), frames=2 * FRAMES)
    near(scene.run(port.install(demo[0], chunks), frames=2 * FRAMES), whole, 1e-4)


def test_a_place(scene, demo, moving, scheduled, merged):
    mask = torch.zeros(1, 64, 64)
    near(scene.run(scene.moving(demo[0], scheduled(mask=mask))), scene.drawn(moving))
    mask[:, :, 32:] = 1
    half = scene.predict(scene.moving(demo[0], scheduled(mask=mask)))
    whole = scene.predict(scene.moving(demo[0], merged()))
    assert apart(half, whole) > 0.001
    assert apart(half, scene.predict(moving)) > 0.001


def test_a_step_has_its_strength(scene, demo, motion, scheduled, merged):
    """Beside two modules of which one acts until that step, with the LoRA merged into it, and one from there on."""
    both = scene.moving(scene.moving(demo[0], merged(), end_percent=0.4), motion, start_percent=0.41)
    near(scene.run(scene.moving(demo[0], scheduled(by_step="0: 1, 0.4: 0"))), scene.run(both), 1e-4)


def test_several_are_added_beside_merged_ones(scene, demo, scheduled, merged):
    both = scheduled("0.5", module=merged(0.25, scheduled("0.25")))
    near(scene.predict(scene.moving(demo[0], both)), scene.predict(scene.moving(demo[0], merged())))


def test_two_modules_have_each_its_own(scene, demo, motion, scheduled, merged):
    one, other = (
        scene.moving(scene.moving(demo[0], motion, 0.5), each, 0.5) for each in (scheduled(), merged())
    )
    near(scene.predict(one), scene.predict(other))


def test_an_energy_of_cross_attention_takes_its_gradient_through_it(port, scene, demo, scheduled, merged):
    energy = Edit("layout", guide=BoxEnergy(100.0))
    one, other = (port.install(scene.moving(demo[0], each), energy) for each in (scheduled(), merged()))
    near(scene.run(one), scene.run(other), 1e-4)


def test_keys_of_finished_work_tell_schedules_apart(port, scene, demo, scheduled):
    models = [scene.moving(demo[0], scheduled(each)) for each in ("0: 0, -1: 1", "1", "1")]
    keys = [hash_settings(edits=plain(port.edits(model))) for model in models]
    assert keys[1] == keys[2] != keys[0]


def test_it_stays_when_the_module_is_built_again(port, scene, demo, motion, scheduled):
    again = scheduled(SECOND_HALF).with_weights(motion.weights)
    one, other = (
        scene.predict(scene.moving(demo[0], each), frames=2 * FRAMES)
        for each in (again, scheduled(SECOND_HALF))
    )
    assert torch.equal(one, other)


def test_what_can_not_change_is_refused(scheduled, merged, tmp_path):
    from frameloom.nodes.training.save_motion import SaveMotionModule

    with pytest.raises(
        ValueError, match="is a mask adapter or a PIA adapter; expected a motion LoRA without"
    ):
        scheduled(file="frameloom_demo_mask_adapter.safetensors")
    with pytest.raises(ValueError, match="strength: got '0: x'"):
        scheduled("0: x")
    with pytest.raises(ValueError, match="at a strength that changes; expected one number"):
        SaveMotionModule.execute(scheduled(), "frameloom/motion", "module", "output", "fp32")
