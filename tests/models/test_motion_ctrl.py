"""MotionCtrl's camera in a motion module, against its authors' formula over the files' own keys; and its file."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from frameloom.models.edits.call import Condition, training_call
from frameloom.models.errors import CheckpointError
from frameloom.models.motion.camera_moves import move_camera, parse_moves
from frameloom.models.motion.checkpoint import pack_motion
from frameloom.models.motion.edit import motion_edit
from frameloom.models.motion.module import MotionModel
from frameloom.models.motion.motion_ctrl import ModuleCamera, read_motion_ctrl
from frameloom.models.network.unet import SD1
from frameloom.tests.support.motion import save, tiny_state, tiny_weights
from frameloom.tests.support.motion_ctrl import BLOCK, VIEW, tiny_motion_ctrl
from frameloom.tests.support.tensors import draw
from torch.nn import functional as f

SLOTS = [slot for slot in SD1.slots if not slot.startswith("mid")]
MOVES = "pan left 2, roll clockwise, zoom in 0.5"


@pytest.fixture(scope="module")
def module():
    return tiny_state(middle=False)


@pytest.fixture(scope="module")
def state(module):
    return tiny_motion_ctrl(module)


@pytest.fixture(scope="module")
def weights(state, tmp_path_factory):
    file = read_motion_ctrl(save(tmp_path_factory.mktemp("ctrl") / "cmcm.safetensors", state))
    return file.put_on(tiny_weights("v3", middle=False))


class Loaded:
    """A module as a host loads it."""

    varying = picture = None

    def __init__(self, weights, camera):
        self.weights, self.camera = weights, camera
        self.network = MotionModel(weights.size).eval()
        self.network.load_state_dict(dict(weights.state))


def part_of(weights, poses):
    part = motion_edit("test", Loaded(weights, ModuleCamera(poses))).slots
    assert part is not None
    return part


def relative(poses):
    """The authors' own way to numbers: every turn behind the first one's inverse, then the shift."""
    rows = []
    first = poses.view[0]
    for view in poses.view:
        turn = view[:, :3] @ first[:, :3].T
        rows.append(torch.cat([turn, (view[:, 3] - turn @ first[:, 3])[:, None]], 1).flatten())
    return torch.stack(rows).float()


def attended(state, name, tokens, heads=8):
    """Self-attention of one place's frames, [F, C]."""
    tokens = tokens + state[f"{name}.pos_encoder.pe"][0, : len(tokens)]
    query, key, value = (
        (tokens @ state[f"{name}.to_{part}.weight"].T).unflatten(1, (heads, -1)) for part in "qkv"
    )
    logits = torch.einsum("fhd,ghd->hfg", query, key) / math.sqrt(query.shape[-1])
    answer = torch.einsum("hfg,ghd->fhd", logits.softmax(-1), value).flatten(1)
    return f.linear(answer, state[f"{name}.to_out.0.weight"], state[f"{name}.to_out.0.bias"])


def official(state, slot, hidden, numbers):
    """A slot's work on [F, C, H, W], place by place, with the numbers of each frame's camera, [F, 12]."""

    def layer(name, x, over=f.linear, **more):
        return over(x, weight=state[f"{name}.weight"], bias=state[f"{name}.bias"], **more)

    def normed(name, x):
        return layer(name, x, f.layer_norm, normalized_shape=x.shape[-1:])

    whole, block = f"{slot}.temporal_transformer", f"{slot}.{BLOCK}"
    normal = layer(f"{whole}.norm", hidden, f.group_norm, num_groups=32, eps=1e-6)
    out = torch.empty_like(hidden)
    for row in range(hidden.shape[2]):
        for column in range(hidden.shape[3]):
            z = layer(f"{whole}.proj_in", normal[:, :, row, column])
            z = attended(state, f"{block}.attention_blocks.0", normed(f"{block}.norms.0", z)) + z
            z = layer(f"{block}.cc_projection", torch.cat([z, numbers], dim=-1))
            z = attended(state, f"{block}.attention_blocks.1", normed(f"{block}.norms.1", z)) + z
            value, gate = layer(f"{block}.ff.net.0.proj", normed(f"{block}.ff_norm", z)).chunk(2, -1)
            z = layer(f"{block}.ff.net.2", value * f.gelu(gate)) + z
            out[:, :, row, column] = layer(f"{whole}.proj_out", z)
    return hidden + out


def call_of(hidden, frames, indexes=(0,), **changed):
    conditions = tuple(Condition(index) for index in indexes)
    return replace(training_call(hidden[:frames], frames), conditions=conditions, **changed)


@torch.no_grad()
@pytest.mark.parametrize("slot", SLOTS)
def test_every_slot_is_the_authors_formula(module, state, weights, slot):
    """All 20, of three frames, for the prompt, which is told the camera, and for the negative one, which is not."""
    frames, poses = 3, move_camera(3, parse_moves(MOVES))
    part = part_of(weights, poses)
    hidden = draw(2 * frames, weights.size.channels[slot], 2, 3)
    drawn = part.run(slot, hidden, call_of(hidden, frames, (1, 0)), None)
    both = {**module, **state}
    none = torch.zeros(frames, VIEW)
    torch.testing.assert_close(
        drawn[:frames], official(both, slot, hidden[:frames], none), rtol=1e-3, atol=1e-3
    )
    wanted = official(both, slot, hidden[frames:], relative(poses))
    torch.testing.assert_close(drawn[frames:], wanted, rtol=1e-3, atol=1e-3)


def test_the_numbers_are_the_views_from_the_first_frames_camera_of_a_window_too():
    poses = move_camera(8, parse_moves(MOVES))
    hidden = draw(4, 32, 2, 2)
    numbers = ModuleCamera(poses).views(call_of(hidden, 4, frame_ids=(3, 4, 5, 6)))
    torch.testing.assert_close(numbers[0].float(), relative(poses.pick((3, 4, 5, 6))))
    assert torch.equal(numbers[0, 0].reshape(3, 4).round(decimals=9), torch.eye(3, 4, dtype=torch.float64))


@torch.no_grad()
def test_rows_of_places_give_the_same(weights):
    part = part_of(weights, move_camera(4, parse_moves(MOVES)))
    hidden, slot = draw(8, 32, 9, 2), SLOTS[0]
    whole = call_of(hidden, 4, (0, 1))
    rows = part.run(slot, hidden, replace(whole, parts=2), None)
    torch.testing.assert_close(part.run(slot, hidden, whole, None), rows, rtol=1e-4, atol=1e-4)


def test_the_authors_training_file_is_read_with_what_it_wraps_its_keys_in(state, weights, tmp_path):
    named = {f"module.{key}": value for key, value in state.items()}
    torch.save({"epoch": 3, "global_step": 7, "state_dict": named}, tmp_path / "cmcm.ckpt")
    read = read_motion_ctrl(tmp_path / "cmcm.ckpt").put_on(tiny_weights("v3", middle=False))
    assert read.state.keys() == weights.state.keys()
    assert all(torch.equal(value, weights.state[key]) for key, value in read.state.items())


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ({"middle": True}, r"mid_block\S+cc_projection.weight is not there; expected \(64, 76\)"),
        ({"middle": False, "width": 64}, r"to_q.weight is \(32, 32\); expected \(64, 64\)"),
        ({"middle": False, "max_frames": 24}, r"pos_encoder.pe is \(1, 32, 32\); expected \(1, 24, 32\)"),
    ],
    ids=["v2", "width", "v1"],
)
def test_a_module_that_it_does_not_fit_is_refused(state, tmp_path, size, said):
    file = read_motion_ctrl(save(tmp_path / "cmcm.safetensors", state))
    with pytest.raises(
        CheckpointError, match=r"cmcm.safetensors does not fit mm.safetensors: .*v3_sd15_mm.ckpt"
    ):
        file.put_on(tiny_weights(**size))
    with pytest.raises(CheckpointError, match=said):
        file.put_on(tiny_weights(**size))


def test_other_tensors_in_the_file_are_refused(state, tmp_path):
    more = {**state, "conv_in.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"holds conv_in.weight, which is of no temporal block"):
        read_motion_ctrl(save(tmp_path / "cmcm.safetensors", more))


def test_a_module_with_its_projections_is_not_saved_as_one_without(weights):
    with pytest.raises(CheckpointError, match="save what goes into MotionCtrl Camera"):
        pack_motion(weights)
