"""Files of PIA adapters: a picture encoder with a motion LoRA or alone, and the module that they make."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.errors import CheckpointError
from frameloom.models.files.keys import hash_settings, plain
from frameloom.models.files.weight_file import open_weights
from frameloom.models.files.weight_kind import identify
from frameloom.models.motion.lora import MotionLoRA, PiaLoRA, merge_loras, read_motion_lora
from frameloom.models.motion.mask_adapter import MASK_KEY
from frameloom.models.motion.pia import PICTURE_KEY
from frameloom.models.motion.save import save_motion
from frameloom.tests.support.motion import equal_states, save, tiny_lora, tiny_weights
from frameloom.tests.support.tensors import draw
from safetensors.torch import load_file

ENCODER = draw(32, 5, 3, 3)


@pytest.mark.parametrize("pairs", [{}, tiny_lora()], ids=["alone", "with a LoRA"])
def test_an_adapter_is_a_motion_lora_that_is_read_again_to_the_last_bit(tmp_path, pairs):
    path = save(tmp_path / "pia.safetensors", pairs | {PICTURE_KEY: ENCODER})
    assert identify(open_weights(path).shapes) == "motion_lora"
    lora = read_motion_lora(path)
    save_motion(tmp_path / "again.safetensors", lora)
    assert equal_states(load_file(tmp_path / "again.safetensors"), load_file(path))


def test_it_makes_a_pia_module_of_a_plain_one():
    module = tiny_weights()
    lora = PiaLoRA("pia", {}, picture_encoder=ENCODER).fit(module)
    made = merge_loras(lora.make_room(module), [(lora, -0.5)])
    assert made.size.picture_encoder
    assert not made.size.mask_encoder
    assert torch.equal(made.state.pop(PICTURE_KEY), -0.5 * ENCODER)
    assert equal_states(made.state, module.state)
    assert not module.size.picture_encoder


def test_both_encoders_of_a_lora_are_its():
    lora = PiaLoRA("both", {}, ENCODER, None, 2 * ENCODER)
    room = lora.make_room(tiny_weights())
    assert not room.state[MASK_KEY].any()
    assert not room.state[PICTURE_KEY].any()
    assert [name for name, _ in lora.deltas(1.0)] == [MASK_KEY, PICTURE_KEY]


def test_keys_of_finished_work_tell_encoders_apart():
    loras = (
        MotionLoRA("a", {}),
        PiaLoRA("a", {}, picture_encoder=ENCODER),
        PiaLoRA("a", {}, picture_encoder=-ENCODER),
    )
    assert len({hash_settings(lora=plain(lora)) for lora in loras}) == 3


def test_an_encoder_of_another_width_is_refused():
    lora = PiaLoRA("wide", {}, picture_encoder=draw(64, 5, 3, 3))
    with pytest.raises(
        CheckpointError, match=r"wide: picture_encoder.* \(64, 5, 3, 3\); expected \(32, 5, 3, 3\)"
    ):
        lora.fit(tiny_weights())
