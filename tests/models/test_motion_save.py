"""Files of motion modules and LoRAs: read again here to the last bit, and by diffusers to the same numbers."""

from dataclasses import replace

import pytest
import torch
from diffusers import MotionAdapter
from frameloom.models.files.weight_file import open_weights
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.models.motion.lora import MotionLoRA, merge_loras, read_motion_lora
from frameloom.models.motion.mask_adapter import MASK_KEY
from frameloom.models.motion.module import MotionModel
from frameloom.models.motion.save import save_motion
from frameloom.models.video.schedules import ANIMATEDIFF, STABLE_DIFFUSION
from frameloom.tests.support.disk import room_for
from frameloom.tests.support.motion import equal_states, linears, save, tiny_lora, tiny_weights
from frameloom.tests.support.tensors import draw
from safetensors.torch import load_file

ENCODER = draw(32, 5, 3, 3)


def weights(family="frameloom", schedule=STABLE_DIFFUSION, **size):
    return tiny_weights(family, schedule, **size)


@pytest.mark.parametrize(
    ("family", "schedule", "size", "told"),
    [
        ("frameloom", STABLE_DIFFUSION, {"middle": False}, True),
        ("frameloom", None, {"middle": True, "max_frames": 20}, True),
        ("v1", ANIMATEDIFF, {"middle": False, "max_frames": 24}, False),
        ("v2", ANIMATEDIFF, {"middle": True}, False),
    ],
)
def test_a_module_is_read_again_to_the_last_bit(tmp_path, family, schedule, size, told):
    """With a mask encoder, and without one."""
    made, path = weights(family, schedule, **size), tmp_path / "deep" / "mm.safetensors"
    if told:
        made = made.with_encoder(MASK_KEY)
        made = replace(made, state={**made.state, MASK_KEY: ENCODER})
    save_motion(path, made)
    again = read_motion_weights(path)
    assert replace(again, state={}) == replace(made, state={})
    assert equal_states(again.state, made.state)
    model = MotionModel(again.size)
    model.load_state_dict(dict(again.state))
    assert (model.mask_encoder is not None) is told
    assert [each.name for each in path.parent.iterdir()] == ["mm.safetensors"]


def test_keys_are_animatediffs_with_their_encodings_and_facts(tmp_path):
    path = tmp_path / "made.safetensors"
    save_motion(path, weights(), "fp16", {"frameloom.base": "abc"})
    state, metadata = load_file(path), open_weights(path).metadata
    encodings = [value for key, value in state.items() if key.endswith("pos_encoder.pe")]
    assert {value.shape[:2] for value in encodings} == {(1, 32)}
    assert {value.dtype for value in state.values()} == {torch.float16}
    assert len(encodings) == 21 * 2
    assert all(".motion_modules." in key and ".temporal_transformer." in key for key in state)
    assert metadata == {
        "format": "pt",
        "frameloom.kind": "motion",
        "frameloom.family": "frameloom",
        "frameloom.heads": "8",
        "frameloom.beta_schedule": "linear",
        "frameloom.base": "abc",
    }


def test_diffusers_loads_a_module_and_it_acts_the_same(tmp_path):
    """By its own loader of single files, every slot; with norms over the clip, as diffusers has them."""
    made = weights(middle=False)
    save_motion(tmp_path / "made.safetensors", made)
    size = {
        "block_out_channels": (32, 64, 64, 64),
        "motion_max_seq_length": 32,
        "use_motion_mid_block": False,
    }
    MotionAdapter(**size).save_config(tmp_path / "config")
    path, config = str(tmp_path / "made.safetensors"), str(tmp_path / "config")
    adapter = MotionAdapter.from_single_file(path, config=config, local_files_only=True)
    ours = MotionModel(made.size, norm_scope="clip")
    ours.load_state_dict(made.state)
    for slot in ours.slots:
        hidden = draw(6, made.size.channels[slot], 3, 2)
        theirs = adapter.get_submodule(slot)(hidden, num_frames=3)
        # Same operations in another order: 1e-6 of values of order 1, with room for other CPUs.
        torch.testing.assert_close(theirs, ours(slot, hidden, 3), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("told", [None, ENCODER], ids=["none", "encoder"])
def test_a_lora_is_read_again_to_the_last_bit_under_animatediffs_keys(tmp_path, told):
    state = tiny_lora() | ({} if told is None else {MASK_KEY: told})
    lora = read_motion_lora(save(tmp_path / "theirs.safetensors", state))
    save_motion(tmp_path / "ours.safetensors", lora)
    assert equal_states(load_file(tmp_path / "ours.safetensors"), state)
    again = read_motion_lora(tmp_path / "ours.safetensors")
    assert (again.mask_encoder is None) is (told is None)
    assert [name for name, _ in again.deltas(1.0)][-1:] == [MASK_KEY] or told is None


def halves(lora):
    return {f"{name} {at}": half for name, pair in lora.pairs.items() for at, half in enumerate(pair)}


def test_a_lora_of_every_linear_layer_is_read_again_to_the_last_bit(tmp_path):
    lora = MotionLoRA("x", {f"{layer}.weight": pair for layer, pair in linears().items()})
    save_motion(tmp_path / "ours.safetensors", lora)
    again = read_motion_lora(tmp_path / "ours.safetensors")
    assert equal_states(halves(again), halves(lora))


def test_merged_loras_are_what_they_change():
    made, name = weights(), "down_blocks.0.motion_modules.0.temporal_transformer.proj_in.weight"
    lora = MotionLoRA("one", {name: (torch.ones(1, 32), torch.full((32, 1), 2.0))})
    merged = merge_loras(made, [(lora, 0.5), (lora, 1.0)])
    torch.testing.assert_close(merged.state[name], made.state[name] + 3.0)
    others = made.state.keys() - {name}
    assert all(merged.state[key] is made.state[key] for key in others)


def test_others_may_read_what_is_saved_as_they_may_any_new_file(tmp_path):
    """Safetensors writes to a file of its own, which is its owner's alone."""
    (tmp_path / "any").touch()
    save_motion(tmp_path / "made.safetensors", weights(middle=False))
    assert (tmp_path / "made.safetensors").stat().st_mode == (tmp_path / "any").stat().st_mode


def test_a_full_disk_is_one_error_and_leaves_what_was_there(tmp_path):
    path = tmp_path / "made.safetensors"
    save_motion(path, weights(middle=False))
    before = path.read_bytes()
    with (
        room_for(8192),
        pytest.raises(OSError, match=r"made\.safetensors: could not be written .*bytes of room"),
    ):
        save_motion(path, weights(middle=True))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["made.safetensors"]
