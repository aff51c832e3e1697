"""Every layout of a motion module is read to the same weights, and its version told."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import MotionAdapter, UNet2DConditionModel
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from frameloom.models.errors import CheckpointError
from frameloom.models.motion.checkpoint import MID_SLOT, read_motion_weights, to_diffusers
from frameloom.models.motion.module import MotionModel
from frameloom.models.video.schedules import ANIMATEDIFF, BetaSchedule
from frameloom.tests.support.motion import equal_states, save, tiny_size, tiny_state, tiny_weights


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
