from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import MotionAdapter, UNetMotionModel
from einops import rearrange
from frameloom.headless.engine.edits import edited, forward_with_edits
from frameloom.headless.seams.slots import slot_place
from frameloom.headless.weights.networks import build_unet
from frameloom.models.edits.call import Call, Condition
from frameloom.models.motion.checkpoint import to_diffusers
from frameloom.models.motion.edit import motion_edit
from frameloom.models.motion.module import MotionModel, motion_size
from frameloom.models.network.sizes import DEMO
from frameloom.models.network.unet import SD1
from frameloom.models.training import Learner
from frameloom.tests.support.random_demo import as_learner, random_motion
from torch import nn
from torch.nn.utils.parametrize import register_parametrization

FRAMES = 4


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return build_unet(DEMO.unet).requires_grad_(False).eval()


@pytest.fixture(scope="module")
def motion():
    return as_learner(random_motion())


@pytest.fixture(scope="module")
def inputs():
    generator = torch.Generator().manual_seed(1)
    noisy = torch.randn(FRAMES, 4, 16, 16, generator=generator)
    return (
        noisy,
        torch.full((FRAMES,), 500),
        torch.randn(FRAMES, 77, DEMO.unet.context_dim, generator=generator),
    )


def plain(unet, inputs):
    return unet(*inputs[:2], encoder_hidden_states=inputs[2]).sample


def call(frames=FRAMES, progress=0.5):
    return Call(frames, FRAMES // frames, (Condition(0),), tuple(range(frames)), 1.0, progress, (16, 16))


def hooks(unet):
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in unet.modules())


def edited_output(unet, inputs, motion, run_call, **settings):
    with edited(unet, [motion_edit("motion", motion, **settings)]) as run:
        run.begin(run_call)
        return plain(unet, inputs)


def test_whole_unet_equals_diffusers_motion_model(unet, motion, inputs):
    """With the clip-wide motion norm, which is diffusers' and not AnimateDiff's."""
    clip_motion = MotionModel(motion_size(DEMO.unet, middle=True), norm_scope="clip")
    clip_motion.load_state_dict(motion.network.state_dict())
    state, config = to_diffusers(motion.weights)
    adapter = MotionAdapter(**config)
    adapter.load_state_dict(state, strict=False)
    theirs = UNetMotionModel.from_unet2d(unet, adapter).eval()
    with torch.no_grad():
        clip = rearrange(inputs[0], "f c h w -> 1 c f h w")
        wanted = theirs(clip, 500, encoder_hidden_states=inputs[2]).sample
        got = edited_output(unet, inputs, as_learner(clip_motion.eval()), call())
    wanted = rearrange(wanted, "1 c f h w -> f c h w")
    assert float((got - wanted).norm() / wanted.norm()) <= 1e-4


@pytest.mark.parametrize(
    ("temporal", "run_call"),
    [({"strength": 0.0}, call()), ({"start_percent": 0.8}, call()), ({}, call(frames=1))],
    ids=["strength 0", "before its start", "one frame"],
)
def test_an_idle_edit_leaves_the_model_bit_identical(unet, motion, inputs, temporal, run_call):
    assert torch.equal(edited_output(unet, inputs, motion, run_call, **temporal), plain(unet, inputs))


def test_patched_and_plain_alternate_and_hooks_go(unet, motion, inputs):
    before = plain(unet, inputs)
    moved = edited_output(unet, inputs, motion, call())
    assert not torch.allclose(moved, before, atol=1e-2)
    assert torch.equal(plain(unet, inputs), before)
    assert torch.equal(edited_output(unet, inputs, motion, call()), moved)
    assert hooks(unet) == 0


def test_hooks_go_after_an_exception(unet, motion, inputs):
    before = plain(unet, inputs)
    bad = (inputs[0][:, :3], *inputs[1:])  # three channels: the first convolution refuses
    with pytest.raises(RuntimeError, match="channels"):
        edited_output(unet, bad, motion, call())
    assert hooks(unet) == 0
    assert torch.equal(plain(unet, inputs), before)


def test_an_unknown_slot_leaves_no_hook_behind(unet, motion):
    class Wider:
        slots = (*motion.network.slots, "down_blocks.4.motion_modules.0")

    with (
        pytest.raises(ValueError, match=r"down_blocks\.4\.motion_modules\.0"),
        edited(unet, [motion_edit("x", Learner(Wider(), motion.weights))]),
    ):
        pass
    assert hooks(unet) == 0


def test_two_edits_act_in_order(unet, motion, inputs):
    other = random_motion(seed=7)
    edits = [motion_edit("a", motion), motion_edit("b", as_learner(other), strength=0.5)]
    outputs = []
    for order in (edits, edits[::-1]):
        with edited(unet, order) as run:
            run.begin(call())
            outputs.append(plain(unet, inputs))
    assert not torch.allclose(*outputs, atol=1e-4)


def test_places_are_before_the_upsampler_and_have_the_stated_width(unet):
    widths = DEMO.unet.slots
    for slot in SD1.slots:
        place = slot_place(unet, slot)
        seen = []
        handle = place.register_forward_hook(lambda _module, _inputs, output, seen=seen: seen.append(output))
        with torch.no_grad():
            unet(
                torch.zeros(1, 4, 16, 16), 0, encoder_hidden_states=torch.zeros(1, 77, DEMO.unet.context_dim)
            )
        handle.remove()
        output = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
        assert output.shape[1] == widths[slot]


def test_gradients_reach_every_weight_of_the_module(unet, inputs):
    trained = random_motion().requires_grad_(True)
    with forward_with_edits(unet, [motion_edit("motion", as_learner(trained))], FRAMES) as forward:
        forward(*inputs).square().mean().backward()
    assert all(parameter.grad is not None for parameter in trained.parameters())
    assert hooks(unet) == 0


class LowRank(nn.Module):
    """A motion LoRA of rank 2 on one layer, as training sees it."""

    def __init__(self, width):
        super().__init__()
        self.down, self.up = nn.Parameter(torch.randn(2, width)), nn.Parameter(torch.randn(width, 2))

    def forward(self, weight):
        return weight + self.up @ self.down


def test_gradients_reach_a_mask_encoder_and_a_lora_and_nothing_else(unet, inputs):
    trained = MotionModel(replace(motion_size(DEMO.unet), mask_encoder=True)).requires_grad_(False)
    trained.mask_encoder.requires_grad_(True)
    slot = trained.transformer(next(iter(SD1.slots)))
    layer = slot.transformer_blocks[0].attention_blocks[0].to_q
    register_parametrization(layer, "weight", LowRank(layer.weight.shape[0]))
    mask = torch.tensor([1.0, 0, 0, 0])[:, None, None, None].expand(FRAMES, 1, 16, 16)
    with forward_with_edits(unet, [motion_edit("motion", as_learner(trained))], FRAMES) as forward:
        forward(*inputs, (inputs[0].flip(0), mask)).square().mean().backward()
        told = {
            name for name, each in trained.named_parameters() if each.grad is not None and each.grad.any()
        }
        assert {name.rpartition(".")[2] for name in told} == {"down", "up", "weight"}
        assert len(told) == 3
        trained.zero_grad()
        forward(*inputs).square().mean().backward()
    assert trained.mask_encoder.conv.weight.grad is None
    assert hooks(unet) == 0


def test_v1_norms_take_the_clip_together(unet, motion, inputs):
    class Nothing:
        slots = motion.network.slots

        def __call__(self, slot, hidden, frames, strength, time):
            return hidden

    v1 = Learner(Nothing(), replace(motion.weights, clip_norm=True))
    got = edited_output(unet, inputs, v1, call())
    assert not torch.allclose(got, plain(unet, inputs), atol=1e-3)
    same = (inputs[0][:1].expand(FRAMES, -1, -1, -1), inputs[1], inputs[2][:1].expand(FRAMES, -1, -1))
    got = edited_output(unet, same, v1, call())
    assert torch.allclose(got, plain(unet, same), atol=1e-4)  # equal frames have equal statistics
    assert hooks(unet) == 0
