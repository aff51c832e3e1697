"""Every layout of a motion module is read to the same weights, and its version told."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import MotionAdapter, UNet2DConditionModel
from frameloom.models.errors import CheckpointError
from frameloom.models.motion.checkpoint import (
    MID_SLOT,
    MotionWeights,
    check_fit,
    read_motion_weights,
    to_diffusers,
)
from frameloom.models.motion.module import MotionModel, positional_encoding
from frameloom.models.video.schedules import ANIMATEDIFF, STABLE_DIFFUSION, BetaSchedule
from frameloom.tests.support.motion import save, tiny_module, tiny_size, tiny_state


def assert_equal_states(left, right):
    assert set(left) == set(right)
    assert all(torch.equal(left[key], right[key]) for key in left)


def without_encodings(state):
    return {key: value for key, value in state.items() if not key.endswith(".pe")}


@pytest.mark.parametrize(
    ("middle", "max_frames", "family", "clip_norm"),
    [
        (False, 24, "v1", True),
        (True, 32, "v2", False),
        (False, 32, "v3", False),
        (True, 64, "animatelcm", False),
    ],
)
def test_the_version_is_told_from_the_keys(tmp_path, middle, max_frames, family, clip_norm):
    state = tiny_state(middle=middle, max_frames=max_frames)
    weights = read_motion_weights(save(tmp_path / "mm.safetensors", state))
    assert (weights.family, weights.clip_norm, weights.beta_schedule) == (family, clip_norm, ANIMATEDIFF)
    assert weights.size == tiny_size(middle=middle, max_frames=max_frames)
    assert weights.name == "mm.safetensors"
    assert_equal_states(weights.state, state)


def test_a_module_without_encodings_is_animatelcm_and_gets_those_of_64_frames(tmp_path):
    state = without_encodings(tiny_state())
    weights = read_motion_weights(save(tmp_path / "lcm.safetensors", state))
    assert (weights.family, weights.size.max_frames) == ("animatelcm", 64)
    encoding = weights.state[
        f"{MID_SLOT}.temporal_transformer.transformer_blocks.0.attention_blocks.1.pos_encoder.pe"
    ]
    assert torch.equal(encoding, positional_encoding(64, 64))
    MotionModel(weights.size).load_state_dict(dict(weights.state))


def test_the_encoding_of_fewer_frames_is_a_prefix():
    assert torch.equal(positional_encoding(64, 32)[:, :24], positional_encoding(24, 32))


def test_our_metadata_wins_over_the_keys(tmp_path):
    metadata = {
        "frameloom.kind": "motion",
        "frameloom.family": "frameloom",
        "frameloom.beta_schedule": "linear",
    }
    weights = read_motion_weights(save(tmp_path / "ours.safetensors", tiny_state(), metadata))
    assert (weights.family, weights.beta_schedule) == ("frameloom", STABLE_DIFFUSION)


def test_our_metadata_without_a_schedule_means_the_models_own(tmp_path):
    path = save(tmp_path / "ours.safetensors", tiny_state(), {"frameloom.kind": "motion"})
    assert read_motion_weights(path).beta_schedule is None


def test_metadata_of_a_later_version_is_refused(tmp_path):
    path = save(
        tmp_path / "new.safetensors", tiny_state(), {"frameloom.kind": "motion", "frameloom.family": "v9"}
    )
    with pytest.raises(
        CheckpointError, match=r"new.safetensors: its metadata says family='v9'.*newer Frameloom"
    ):
        read_motion_weights(path)


def unet_state():
    """Keys of a whole diffusers UNet, which AnimateDiff's trainer saves along."""
    unet = UNet2DConditionModel(
        block_out_channels=(32, 64, 64, 64), layers_per_block=1, cross_attention_dim=8, norm_num_groups=32
    )
    return unet.state_dict()


@pytest.mark.parametrize("nested", [False, True])
def test_a_ddp_saved_whole_unet_keeps_only_motion_keys(tmp_path, nested):
    state = tiny_state()
    everything = {"module." + key: value for key, value in (unet_state() | state).items()}
    content = {"epoch": 3, "global_step": 100, "state_dict": everything} if nested else everything
    torch.save(content, tmp_path / "trained.ckpt")
    weights = read_motion_weights(tmp_path / "trained.ckpt")
    assert weights.family == "v2"
    assert_equal_states(weights.state, state)


def test_a_pickle_with_plain_settings_beside_the_weights_is_read(tmp_path):
    torch.save({"animatediff_config": {"frames": 16}, "state_dict": tiny_state()}, tmp_path / "mm.ckpt")
    assert_equal_states(read_motion_weights(tmp_path / "mm.ckpt").state, tiny_state())


def test_a_legacy_torch_file_is_read(tmp_path):
    torch.save(tiny_state(), tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    assert_equal_states(read_motion_weights(tmp_path / "old.ckpt").state, tiny_state())


def weights_of(module: MotionModel) -> MotionWeights:
    return MotionWeights("mm.safetensors", "v2", module.size, module.state_dict(), ANIMATEDIFF)


@pytest.mark.parametrize("middle", [True, False])
@pytest.mark.parametrize("how", ["folder", "file of folder", "file", "pickle folder"])
def test_diffusers_adapters_round_trip_without_loss(tmp_path, middle, how):
    module = tiny_module(middle=middle)
    state, config = to_diffusers(weights_of(module))
    adapter = MotionAdapter(**config)
    adapter.load_state_dict(state)
    adapter.save_pretrained(tmp_path / "adapter", safe_serialization=how != "pickle folder")
    path = tmp_path / "adapter"
    if how == "file of folder":
        path = path / "diffusion_pytorch_model.safetensors"
    if how == "file":
        path = (path / "diffusion_pytorch_model.safetensors").rename(tmp_path / "adapter.safetensors")
    weights = read_motion_weights(path)
    assert weights.family == ("v2" if middle else "v3")
    assert weights.size == module.size
    assert_equal_states(weights.state, module.state_dict())
    again, _ = to_diffusers(weights)
    assert_equal_states(again, adapter.state_dict())


def test_to_diffusers_refuses_two_different_encodings_in_one_block():
    module = tiny_module()
    module.transformer(MID_SLOT).transformer_blocks[0].attention_blocks[1].pos_encoder.pe.zero_()
    with pytest.raises(CheckpointError, match=r"attention_blocks.1.pos_encoder.pe differs.*keep this module"):
        to_diffusers(weights_of(module))


def test_a_folders_config_gives_heads(tmp_path):
    module = tiny_module()
    state, config = to_diffusers(weights_of(module))
    save(tmp_path / "diffusion_pytorch_model.safetensors", state)
    (tmp_path / "config.json").write_text(json.dumps({**config, "motion_num_attention_heads": 4}))
    assert read_motion_weights(tmp_path).size.heads == 4


@pytest.mark.parametrize("heads", [0, "many", None, 2.5])
def test_a_folders_config_without_a_number_of_heads_is_refused(tmp_path, heads):
    state, config = to_diffusers(weights_of(tiny_module()))
    save(tmp_path / "diffusion_pytorch_model.safetensors", state)
    (tmp_path / "config.json").write_text(json.dumps({**config, "motion_num_attention_heads": heads}))
    with pytest.raises(
        CheckpointError, match=rf"motion_num_attention_heads is '{heads}'; expected a whole number"
    ):
        read_motion_weights(tmp_path)


def test_half_precision_stays_half(tmp_path):
    state = {key: value.half() for key, value in tiny_state().items()}
    weights = read_motion_weights(save(tmp_path / "mm.safetensors", state))
    assert {value.dtype for value in weights.state.values()} == {torch.float16}


def test_parameters_of_sd15_are_animatediffs_and_diffusers():
    channels = {"down": (320, 640, 1280, 1280), "up": (1280, 1280, 640, 320)}
    size = tiny_size(middle=False)
    size = type(size)({slot: channels[slot.split("_")[0]][int(slot.split(".")[1])] for slot in size.channels})
    count = sum(parameter.numel() for parameter in MotionModel(size, device="meta").parameters())
    assert count == sum(22 * width**2 + 21 * width for width in size.channels.values()) == 417_137_600
    with torch.device("meta"):
        adapter = MotionAdapter(use_motion_mid_block=False)
    assert sum(parameter.numel() for parameter in adapter.parameters()) == count


def test_a_module_of_another_width_does_not_fit():
    weights = weights_of(tiny_module())
    check_fit(weights, tiny_size().channels)
    with pytest.raises(
        CheckpointError, match=r"down_blocks.0.motion_modules.0 is 32 channels wide, the model has 64"
    ):
        check_fit(weights, tiny_size(width=64).channels)


def test_the_schedules_sigmas_are_the_published_ones():
    # techniques: sigma of the last timestep, 0.00085 to 0.012
    assert float(BetaSchedule("sqrt_linear").sigmas()[-1]) == pytest.approx(25.146, abs=1e-3)
    assert float(BetaSchedule("linear").sigmas()[-1]) == pytest.approx(14.615, abs=1e-3)
