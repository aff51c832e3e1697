"""The mask encoder by itself, what it is told of each picture, and files of modules and LoRAs that have one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import MotionAdapter
from frameloom.models.edits.call import Call, Condition
from frameloom.models.errors import CheckpointError
from frameloom.models.motion.checkpoint import read_motion_weights, to_diffusers
from frameloom.models.motion.lora import read_motion_lora
from frameloom.models.motion.mask_adapter import MASK_KEY, MaskEncoder, given_in
from frameloom.models.motion.module import MotionModel, initialise
from frameloom.tests.support.motion import equal_states, save, tiny_lora, tiny_size, tiny_state, tiny_weights
from frameloom.tests.support.tensors import draw

WIDTH = 32  # of the tiny module's first slot


def test_a_new_encoder_adds_nothing():
    hidden, given = draw(6, WIDTH, 8, 8), draw(6, 5, 8, 8, seed=1)
    assert torch.equal(MaskEncoder(WIDTH)(hidden, given), hidden)
    assert MaskEncoder(WIDTH).half()(hidden.half(), given).dtype == torch.float16
    assert [name for name, _ in MaskEncoder(WIDTH).named_parameters()] == ["conv.weight"]
    model = MotionModel(replace(tiny_size(), mask_encoder=True))
    model.mask_encoder.conv.weight.data.normal_()
    initialise(model)
    assert torch.equal(model.mask_encoder(hidden, given), hidden)
    assert not tiny_weights().with_encoder(MASK_KEY).state[MASK_KEY].any()


def test_each_picture_of_a_batch_is_told_of_its_own_frame():
    """Chunks of conditions, in them videos, in them frames; a window's frames by their absolute number."""
    clip = torch.arange(2 * 6.0)[:, None, None, None].expand(12, 4, 4, 4)  # two videos of six frames
    conditions = (Condition(1), Condition(0), Condition(0))
    call = Call(
        3, 2, conditions, (4, 5, 1), 1.0, 0.5, (4, 4), is_part=True, held=(clip, torch.ones(12, 1, 4, 4))
    )
    told = given_in(call)
    assert told.shape == (18, 5, 4, 4)
    assert told[:, 0, 0, 0].tolist() == [4, 5, 1, 10, 11, 7] * 3
    assert given_in(replace(call, held=None)) is None


def test_a_part_of_the_picture_is_refused():
    held = torch.zeros(2, 4, 4, 4), torch.zeros(2, 1, 4, 4)
    call = Call(2, 1, (Condition(0),), (0, 1), 1.0, 0.5, (4, 2), held=held)
    with pytest.raises(ValueError, match=r"mask adapter: got 4 x 2 cells of 4 x 4 .*areas of conditions"):
        given_in(call)


def test_a_lora_makes_room_in_a_module_without_an_encoder(tmp_path):
    plain, state = tiny_weights(), tiny_lora() | {MASK_KEY: draw(WIDTH, 5, 3, 3)}
    lora = read_motion_lora(save(tmp_path / "adapter.safetensors", state)).fit(plain)
    room = lora.make_room(plain)
    assert not room.state[MASK_KEY].any()
    assert equal_states({key: value for key, value in room.state.items() if key != MASK_KEY}, plain.state)
    assert lora.make_room(room) is room
    assert replace(lora, mask_encoder=None).make_room(plain) is plain
    torch.testing.assert_close(dict(lora.deltas(-0.5))[MASK_KEY], -0.5 * state[MASK_KEY])


def test_diffusers_gets_the_module_without_the_encoder():
    told = tiny_weights().with_encoder(MASK_KEY)
    state, config = to_diffusers(told)
    MotionAdapter(**config).load_state_dict(state)


@pytest.mark.parametrize("shape", [(WIDTH, 4, 3, 3), (64, 5, 3, 3), (WIDTH,), ()])
def test_an_encoder_of_another_shape_is_refused(tmp_path, shape):
    wrong = {MASK_KEY: torch.zeros(shape)}
    with pytest.raises(CheckpointError, match=r"mm.safetensors: mask_encoder.conv.weight is .*ed \(32, 5"):
        read_motion_weights(save(tmp_path / "mm.safetensors", tiny_state() | wrong))
    lora = read_motion_lora(save(tmp_path / "adapter.safetensors", tiny_lora() | wrong))
    with pytest.raises(CheckpointError, match=r"adapter.safetensors: .* \(32, 5, 3, 3\) for mm.safetensors"):
        lora.fit(tiny_weights())
