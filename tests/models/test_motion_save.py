"""Files of motion modules and LoRAs: read again here to the last bit, and by diffusers to the same numbers."""

import pytest
import torch
from diffusers import MotionAdapter
from frameloom.models.motion.checkpoint import MotionWeights, read_motion_weights
from frameloom.models.motion.lora import MotionLoRA, merge_loras, read_motion_lora
from frameloom.models.motion.module import MotionModel
from frameloom.models.motion.save import save_motion
from frameloom.models.video.schedules import ANIMATEDIFF, STABLE_DIFFUSION
from frameloom.tests.support.disk import room_for
from frameloom.tests.support.motion import save, tiny_lora, tiny_size, tiny_state
from safetensors import safe_open


def weights(family="frameloom", schedule=STABLE_DIFFUSION, **size):
    return MotionWeights("made", family, tiny_size(**size), tiny_state(**size), schedule, family == "v1")


@pytest.mark.parametrize(
    ("family", "schedule", "size"),
    [
        ("frameloom", STABLE_DIFFUSION, {"middle": False}),
        ("frameloom", None, {"middle": True, "max_frames": 20}),
        ("v1", ANIMATEDIFF, {"middle": False, "max_frames": 24}),
        ("v2", ANIMATEDIFF, {"middle": True}),
    ],
)
def test_a_module_is_read_again_to_the_last_bit(tmp_path, family, schedule, size):
    made = weights(family, schedule, **size)
    save_motion(tmp_path / "deep" / "made.safetensors", made)
    again = read_motion_weights(tmp_path / "deep" / "made.safetensors")
    assert (again.family, again.size, again.beta_schedule, again.clip_norm) == (
        family, made.size, schedule, made.clip_norm,
    )  # fmt: skip
    assert again.state.keys() == made.state.keys()
    assert all(torch.equal(again.state[key], made.state[key]) for key in made.state)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["made.safetensors"]


def test_keys_are_animatediffs_with_their_encodings_and_facts(tmp_path):
    save_motion(tmp_path / "made.safetensors", weights(), "fp16", {"frameloom.base": "abc"})
    with safe_open(tmp_path / "made.safetensors", "pt") as file:
        keys, metadata = set(file.keys()), file.metadata()
        encodings = [key for key in keys if key.endswith("pos_encoder.pe")]
        assert {file.get_tensor(key).shape[:2] for key in encodings} == {(1, 32)}
        assert {file.get_tensor(key).dtype for key in keys} == {torch.float16}
    assert len(encodings) == 21 * 2
    assert all(".motion_modules." in key and ".temporal_transformer." in key for key in keys)
    assert metadata == {
        "format": "pt",
        "frameloom.kind": "motion",
        "frameloom.family": "frameloom",
        "frameloom.heads": "8",
        "frameloom.beta_schedule": "linear",
        "frameloom.base": "abc",
    }


def test_without_our_metadata_the_file_is_told_by_animatediffs_rules(tmp_path):
    """As packs tell it that don't know us: 32 frames are v3, or v2 with a middle slot."""
    for middle, family in ((False, "v3"), (True, "v2")):
        save_motion(tmp_path / "made.safetensors", weights(middle=middle))
        with safe_open(tmp_path / "made.safetensors", "pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  not a dict
        assert read_motion_weights(save(tmp_path / "plain.safetensors", state)).family == family


def test_diffusers_loads_a_module_and_it_acts_the_same(tmp_path):
    """By its own loader of single files, every slot; with norms over the clip, as diffusers has them."""
    made = weights(middle=False)
    save_motion(tmp_path / "made.safetensors", made)
    adapter = MotionAdapter.from_single_file(
        str(tmp_path / "made.safetensors"), config=str(config_folder(tmp_path)), local_files_only=True
    )
    ours = MotionModel(made.size, norm_scope="clip")
    ours.load_state_dict(made.state)
    generator = torch.Generator().manual_seed(0)
    for slot in ours.slots:
        hidden = torch.randn(6, made.size.channels[slot], 3, 2, generator=generator)
        theirs = adapter.get_submodule(slot)(hidden, num_frames=3)
        # Same operations in another order: 1e-6 of values of order 1, with room for other CPUs.
        torch.testing.assert_close(theirs, ours(slot, hidden, 3), rtol=1e-4, atol=1e-5)


def config_folder(folder):
    """A diffusers config for the tiny module."""
    MotionAdapter(
        block_out_channels=(32, 64, 64, 64), motion_max_seq_length=32, use_motion_mid_block=False
    ).save_config(folder / "config")
    return folder / "config"


def test_a_lora_is_read_again_to_the_last_bit_under_animatediffs_keys(tmp_path):
    state = tiny_lora()
    lora = read_motion_lora(save(tmp_path / "theirs.safetensors", state))
    save_motion(tmp_path / "ours.safetensors", lora)
    again = read_motion_lora(tmp_path / "ours.safetensors")
    assert again.pairs.keys() == lora.pairs.keys()
    for name, pair in lora.pairs.items():
        assert all(torch.equal(one, other) for one, other in zip(pair, again.pairs[name], strict=True))
    with safe_open(tmp_path / "ours.safetensors", "pt") as file:
        assert set(file.keys()) == set(state)


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
