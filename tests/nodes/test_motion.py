"""The motion nodes, from a file to an edit on a model."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.errors import CheckpointError
from frameloom.models.video.schedules import ANIMATEDIFF, STABLE_DIFFUSION
from frameloom.tests.support.motion import save, tiny_state


@pytest.fixture
def motion(nodes):
    return nodes["MotionModuleLoader"].execute("mine.safetensors")[0]


@pytest.fixture
def model(nodes):
    return nodes["DemoModelLoader"].execute()[0]


def apply(nodes, model, motion, **inputs):
    defaults = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "beta_schedule": "auto"}
    return nodes["ApplyMotionModule"].execute(model, motion, **(defaults | inputs))[0]


def test_frames_at_once_are_a_part_of_the_edit_and_0_leaves_them_to_the_host(nodes, model, motion):
    (few,), (any_,) = (apply(nodes, model, motion, frames_at_once=number).edits for number in (4, 0))
    assert few.chunks.frames == 4
    assert any_.chunks is None


def test_a_loaded_module_runs(motion):
    assert motion.weights.family == "v2"
    x = torch.randn(8, 32, 4, 4, generator=torch.Generator().manual_seed(0))
    assert (motion.network("down_blocks.0.motion_modules.0", x, 8, 1.0) - x).abs().max() > 0.01


def test_a_replaced_file_has_another_fingerprint(nodes, host):
    loader = nodes["MotionModuleLoader"]
    before = loader.fingerprint_inputs("mine.safetensors")
    assert loader.fingerprint_inputs("mine.safetensors") == before
    save(host.models_dir / "animatediff_models" / "mine.safetensors", tiny_state(seed=1), {"a": "b"})
    assert loader.fingerprint_inputs("mine.safetensors") != before


def test_a_replaced_lora_has_another_fingerprint(nodes, host):
    loader = nodes["MotionLoRALoader"]
    before = loader.fingerprint_inputs(file="pan.safetensors", strength=1.0)
    save(host.models_dir / "animatediff_motion_lora" / "pan.safetensors", {"a": torch.zeros(1)})
    assert loader.fingerprint_inputs(file="pan.safetensors", strength=1.0) != before


def test_loras_stack_with_their_signs_and_leave_the_module_as_it_was(nodes, motion):
    add = nodes["MotionLoRALoader"].execute
    key = (
        "mid_block.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0.to_q.weight"
    )

    def weight(loaded):
        return loaded.network.state_dict()[key]

    plain = weight(motion).clone()
    twice = add(add(motion, "pan.safetensors", 0.5)[0], "pan.safetensors", 0.25)[0]
    once = add(motion, "pan.safetensors", 0.75)[0]
    # fp32 sums in another order
    torch.testing.assert_close(weight(twice), weight(once), atol=1e-5, rtol=1e-5)
    back = add(once, "pan.safetensors", -0.75)[0]
    torch.testing.assert_close(weight(back), plain, atol=1e-5, rtol=1e-5)
    assert (weight(once) - plain).abs().max() > 0.1
    assert torch.equal(weight(motion), plain)


def test_a_lora_of_strength_zero_is_the_module_itself(nodes, motion):
    assert nodes["MotionLoRALoader"].execute(motion, "pan.safetensors", 0.0)[0] is motion


def test_a_lora_of_another_base_is_refused_by_name(nodes, motion):
    with pytest.raises(
        CheckpointError, match=r"wide.safetensors: .* is \(64, 64\), mine.safetensors has \(32, 32\)"
    ):
        nodes["MotionLoRALoader"].execute(motion, "wide.safetensors", 1.0)


def test_files_of_the_wrong_folder_are_named(nodes, host, motion):
    save(host.models_dir / "animatediff_motion_lora" / "module.safetensors", tiny_state())
    with pytest.raises(CheckpointError, match=r"module.safetensors is an AnimateDiff motion module"):
        nodes["MotionLoRALoader"].execute(motion, "module.safetensors", 1.0)


@pytest.mark.parametrize("name", ["../../secret.safetensors", "absent.safetensors"])
def test_files_outside_the_list_are_refused(nodes, name):
    with pytest.raises(ValueError, match="animatediff_models"):
        nodes["MotionModuleLoader"].execute(name)


def test_apply_installs_one_edit_on_a_clone(nodes, model, motion):
    patched = apply(nodes, model, motion, strength=0.8, start_percent=0.1, end_percent=0.9)
    assert model.edits == ()
    (edit,) = patched.edits
    assert (edit.slots.motion, edit.slots.strength) == (motion, 0.8)
    assert (edit.slots.start_percent, edit.slots.end_percent) == (0.1, 0.9)


@pytest.mark.parametrize(
    ("choice", "schedule"),
    [
        ("auto", ANIMATEDIFF),
        ("sqrt_linear (AnimateDiff)", ANIMATEDIFF),
        ("linear (Stable Diffusion)", STABLE_DIFFUSION),
        ("use model's own", None),
    ],
)
def test_the_beta_schedule_is_the_chosen_one_and_auto_the_modules(nodes, model, motion, choice, schedule):
    assert apply(nodes, model, motion, beta_schedule=choice).edits[0].schedule == schedule


def test_strength_zero_returns_the_model_itself_schedule_included(nodes, model, motion):
    assert apply(nodes, model, motion, strength=0.0) is model


def test_a_start_after_the_end_is_refused(nodes, model, motion):
    with pytest.raises(ValueError, match=r"start_percent=0.8 is after end_percent=0.2"):
        apply(nodes, model, motion, start_percent=0.8, end_percent=0.2)


def test_a_module_of_another_width_is_refused(nodes, host, model):
    save(host.models_dir / "animatediff_models" / "wide.safetensors", tiny_state(width=64))
    wide = nodes["MotionModuleLoader"].execute("wide.safetensors")[0]
    with pytest.raises(
        CheckpointError, match=r"wide.safetensors: down_blocks.0.* is 64 channels wide.* has 32"
    ):
        apply(nodes, model, wide)
