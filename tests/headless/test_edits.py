"""What edits do to diffusers' UNet, with diffusers' own classes as the reference, and that its hooks go again."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from diffusers import MotionAdapter, UNetMotionModel
from diffusers.models.attention_processor import AttnProcessor
from diffusers.pipelines.deprecated.pia.pipeline_pia import prepare_mask_coef_by_statistics
from einops import rearrange
from frameloom.headless.engine.edits import edited
from frameloom.headless.weights.networks import build_unet
from frameloom.models.edits.call import Call, Condition
from frameloom.models.edits.edit import Edit
from frameloom.models.motion.checkpoint import to_diffusers
from frameloom.models.motion.edit import motion_edit
from frameloom.models.motion.module import MotionModel, motion_size
from frameloom.models.motion.pia import PICTURE_KEY, PiaPicture, read_affinity
from frameloom.models.network.sizes import DEMO
from frameloom.models.training import Learner
from frameloom.tests.support.random_demo import as_learner, random_motion
from frameloom.tests.support.tensors import apart, draw

FRAMES = 4
CALL = Call(FRAMES, 1, (Condition(0),), tuple(range(FRAMES)), 1.0, 0.5, (16, 16))


@pytest.fixture
def unet():
    torch.manual_seed(0)
    return build_unet(DEMO.unet).requires_grad_(False).eval()


@pytest.fixture(scope="module")
def motion():
    return as_learner(random_motion())


NOISY, TOKENS = draw(FRAMES, 4, 16, 16, seed=1), draw(FRAMES, 77, DEMO.unet.context_dim, seed=2)


def plain(unet, noisy=NOISY, tokens=TOKENS):
    return unet(noisy, 500, encoder_hidden_states=tokens).sample


def with_edit(edit, unet, *inputs):
    with edited(unet, [edit]) as run:
        run.begin(CALL)
        return plain(unet, *inputs)


def hooks(unet):
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in unet.modules())


def test_whole_unet_equals_diffusers_motion_model(unet, motion):
    """With the clip-wide motion norm, which is diffusers' and not AnimateDiff's."""
    clip_motion = MotionModel(motion_size(DEMO.unet, middle=True), norm_scope="clip")
    clip_motion.load_state_dict(motion.network.state_dict())
    state, config = to_diffusers(motion.weights)
    adapter = MotionAdapter(**config)
    adapter.load_state_dict(state, strict=False)
    theirs = UNetMotionModel.from_unet2d(unet, adapter).eval()
    with torch.no_grad():
        wanted = theirs(rearrange(NOISY, "f c h w -> 1 c f h w"), 500, encoder_hidden_states=TOKENS).sample
        got = with_edit(motion_edit("motion", as_learner(clip_motion.eval())), unet)
    wanted = rearrange(wanted, "1 c f h w -> f c h w")
    assert apart(got, wanted) <= 1e-4


def test_pia_equals_diffusers_unet_of_nine_channels(unet, motion):
    """With the clip-wide motion norm and each frame's own residual norms, which are diffusers' and not PIA's."""
    state, config = to_diffusers(motion.weights)
    widened = draw(DEMO.unet.model_channels, 9, 3, 3, seed=5)
    bias = draw(DEMO.unet.model_channels, seed=6)
    adapter = MotionAdapter(**{**config, "conv_in_channels": 9})
    adapter.load_state_dict(state | {"conv_in.weight": widened, "conv_in.bias": bias}, strict=False)
    theirs = UNetMotionModel.from_unet2d(unet, adapter).eval()
    weights = motion.weights
    size, state = replace(weights.size, picture_encoder=True), {**weights.state, PICTURE_KEY: widened[:, 4:]}
    weights = replace(weights, size=size, state=state)
    network = MotionModel(weights.size, norm_scope="clip").requires_grad_(False).eval()
    network.load_state_dict(weights.state)
    picture = PiaPicture.of(draw(1, 4, 16, 16, seed=7), [0], read_affinity("large motion", "", FRAMES))
    mask = torch.tensor(prepare_mask_coef_by_statistics(FRAMES, 0, 2)).view(-1, 1, 1, 1).expand(-1, 1, 16, 16)
    seen = torch.cat([NOISY, mask, picture.latents.expand(FRAMES, -1, -1, -1)], 1)
    with torch.no_grad():
        wanted = theirs(rearrange(seen, "f c h w -> 1 c f h w"), 500, encoder_hidden_states=TOKENS).sample
        told = SimpleNamespace(network=network, weights=weights, picture=picture)
        got = with_edit(motion_edit("pia", told), unet)
    assert apart(got, rearrange(wanted, "1 c f h w -> f c h w")) <= 1e-5


def test_an_unknown_slot_is_named_and_leaves_no_hook_behind(unet, motion):
    class Wider:
        slots = (*motion.network.slots, "down_blocks.4.motion_modules.0")

    with pytest.raises(ValueError, match=r"down_blocks\.4\.motion_modules\.0"):
        with_edit(motion_edit("x", Learner(Wider(), motion.weights)), unet)
    assert hooks(unet) == 0


def test_v1_norms_take_the_clip_together(unet, motion):
    class Nothing:
        slots = motion.network.slots

        def __call__(self, slot, hidden, *_):
            return hidden

    v1 = motion_edit("v1", Learner(Nothing(), replace(motion.weights, clip_norm=True)))
    assert not torch.allclose(with_edit(v1, unet), plain(unet), atol=1e-3)
    same = [each[:1].expand_as(each) for each in (NOISY, TOKENS)]
    got = with_edit(v1, unet, *same)
    assert torch.allclose(got, plain(unet, *same), atol=1e-4)  # equal frames have equal statistics


class Scores(AttnProcessor):
    """diffusers' plain processor, which computes its weights by ``get_attention_scores``."""


class Weights:
    """An observer that works out the attention weights itself."""

    levels = frozenset({0, 1, 2, 3})

    def __init__(self):
        self.seen = []

    def see(self, query, key, call, layer):
        key = key.repeat_interleave(len(query) // len(key), 0)
        self.seen.append((query @ key.mT * query.shape[-1] ** -0.5).softmax(-1))


def test_observers_can_work_out_the_weights_that_diffusers_computes(unet, monkeypatch):
    theirs = []
    for name, module in unet.named_modules():
        if name.endswith(".attn2"):

            def scores(query, key, mask=None, own=module.get_attention_scores):
                theirs.append(own(query, key, mask))
                return theirs[-1]

            monkeypatch.setattr(module, "get_attention_scores", scores)
    unet.set_attn_processor(Scores())
    observer = Weights()
    with torch.no_grad():
        with_edit(Edit("test", observe=observer), unet)
    assert len(theirs) == len(observer.seen) == 16
    for got, wanted in zip(observer.seen, theirs, strict=True):
        torch.testing.assert_close(got.flatten(0, 1), wanted, rtol=1e-4, atol=1e-6)


def test_hooks_go_even_when_an_observer_fails(unet):
    class Failing(Weights):
        def see(self, query, key, call, layer):
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        with_edit(Edit("test", observe=Failing()), unet)
    assert hooks(unet) == 0
