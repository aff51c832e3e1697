"""Every layout of a motion module is read to the same weights, and its version told."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import MotionAdapter, UNet2DConditionModel
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from frameloom.models.errors import CheckpointError
from frameloom.models.motion.checkpoint import MID_SLOT, pack_motion, read_motion_weights, to_diffusers
from frameloom.models.motion.module import MotionModel, motion_size
from frameloom.models.network.unet import UNetSize
from frameloom.models.video.schedules import ANIMATEDIFF, ANIMATEDIFF_SDXL, BetaSchedule
from frameloom.tests.support.motion import as_hotshot, equal_states, save, tiny_size, tiny_state, tiny_weights


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
    assert equal_states(weights.state, state)


def test_a_module_without_encodings_is_animatelcm_and_gets_those_of_64_frames(tmp_path):
    state = {key: value for key, value in tiny_state().items() if not key.endswith(".pe")}
    weights = read_motion_weights(save(tmp_path / "lcm.safetensors", state))
    assert (weights.family, weights.size.max_frames) == ("animatelcm", 64)
    encoding = weights.state[
        f"{MID_SLOT}.temporal_transformer.transformer_blocks.0.attention_blocks.1.pos_encoder.pe"
    ]
    torch.testing.assert_close(encoding, SinusoidalPositionalEmbedding(64, 64).pe, rtol=1e-5, atol=1e-5)
    MotionModel(weights.size).load_state_dict(dict(weights.state))


XL = UNetSize(32, (1, 2, 2), context_dim=8, num_heads=2, depths=(0, 2, 2), middle_depth=2)


def sdxl_state():
    torch.manual_seed(0)
    return MotionModel(motion_size(XL)).state_dict()


def test_a_module_for_sdxl_takes_its_own_norms_over_the_clip_and_a_schedule_that_ends_later(tmp_path):
    weights = read_motion_weights(save(tmp_path / "xl.safetensors", sdxl_state()))
    assert (weights.family, weights.beta_schedule) == ("animatediff_sdxl", ANIMATEDIFF_SDXL)
    assert (weights.size.norm_scope, weights.clip_norm) == ("clip", False)
    assert MotionModel(weights.size).transformer("up_blocks.2.motion_modules.2").norm_scope == "clip"
    assert len(weights.size.channels) == 15
    assert equal_states(weights.state, sdxl_state())


def test_hotshotxls_names_are_read_to_the_same_weights_and_the_unets_norms_go_over_the_clip(tmp_path):
    weights = read_motion_weights(save(tmp_path / "hsxl.safetensors", as_hotshot(sdxl_state())))
    assert (weights.family, weights.beta_schedule) == ("hotshotxl", None)
    assert (weights.size.norm_scope, weights.clip_norm) == ("frame", True)
    assert equal_states(weights.state, sdxl_state())


def test_hotshotxl_under_animatediffs_keys_is_told_by_its_shorter_encoding(tmp_path):
    state = {
        key: value[:, :24].clone() if key.endswith(".pe") else value for key, value in sdxl_state().items()
    }
    assert read_motion_weights(save(tmp_path / "mm_sdxl_hs.safetensors", state)).family == "hotshotxl"


@pytest.mark.parametrize("family", ["animatediff_sdxl", "hotshotxl"])
def test_a_module_for_sdxl_that_was_saved_is_read_as_the_same(tmp_path, family):
    state = as_hotshot(sdxl_state()) if family == "hotshotxl" else sdxl_state()
    first = read_motion_weights(save(tmp_path / "first.safetensors", state))
    second = read_motion_weights(save(tmp_path / "second.safetensors", *pack_motion(first)))
    assert (second.family, second.beta_schedule) == (first.family, first.beta_schedule)
    assert (second.size.norm_scope, second.clip_norm) == (first.size.norm_scope, first.clip_norm)


def test_a_module_for_sdxl_is_diffusers_adapter_of_three_levels(tmp_path):
    weights = read_motion_weights(save(tmp_path / "xl.safetensors", sdxl_state()))
    state, config = to_diffusers(weights)
    adapter = MotionAdapter(**config)
    adapter.load_state_dict(state, strict=False)
    adapter.save_pretrained(tmp_path / "adapter")
    read = read_motion_weights(tmp_path / "adapter")
    assert (read.family, read.size.channels) == (weights.family, weights.size.channels)
    assert equal_states(read.state, weights.state)


def test_metadata_of_a_later_version_is_refused(tmp_path):
    metadata = {"frameloom.kind": "motion", "frameloom.family": "v9"}
    path = save(tmp_path / "new.safetensors", tiny_state(), metadata)
    with pytest.raises(CheckpointError, match=r"new.safetensors: its metadata says family='v9'.*newer Fr"):
        read_motion_weights(path)


def test_a_ddp_saved_whole_unet_keeps_only_motion_keys(tmp_path):
    """AnimateDiff's trainer saves the frozen UNet along."""
    with torch.device("meta"):
        frozen = UNet2DConditionModel(block_out_channels=(32,) * 4, cross_attention_dim=8).state_dict()
    everything = dict.fromkeys(frozen, torch.zeros(1)) | tiny_state()
    torch.save({"module." + key: value for key, value in everything.items()}, tmp_path / "trained.ckpt")
    weights = read_motion_weights(tmp_path / "trained.ckpt")
    assert weights.family == "v2"
    assert equal_states(weights.state, tiny_state())


@pytest.mark.parametrize(
    ("how", "middle"),
    [("folder", True), ("file of folder", False), ("file", True), ("pickle folder", False)],
)
def test_diffusers_adapters_round_trip_without_loss(tmp_path, middle, how):
    made = tiny_weights(middle=middle)
    state, config = to_diffusers(made)
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
    assert weights.size == made.size
    assert equal_states(weights.state, made.state)
    again, _ = to_diffusers(weights)
    assert equal_states(again, adapter.state_dict())


def test_to_diffusers_refuses_two_different_encodings_in_one_block():
    weights = tiny_weights()
    second = f"{MID_SLOT}.temporal_transformer.transformer_blocks.0.attention_blocks.1.pos_encoder.pe"
    weights.state[second].zero_()
    with pytest.raises(CheckpointError, match=r"attention_blocks.1.pos_encoder.pe differs.*keep this module"):
        to_diffusers(weights)


def test_a_folders_config_gives_heads(tmp_path):
    state, config = to_diffusers(tiny_weights())
    save(tmp_path / "diffusion_pytorch_model.safetensors", state)
    (tmp_path / "config.json").write_text(json.dumps({**config, "motion_num_attention_heads": 4}))
    assert read_motion_weights(tmp_path).size.heads == 4


@pytest.mark.parametrize("heads", [0, "many", None, 2.5])
def test_a_folders_config_without_a_number_of_heads_is_refused(tmp_path, heads):
    state, config = to_diffusers(tiny_weights())
    save(tmp_path / "diffusion_pytorch_model.safetensors", state)
    (tmp_path / "config.json").write_text(json.dumps({**config, "motion_num_attention_heads": heads}))
    with pytest.raises(CheckpointError, match=rf"attention_heads is '{heads}'; expected a whole number"):
        read_motion_weights(tmp_path)


def test_half_precision_stays_half(tmp_path):
    state = {key: value.half() for key, value in tiny_state().items()}
    weights = read_motion_weights(save(tmp_path / "mm.safetensors", state))
    assert {value.dtype for value in weights.state.values()} == {torch.float16}


def test_the_schedules_sigmas_are_the_published_ones():
    # techniques: sigma of the last timestep, 0.00085 to 0.012
    assert float(BetaSchedule("sqrt_linear").sigmas()[-1]) == pytest.approx(25.146, abs=1e-3)
    assert float(BetaSchedule("linear").sigmas()[-1]) == pytest.approx(14.615, abs=1e-3)
