"""CameraCtrl's network, against its formulas written another way over the file's own keys; and its files."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from frameloom.models.edits.active import RunEdits
from frameloom.models.edits.call import training_call
from frameloom.models.edits.edit import Edit
from frameloom.models.errors import CheckpointError
from frameloom.models.motion.camera import rays
from frameloom.models.motion.camera_checkpoint import camera_key, read_camera_weights
from frameloom.models.motion.camera_ctrl import CameraEdit, CameraNetwork, CameraSize
from frameloom.models.motion.camera_moves import move_camera, parse_moves
from frameloom.models.motion.edit import TemporalEdit
from frameloom.models.motion.mixing import Mixing
from frameloom.models.motion.module import TemporalAttention
from frameloom.models.network.layers import attend
from frameloom.models.network.unet import SD1
from frameloom.tests.support.camera import PROCESSOR, WIDTHS, encoder_shapes, merge_shapes, tiny_camera
from frameloom.tests.support.motion import save, tiny_module, tiny_weights
from frameloom.tests.support.tensors import apart, draw
from torch.nn import functional as f

POSES, MERGES = "pose_encoder_state_dict", "attention_processor_state_dict"


def linear(state, name, x):
    return x @ state[f"{name}.weight"].T + state.get(f"{name}.bias", 0)


def normed(state, name, x):
    x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    return x * state[f"{name}.weight"] + state[f"{name}.bias"]


def attended(state, name, x, heads=8):
    """Self-attention of [F, C] alone, head by head."""
    query, key, value = (linear(state, f"{name}.to_{each}", x) for each in "qkv")
    answers = []
    for part in range(heads):
        q, k, v = (each.chunk(heads, dim=1)[part] for each in (query, key, value))
        answers.append((q @ k.T / math.sqrt(q.shape[1])).softmax(1) @ v)
    return linear(state, f"{name}.to_out.0", torch.cat(answers, 1))


def fed(state, name, x):
    value, gate = linear(state, f"{name}.net.0.proj", x).chunk(2, -1)
    return linear(state, f"{name}.net.2", value * gate * 0.5 * (1 + torch.erf(gate / math.sqrt(2))))


def over_time(state, name, x, merged=lambda y: y):
    """One transformer block on one place's frames, [F, C]; ``merged`` is of its first attention."""
    number = 0
    while f"{name}.norms.{number}.weight" in state:
        y = normed(state, f"{name}.norms.{number}", x)
        y = y + state[f"{name}.attention_blocks.{number}.pos_encoder.pe"][0, : len(x)]
        x = x + attended(state, f"{name}.attention_blocks.{number}", merged(y) if number == 0 else y)
        number += 1
    return x + fed(state, f"{name}.ff", normed(state, f"{name}.ff_norm", x))


def encoded(state, embedding):
    """The encoder on [F, 6, H, W], place by place."""
    frames, _, height, width = embedding.shape
    x = embedding.reshape(frames, 6, height // 8, 8, width // 8, 8).permute(0, 1, 3, 5, 2, 4)
    x = x.reshape(frames, 384, height // 8, width // 8)
    x = f.conv2d(x, state["encoder_conv_in.weight"], state["encoder_conv_in.bias"], padding=1)
    maps = []
    for level in range(4):
        for i in range(2):
            name = f"encoder_down_conv_blocks.{level}.{i}"
            if level and not i:
                x = (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
            if f"{name}.in_conv.weight" in state:
                x = f.conv2d(x, state[f"{name}.in_conv.weight"], state[f"{name}.in_conv.bias"])
            y = f.conv2d(x, state[f"{name}.block1.weight"], state[f"{name}.block1.bias"], padding=1).clamp(
                min=0
            )
            x = x + f.conv2d(y, state[f"{name}.block2.weight"], state[f"{name}.block2.bias"])
            name = f"encoder_down_attention_blocks.{level}.{i}"
            places = [
                over_time(state, name, x[:, :, row, column])
                for row in range(x.shape[2])
                for column in range(x.shape[3])
            ]
            x = torch.stack(places, 2).unflatten(2, x.shape[2:])
        maps.append(x)
    return maps


@pytest.fixture(scope="module")
def state():
    return tiny_camera()


@pytest.fixture(scope="module")
def weights(state, tmp_path_factory):
    return read_camera_weights(save(tmp_path_factory.mktemp("camera") / "cc.safetensors", state))


@pytest.fixture(scope="module")
def network(weights):
    network = CameraNetwork(weights.size)
    network.load_state_dict(dict(weights.state))
    return network.eval()


def test_the_published_network_has_150_tensors_and_199_million_numbers():
    network = CameraNetwork(CameraSize((320, 640, 1280, 1280), {}), device="meta")
    published = encoder_shapes((320, 640, 1280, 1280))
    assert {key: tuple(each.shape) for key, each in network.state_dict().items()} == published
    assert len(published) == 150
    assert sum(math.prod(shape) for shape in published.values()) == pytest.approx(199.4e6, rel=1e-3)
    merges = merge_shapes(SD1.widths)
    assert len(merges) == 40
    assert sum(math.prod(shape) for shape in merges.values()) == pytest.approx(18.96e6, rel=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("frames", [2, 3, 16])
def test_the_encoder_is_its_formulas(state, network, frames):
    embedding = draw(frames, 6, 64, 128)
    for ours, wanted in zip(network(embedding), encoded(state, embedding), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-3, atol=1e-3)
    for ours, in_rows in zip(network(embedding), network(embedding, rows=3), strict=True):
        torch.testing.assert_close(ours, in_rows, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_longer_clip_is_encoded_in_windows_that_overlap_by_half(network):
    """In each attention the windows' means, weighted up to the middle and down."""
    block = network.encoder_down_attention_blocks[0][0]
    hidden = draw(20, 32, 1, 1)
    alone = {start: block(hidden[None, start : start + 16, :, 0, 0])[0] for start in (0, 4)}
    ramp = [min(place + 1, 16 - place) for place in range(16)]
    wanted = []
    for frame in range(20):
        parts = [
            (ramp[frame - start], alone[start][frame - start]) for start in (0, 4) if 0 <= frame - start < 16
        ]
        wanted.append(sum(weight * part for weight, part in parts) / sum(weight for weight, _ in parts))
    torch.testing.assert_close(network._over_time(block, hidden)[:, :, 0, 0], torch.stack(wanted))


def edit_of(weights, network, frames=4, moves="pan left 2, roll clockwise", strength=None):
    factors = torch.ones(frames) if strength is None else torch.tensor(strength)
    return CameraEdit(weights, move_camera(frames, parse_moves(moves)), factors, network=network)


class Loaded:
    def __init__(self, module):
        self.network, self.weights = module, tiny_weights()


@torch.no_grad()
@pytest.mark.parametrize("slot", [slot for slot in SD1.slots if not slot.startswith("mid")])
def test_every_slot_merges_its_levels_map(state, weights, network, slot):
    """All 20, with a strength of each frame: the whole transformer, place by place, over the files' keys."""
    module, frames = tiny_module(), 3
    size = (8, 8)
    edit = edit_of(weights, network, frames, strength=[1.0, 0.5, 2.0])
    run = RunEdits([Edit("m", slots=TemporalEdit(Loaded(module))), Edit("c", temporal_attention=edit)])
    call = training_call(draw(2 * frames, 4, *size), frames)
    level = next(place.level for place in SD1.places if place.slot == slot)
    channels, side = WIDTHS[level], 8 // 2**level
    hidden = draw(2 * frames, channels, side, side)
    ours = run.at(call).slot(slot, hidden)

    cameras = encoded(state, rays(edit.poses, (64, 64), (64, 64)))[level]
    own = {
        key.removeprefix(f"{slot}.temporal_transformer."): each for key, each in module.state_dict().items()
    }
    strength = edit.strength[:, None]
    normal = f.group_norm(hidden, 32, own["norm.weight"], own["norm.bias"], 1e-6)
    for video in range(2):
        for row, column in [(0, 0), (side - 1, side // 2)]:
            here = slice(video * frames, (video + 1) * frames)

            def merged(y, c=cameras[:, :, row, column]):
                return y + strength * linear(state, f"{slot}.{PROCESSOR}", y + c)

            z = over_time(
                own, "transformer_blocks.0", linear(own, "proj_in", normal[here, :, row, column]), merged
            )
            wanted = hidden[here, :, row, column] + linear(own, "proj_out", z)
            torch.testing.assert_close(ours[here, :, row, column], wanted, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_in_windows_of_time_each_frame_is_merged_with_its_own_camera(weights, network):
    """Free Noise's attention over parts of a clip, against each part alone."""
    layer, frames = TemporalAttention(32, 8, 32, torch.nn, attend), 6
    merge = edit_of(weights, network, frames).merges(
        "down_blocks.0.motion_modules.0",
        draw(frames, 32, 8, 8),
        training_call(draw(frames, 4, 8, 8), frames),
        {},
    )
    tokens, parts = draw(64, frames, 32), [slice(0, 4), slice(2, 6)]

    class Halves:
        length = 4

        def is_needed(self, frames):
            return True

        def fuse(self, tokens, attend):
            first, second = (attend(part) for part in parts)
            return torch.cat([first[:, :3], second[:, 1:]], dim=1)

    ours = layer(tokens, Mixing(Halves(), merges=[merge]))
    alone = []
    for part in parts:
        y = merge.merge(tokens[:, part] + layer.pos_encoder.pe[:, :4], part)
        alone.append(layer.to_out[0](attend(layer.to_q(y), layer.to_k(y), layer.to_v(y), 8)))
    torch.testing.assert_close(ours, torch.cat([alone[0][:, :3], alone[1][:, 1:]], dim=1))


@torch.no_grad()
@pytest.mark.parametrize("size", [(8, 8), (9, 8), (15, 13), (5, 17), (65, 8)])
def test_maps_are_as_large_as_the_networks_levels(weights, network, size):
    edit = edit_of(weights, network, 2)
    run = RunEdits([Edit("m", slots=TemporalEdit(Loaded(tiny_module()))), Edit("c", temporal_attention=edit)])
    active = run.at(training_call(draw(2, 4, *size), 2))
    for place in SD1.places:
        grid = [-(-side // 2**place.level) for side in size]
        width = WIDTHS[place.level]
        active.slot(place.slot, draw(2, width, *grid))


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_half_precision_it_is_the_same_roughly(weights, network, dtype):
    hidden, slot = draw(3, 32, 8, 8), "down_blocks.0.motion_modules.0"
    call = training_call(draw(3, 4, 8, 8), 3)
    merge = edit_of(weights, network, 3).merges(slot, hidden, call, {})
    half = edit_of(weights, copy.deepcopy(network).to(dtype), 3).merges(slot, hidden.to(dtype), call, {})
    tokens = draw(64, 3, 32)
    rough = half.merge(tokens.to(dtype), slice(3))
    assert rough.dtype == dtype
    assert apart(rough.float(), merge.merge(tokens, slice(3))) < 0.03


@torch.no_grad()
def test_of_every_window_the_first_camera_stands_at_0(weights, network):
    """A camera that moves evenly is the same in all windows."""
    edit = edit_of(weights, network, 8, "pan left, zoom in")
    hidden, slot = draw(4, 32, 8, 8), "down_blocks.0.motion_modules.0"

    def maps(frame_ids):
        call = replace(training_call(draw(4, 4, 8, 8), 4), frame_ids=frame_ids, is_part=True)
        return edit.merges(slot, hidden, call, {}).cameras

    torch.testing.assert_close(maps((4, 5, 6, 7)), maps((0, 1, 2, 3)), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(maps((0, 2, 4, 6)), maps((0, 1, 2, 3)), atol=1e-2)


@pytest.mark.parametrize(
    "layout", ["flat", "module.", "nested", "nested, module."], ids=lambda layout: layout.replace(" ", "")
)
@pytest.mark.parametrize("ending", ["ckpt", "safetensors"])
def test_every_layout_is_read_as_the_same(tmp_path, state, weights, layout, ending):
    prefix = "module." if "module" in layout else ""
    named = {f"{prefix}{key}": value for key, value in state.items()}
    path = tmp_path / f"cc.{ending}"
    halves = {
        POSES: {key: value for key, value in named.items() if "encoder" in key and "processor" not in key},
        MERGES: {key: value for key, value in named.items() if "processor" in key},
    }
    if ending == "ckpt":
        torch.save({"epoch": 1, "global_step": 2, **halves} if "nested" in layout else named, path)
    else:
        flat = {f"{half}.{key}": value for half, each in halves.items() for key, value in each.items()}
        save(path, flat if "nested" in layout else named)
    read = read_camera_weights(path)
    assert read.size == weights.size
    assert read.state.keys() == weights.state.keys()
    assert all(torch.equal(read.state[key], weights.state[key]) for key in read.state)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: {k: v for k, v in s.items() if "processor" in k}, "without its encoder"),
        (lambda s: {k: v for k, v in s.items() if "processor" not in k}, "without its projections"),
        (lambda s: {k: v for k, v in s.items() if "ff_norm.bias" not in k or ".3.1." not in k}, "lacks encoder_down"),
        (lambda s: s | {"encoder_conv_in.bias": torch.zeros(7)}, "encoder_conv_in.bias is"),
        (lambda s: s | {"encoder_down_conv_blocks.0.0.skep.weight": torch.zeros(32, 32, 1, 1)}, "holds encoder.*skep"),
        (lambda s: s | {k.replace("qkv", "kv"): v for k, v in s.items() if "qkv" in k}, r"holds .*\.kv_merge"),
        (lambda s: s | {f"module.{k}": v for k, v in s.items() if "conv_in.bias" in k}, "holds a tensor twice"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_all_of_it_is_refused_by_name(tmp_path, state, change, said):
    with pytest.raises(CheckpointError, match=rf"^cc.safetensors: .*{said}"):
        read_camera_weights(save(tmp_path / "cc.safetensors", change(dict(state))))


def test_weights_for_another_family_are_refused(weights):
    with pytest.raises(
        CheckpointError, match=r"its levels are \(32, 64, 64, 64\) channels wide, the model's \(320"
    ):
        weights.check_fit(SD1)


def test_without_a_motion_module_there_is_nothing_to_tell(weights, network):
    with pytest.raises(ValueError, match=r"got a model without a motion module; .* put Apply Motion Module"):
        RunEdits([Edit("c", temporal_attention=edit_of(weights, network))])


def test_keys_are_named_by_their_slot():
    key = f"module.up_blocks.3.motion_modules.2.{PROCESSOR}.bias"
    assert camera_key(key) == "merges.up_blocks-3-motion_modules-2.bias"
