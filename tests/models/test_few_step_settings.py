"""What tells a few-step motion module: its name, its metadata, its keys."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from frameloom.models.errors import CheckpointError
from frameloom.models.motion.checkpoint import describe_motion_weights, read_motion_weights
from frameloom.models.motion.few_steps import (
    CONSISTENCY,
    FewStepSettings,
    choose_settings,
    find_few_steps,
    trailing,
)
from frameloom.models.motion.lora import read_motion_lora
from frameloom.models.motion.save import save_motion
from frameloom.tests.support.motion import save, tiny_lora, tiny_state, tiny_weights


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("animatediff_lightning_4step_comfyui.safetensors", FewStepSettings(4)),
        ("AnimateDiff-Lightning-8steps.safetensors", FewStepSettings(8)),
        ("mm_sd_v15_v2.safetensors", None),
        ("lightning.safetensors", None),
        ("lightning_0step.safetensors", None),
        ("lightning_99999999step.safetensors", None),
    ],
)
def test_a_lightning_file_is_told_by_its_name(tmp_path, name, settings):
    assert read_motion_weights(save(tmp_path / name, tiny_state())).few_steps == settings


def test_animatelcm_is_told_by_its_keys(tmp_path):
    state = {key: value for key, value in tiny_state().items() if "pos_encoder" not in key}
    weights = read_motion_weights(save(tmp_path / "sd15_t2v_beta.safetensors", state))
    assert weights.few_steps == CONSISTENCY
    save_motion(tmp_path / "again.safetensors", weights)
    assert read_motion_weights(tmp_path / "again.safetensors").few_steps == CONSISTENCY


@pytest.mark.parametrize("without", ["pos_encoder", "mid_block", "nothing"])
def test_a_file_is_described_as_it_is_read(tmp_path, without):
    state = {key: value for key, value in tiny_state().items() if without not in key}
    path = save(tmp_path / "lightning_2step.safetensors", state)
    read, described = read_motion_weights(path), describe_motion_weights(path)
    assert described.few_steps == read.few_steps
    assert replace(described, state={}) == replace(read, state={})
    assert {key: tensor.shape for key, tensor in described.state.items()} == {
        key: tensor.shape for key, tensor in read.state.items()
    }


@pytest.mark.parametrize("steps", [4, 5, 6, 8])
def test_animatelcm_begins_its_steps_where_its_own_scheduler_does(steps):
    """With its authors' 100 steps of distillation; ComfyUI's sgm_uniform is a few timesteps off."""
    from diffusers import LCMScheduler

    scheduler = LCMScheduler(beta_schedule="linear", beta_end=0.012, original_inference_steps=100)
    scheduler.set_timesteps(steps)
    assert (trailing(steps) - scheduler.timesteps).abs().max() <= 7


def test_what_was_taught_here_is_told_by_the_file(tmp_path):
    """A module's and a LoRA's; metadata counts before the name."""
    path = tmp_path / "lightning_8step.safetensors"
    save_motion(path, replace(tiny_weights(), few_steps=FewStepSettings(4)))
    assert read_motion_weights(path).few_steps == FewStepSettings(4)
    lora = read_motion_lora(save(tmp_path / "plain.safetensors", tiny_lora()))
    assert lora.few_steps is None
    save_motion(path, replace(lora, few_steps=FewStepSettings(2)))
    assert read_motion_lora(path).few_steps == FewStepSettings(2)


@pytest.mark.parametrize("value", ["0", "17", "four", "4.0", "", "9" * 5000, "00041"])
def test_metadata_that_is_no_number_of_steps_is_refused(tmp_path, value):
    metadata = {"frameloom.kind": "motion", "frameloom.few_steps": value}
    with pytest.raises(CheckpointError, match="expected a number of steps from 1 to 16"):
        read_motion_weights(save(tmp_path / "mm.safetensors", tiny_state(), metadata))
    metadata["frameloom.kind"] = "motion_lora"
    with pytest.raises(CheckpointError, match="expected a number of steps from 1 to 16"):
        read_motion_lora(save(tmp_path / "lora.safetensors", tiny_lora(), metadata))


def loaded(few_steps=None, *loras):
    weights = SimpleNamespace(name="mm.safetensors", few_steps=few_steps)
    named = [
        (SimpleNamespace(name=f"{n}.safetensors", few_steps=few), at) for n, (few, at) in enumerate(loras)
    ]
    return SimpleNamespace(weights=weights, loras=named)


def test_the_last_lora_that_says_it_counts_unless_it_is_off():
    two, four = FewStepSettings(2), FewStepSettings(4)
    assert find_few_steps(loaded(four, (two, 1.0), (None, 1.0))) == ("0.safetensors", two)
    assert find_few_steps(loaded(four, (two, 0.0))) == ("mm.safetensors", four)
    assert find_few_steps(loaded()) == ("mm.safetensors", None)


@pytest.mark.parametrize(
    ("motions", "steps", "said"),
    [
        ([], 4, "got a model without a motion module; .* comes out of Apply Motion Module"),
        ([loaded()], 0, "mm.safetensors does not say .* set steps to the number that it was made for"),
        ([loaded(FewStepSettings(4))], 8, "got steps=8 for mm.safetensors; expected 4"),
        ([loaded(CONSISTENCY)], 20, "got steps=20 for mm.safetensors; expected up to 8"),
    ],
)
def test_what_has_no_settings_is_refused(motions, steps, said):
    with pytest.raises(ValueError, match=said):
        choose_settings([find_few_steps(motion) for motion in motions], steps)
