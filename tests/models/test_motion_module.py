"""The motion module against diffusers' with the same weights, and the properties that hold for any weights."""

from __future__ import annotations

import pytest
import torch
from diffusers import MotionAdapter
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from einops import rearrange
from frameloom.models.long_video.free_noise import WindowFusion
from frameloom.models.motion.checkpoint import to_diffusers
from frameloom.models.motion.mixing import Mixing
from frameloom.models.motion.module import MotionModel, TemporalTransformer
from frameloom.models.network.layers import attend, attend_briefly
from frameloom.tests.support.motion import tiny_module, tiny_size, tiny_weights
from torch import nn

SLOT = "down_blocks.1.motion_modules.0"  # 64 channels
FRAMES = 6


def hidden(videos: int = 2, frames: int = FRAMES, channels: int = 64, size: int = 4, seed: int = 0):
    """Frames of unequal scale, so that the two norm scopes differ."""
    generator = torch.Generator().manual_seed(seed)
    clip = torch.randn(videos, frames, channels, size, size + 1, generator=generator)
    return rearrange(clip * torch.linspace(0.5, 2, frames).view(1, -1, 1, 1, 1), "b f c h w -> (b f) c h w")


def transformer(norm_scope="frame") -> TemporalTransformer:
    ours = tiny_module().transformer(SLOT)
    ours.norm_scope = norm_scope
    return ours


def diffusers_twin() -> AnimateDiffTransformer3D:
    state, config = to_diffusers(tiny_weights())
    adapter = MotionAdapter(**config)
    adapter.load_state_dict(state)
    return adapter.down_blocks[1].motion_modules[0].eval()


class FrameNorm(nn.GroupNorm):
    """The statistics of each frame by itself, for diffusers' [B, C, F, H, W]."""

    def forward(self, clip):
        frames = super().forward(rearrange(clip, "b c f h w -> (b f) c h w"))
        return rearrange(frames, "(b f) c h w -> b c f h w", f=clip.shape[2])


@pytest.mark.parametrize("frames", [1, FRAMES, 32])
@pytest.mark.parametrize("norm_scope", ["frame", "clip"])
@torch.no_grad()
def test_equals_diffusers_in_either_norm_scope(norm_scope, frames):
    theirs, x = diffusers_twin(), hidden(frames=frames)
    if norm_scope == "frame":
        norm = FrameNorm(32, 64, eps=1e-6)
        norm.load_state_dict(theirs.norm.state_dict())
        theirs.norm = norm
    expected = theirs(x, num_frames=frames)
    # rounding of fp32 sums of 64 to 256 terms
    torch.testing.assert_close(x + transformer(norm_scope)(x, frames), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_strength_scales_the_change_and_zero_returns_the_input_itself():
    module, x = tiny_module(), hidden()
    change = module(SLOT, x, FRAMES) - x
    assert module(SLOT, x, FRAMES, 0.0) is x
    torch.testing.assert_close(module(SLOT, x, FRAMES, 0.3), x + 0.3 * change, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_frames_that_are_numbered_have_the_encodings_of_their_numbers():
    ours, twin, numbers = tiny_module(), tiny_module(), torch.tensor([1, 4, 5, 20])
    for name, encoding in twin.named_buffers():
        assert name.endswith(".pe")
        encoding[:, :4] = encoding[:, numbers]
    x = hidden(frames=4)
    ours.number_frames(numbers)
    assert torch.equal(ours(SLOT, x, 4), twin(SLOT, x, 4))
    ours.number_frames(None)
    assert torch.equal(ours(SLOT, x, 4), tiny_module()(SLOT, x, 4))
    assert not torch.allclose(ours(SLOT, x, 4), twin(SLOT, x, 4), atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_single(dtype):
    x = hidden()
    half = transformer().to(dtype)(x.to(dtype), FRAMES)
    assert half.dtype == dtype
    single = transformer()(x, FRAMES)
    # A dozen roundings of 2^-8 (bfloat16) or 2^-11 (float16), amplified by weights of variance above 1 / C.
    assert (half.float() - single).norm() / single.norm() < (0.05 if dtype == torch.bfloat16 else 0.005)


def test_a_batch_that_is_no_whole_number_of_videos_is_refused():
    with pytest.raises(ValueError, match=r"batch=12 is not a whole number of videos of frames=5"):
        tiny_module()(SLOT, hidden(), 5)


@pytest.mark.parametrize(
    ("slot", "error"), [("down_blocks.4.motion_modules.0", "down_blocks.4"), ("middle", "middle")]
)
def test_a_slot_that_sd1_does_not_have_is_refused(slot, error):
    size = tiny_size()
    with pytest.raises(ValueError, match=rf"slot '{error}.* is not one of SD1.x's"):
        MotionModel(type(size)({**size.channels, slot: 32}))


def test_gradients_reach_every_weight():
    module = tiny_module()
    for slot in module.slots:
        module(slot, hidden(channels=module.size.channels[slot]), FRAMES).square().mean().backward()
    assert [
        name for name, value in module.named_parameters() if value.grad is None or not value.grad.any()
    ] == []


def test_attending_by_small_products_is_attending():
    """Values and gradients."""
    parts = torch.randn(3, 5, 16, 32, generator=torch.Generator().manual_seed(0), requires_grad=True)
    outs = [way(*parts, 8) for way in (attend_briefly, attend)]
    grads = [torch.autograd.grad(out.square().sum(), parts)[0] for out in outs]
    for got, wanted in (outs, grads):
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("frames", "time", "message"),
    [
        (
            33,
            None,
            "frames=33 is more than the 32 that the motion module's positional encoding holds; expected at ",
        ),
        (
            40,
            WindowFusion(36, 4),
            "window_length=36 is more than the 32 frames that .*; lower Free Noise's window_l",
        ),
    ],
    ids=["all frames", "a window"],
)
def test_attention_over_more_frames_than_the_encoding_holds_is_refused(frames, time, message):
    with pytest.raises(ValueError, match=message):
        transformer()(hidden(frames=frames), frames, Mixing(time))


@pytest.mark.parametrize("rows", [1, 3, 100])
@pytest.mark.parametrize("strength", [1.0, 0.3])
@torch.no_grad()
def test_rows_that_are_worked_out_a_few_at_a_time_are_the_same(strength, rows):
    module, x = tiny_module(), hidden()
    few = module(SLOT, x, FRAMES, strength, rows=rows)
    torch.testing.assert_close(few, module(SLOT, x, FRAMES, strength), atol=1e-6, rtol=1e-5)
    assert torch.equal(x, hidden())
