"""FreeNoise against diffusers' where that is right, against its formula elsewhere, and what holds for any weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from diffusers.models.attention import FreeNoiseTransformerBlock
from diffusers.pipelines import free_noise_utils
from frameloom.models.long_video.free_noise import NoiseShuffle, WindowFusion
from frameloom.models.motion.mixing import Mixing
from frameloom.models.motion.module import TemporalBlock
from frameloom.models.network.layers import attend
from frameloom.tests.support.motion import tiny_size
from frameloom.tests.support.tensors import draw
from torch import nn

SIZES = [(length, stride) for length in (1, 2, 5, 8, 12) for stride in range(1, 13) if not length % stride]
CHANNELS, LENGTH, STRIDE, POSITIONS = 32, 8, 4, 12
FUSION = WindowFusion(LENGTH, STRIDE)
WINDOWS = Mixing(FUSION)


def tokens(frames, seed=0):
    return draw(5, frames, CHANNELS, seed=seed)


def block(attentions=2, attend=attend):
    """A block with random weights, the output projections' too, at whose scale attention tells frames apart."""
    size = replace(tiny_size(max_frames=POSITIONS), attentions=attentions)
    made = TemporalBlock(CHANNELS, size, nn, attend)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return made.eval().requires_grad_(False)


def silence(made):
    """Let no attention say anything."""
    for attention in made.attention_blocks:
        attention.to_out[0].weight.zero_()
        attention.to_out[0].bias.zero_()
    return made


def diffusers_twin(ours):
    """diffusers' block with the same weights; of one attention or two."""
    two = len(ours.attention_blocks) == 2
    theirs = FreeNoiseTransformerBlock(
        CHANNELS, 8, CHANNELS // 8, double_self_attention=two, positional_embeddings="sinusoidal",
        num_positional_embeddings=POSITIONS, context_length=LENGTH, context_stride=STRIDE,
    )  # fmt: skip
    if not two:
        theirs.attn2 = None  # which its forward asks for and its constructor leaves out
    names = {"ff_norm.": "norm3.", "ff.": "ff."}
    for number in range(1 + two):
        names |= {
            f"attention_blocks.{number}.": f"attn{number + 1}.",
            f"norms.{number}.": f"norm{number + 1}.",
        }
    state = {
        theirs_name + key.removeprefix(name): value
        for key, value in ours.state_dict().items()
        for name, theirs_name in names.items()
        if key.startswith(name) and "pos_encoder" not in key
    }
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {"pos_embed.pe"}
    return theirs.eval().requires_grad_(False)


def test_any_window_from_a_multiple_of_the_stride_on_has_each_noise_once():
    for length, stride in SIZES:
        for frames in (length, length + 1, 3 * length - 1, 5 * length + stride):
            sources = NoiseShuffle(length, stride, seed=frames).sources(range(frames))
            assert sources[:length] == list(range(length))
            for start in range(0, frames - length + 1, stride):
                window = sources[start : start + length]
                assert sorted(window) == list(range(length)), (length, stride, start)


def test_a_frames_noise_depends_on_its_number_alone_and_on_the_seed():
    shuffle = NoiseShuffle(16, 4, seed=7)
    whole = shuffle.sources(range(64))
    assert shuffle.sources(range(37)) == whole[:37]
    assert shuffle.sources([60, 5, 21]) == [whole[60], whole[5], whole[21]]
    assert NoiseShuffle(16, 4, seed=8).sources(range(64)) != whole
    assert whole[16:32] != list(range(16)), "later frames come in the order of the first"


def test_the_order_is_apart_from_torchs_own_random_state():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one = NoiseShuffle(8, 4).sources(range(30))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert NoiseShuffle(8, 4).sources(range(30)) == one


@pytest.mark.parametrize(("frames", "length", "stride"), [(64, 16, 4), (27, 8, 4), (33, 12, 3), (16, 16, 4)])
def test_the_order_is_that_of_diffusers_for_a_generator_of_the_same_seed(monkeypatch, frames, length, stride):
    """diffusers draws noise and order from one generator; here its noise is the frames' numbers, drawn from none."""

    def numbers(shape, **_):
        return torch.arange(shape[2]).view(1, 1, -1, 1, 1).expand(shape).clone()

    monkeypatch.setattr(free_noise_utils, "randn_tensor", numbers)
    pipeline = free_noise_utils.AnimateDiffFreeNoiseMixin()
    pipeline._free_noise_context_length, pipeline._free_noise_context_stride = length, stride
    pipeline._free_noise_noise_type, pipeline.vae_scale_factor = "shuffle_context", 8
    theirs = pipeline._prepare_latents_free_noise(
        1, 1, frames, 8, 8, torch.int64, torch.device("cpu"), torch.Generator().manual_seed(11)
    )
    assert NoiseShuffle(length, stride, 11).sources(range(frames)) == theirs.flatten().tolist()


def test_every_frame_is_covered_and_its_weights_sum_to_one():
    for length, stride in SIZES:
        fusion = WindowFusion(length, stride)
        for frames in range(length, 3 * length + 3):
            starts, weights = fusion.starts(frames), fusion.weights(frames)
            assert weights.shape == (len(starts), frames)
            assert starts[-1] == frames - length
            assert starts == sorted(set(starts))
            torch.testing.assert_close(weights.sum(0), torch.ones(frames), atol=1e-6, rtol=0)
            for start, row in zip(starts, weights, strict=True):
                assert (row[start : start + length] > 0).all()
                assert row.count_nonzero() == length


def test_attentions_that_say_nothing_change_nothing_where_diffusers_attenuates_the_end_of_a_clip():
    """The defect for which diffusers is no reference there: weights of the last frames are summed as one."""
    made = silence(block())
    made.ff.net[2].weight.zero_()
    made.ff.net[2].bias.zero_()
    x, theirs = tokens(19), diffusers_twin(made)
    kept = (theirs(x) / x).mean((0, 2))
    torch.testing.assert_close(kept[-3:], torch.tensor([1.0, 2 / 3, 1 / 3]), atol=1e-4, rtol=0)
    assert torch.equal(made(x, WINDOWS), x)


@pytest.mark.parametrize("frames", [LENGTH, LENGTH + STRIDE, 5 * LENGTH])
def test_a_block_of_one_attention_equals_diffusers_where_windows_fit(frames):
    """Fusing each attention, or the whole block before its feed-forward, is the same with one attention."""
    made, x = block(attentions=1), tokens(frames)
    # fp32 sums in another order: projections before the encoding is added, output projection after fusion
    torch.testing.assert_close(made(x, WINDOWS), diffusers_twin(made)(x), atol=2e-5, rtol=2e-5)


def test_of_two_attentions_diffusers_fuses_the_pair_and_we_each():
    made = block(attentions=2)
    theirs = diffusers_twin(made)
    torch.testing.assert_close(made(tokens(LENGTH), WINDOWS), theirs(tokens(LENGTH)), atol=2e-5, rtol=2e-5)
    assert (made(tokens(16), WINDOWS) - theirs(tokens(16))).abs().max() > 0.01


def by_hand(made, x):
    """The formula of section 3.2 for each attention, frame by frame, with nothing shared but the weights."""
    frames = x.shape[1]
    starts = [*range(0, frames - LENGTH, STRIDE), frames - LENGTH]
    for attention, norm in zip(made.attention_blocks, made.norms, strict=True):
        total, shares = torch.zeros_like(x), Counter()
        for start in starts:
            answer = attention(norm(x[:, start : start + LENGTH]))
            for place in range(LENGTH):
                weight = min(place + 1, LENGTH - place)
                total[:, start + place] += weight * answer[:, place]
                shares[start + place] += weight
        x = x + torch.stack([total[:, frame] / shares[frame] for frame in range(frames)], 1)
    return x + made.ff(made.ff_norm(x))


@pytest.mark.parametrize("frames", [LENGTH + 1, 19, 24, 41])
def test_any_length_is_as_the_formula_has_it(frames):
    made, x = block(), tokens(frames)
    torch.testing.assert_close(made(x, WINDOWS), by_hand(made, x), atol=2e-5, rtol=2e-5)


def test_attention_never_sees_more_than_one_window_at_once():
    seen = []

    def note(query, key, value, heads):
        seen.append({part.shape for part in (query, key, value)})
        return attend(query, key, value, heads)

    block(attend=note)(tokens(19), WINDOWS)
    assert seen == [{(5, LENGTH, CHANNELS)}] * (2 * 4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_single(dtype):
    made, x = block(), tokens(19)
    single = made(x, WINDOWS)
    half = made.to(dtype)(x.to(dtype), WINDOWS)
    assert half.dtype == dtype
    # As of the plain module: a dozen roundings of 2^-8 or 2^-11, amplified by weights.
    assert (half.float() - single).norm() / single.norm() < (0.05 if dtype == torch.bfloat16 else 0.005)
