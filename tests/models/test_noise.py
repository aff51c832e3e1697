"""Noise by (seed, frame number): each frame standard normal, frames correlated as claimed, windows irrelevant."""

from __future__ import annotations

import math

import pytest
import torch
from frameloom.models.video.noise import FrameNoise, draw_noise
from torch.distributions import Normal

MODES = ["independent", "shared", "mixed", "progressive", "seed + frame"]
SHAPE = (4, 64, 64)
N = math.prod(SHAPE)  # 16384 values a frame
# Statistics of a fixed seed don't vary; the bounds are those of a test at p = 1e-6, two-sided: 4.9 standard errors.
SIGMAS = 4.9


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("frame", [0, 1, 15, 300])
def test_every_single_frame_is_standard_normal_in_every_mode(mode, frame):
    values = draw_noise(11, [frame], SHAPE, mode, 0.7).flatten().double()
    assert abs(values.mean()) < SIGMAS / N**0.5
    assert abs(values.var() - 1) < SIGMAS * (2 / N) ** 0.5
    # Kolmogorov and Smirnov: sqrt(N) D above 2.7 has p = 1e-6
    ordered = values.sort().values
    ideal = Normal(0.0, 1.0).cdf(ordered)
    steps = torch.arange(N + 1, dtype=torch.float64) / N
    distance = max((ideal - steps[:-1]).max(), (steps[1:] - ideal).max())
    assert distance * N**0.5 < 2.7


def correlation(first, second) -> float:
    return float(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1])


@pytest.mark.parametrize("apart", [1, 2, 5])
@pytest.mark.parametrize(
    ("mode", "r", "claimed"),
    [
        ("independent", 0.5, lambda apart: 0.0),
        ("mixed", 0.5, lambda apart: 0.5),
        ("mixed", 0.8, lambda apart: 0.8),
        ("mixed", 0.0, lambda apart: 0.0),
        ("progressive", 0.7071, lambda apart: 0.7071**apart),
        ("progressive", 0.9, lambda apart: 0.9**apart),
    ],
)
def test_frames_correlate_as_claimed(mode, r, claimed, apart):
    noise = draw_noise(5, range(12), SHAPE, mode, r)
    expected = claimed(apart)
    for frame in range(12 - apart):
        found = correlation(noise[frame], noise[frame + apart])
        # Fisher's z has standard error 1 / sqrt(N - 3)
        assert abs(math.atanh(found) - math.atanh(expected)) < SIGMAS / (N - 3) ** 0.5


def test_a_frame_of_seed_plus_frame_is_a_single_picture_of_that_seed():
    """As samplers draw it: [1, C, H, W] from a generator of the seed."""
    noise = draw_noise(7, [0, 3], SHAPE, "seed + frame")
    single = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(10))
    assert torch.equal(noise[1:], single)
    assert torch.isfinite(draw_noise(2**64 - 1, [0, 1], (4, 2, 2), "seed + frame")).all()


@pytest.mark.parametrize(("mode", "r"), [("shared", 0.5), ("mixed", 1.0), ("progressive", 1.0)])
def test_full_correlation_is_one_noise_for_all_frames(mode, r):
    noise = draw_noise(5, range(4), SHAPE, mode, r)
    assert all(torch.equal(noise[0], noise[frame]) for frame in range(4))


@pytest.mark.parametrize("mode", MODES)
def test_a_frames_noise_depends_on_seed_and_number_only(mode):
    whole = draw_noise(3, range(24), SHAPE, mode, 0.6)
    for window in ([0], [23], range(8, 16), [16, 3, 3, 9]):
        assert torch.equal(draw_noise(3, list(window), SHAPE, mode, 0.6), whole[list(window)])


@pytest.mark.parametrize("mode", MODES)
def test_neither_reads_nor_moves_the_global_generator(mode):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = draw_noise(3, [2], SHAPE, mode)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(draw_noise(3, [2], SHAPE, mode), first)


def test_frames_of_one_seed_and_seeds_that_agree_in_32_bits_are_unrelated():
    seeds = [0, 1, 2**32, 2**32 + 1, 2**64 - 1]
    frames = torch.cat([draw_noise(seed, range(3), SHAPE) for seed in seeds]).flatten(1)
    others = torch.corrcoef(frames) - torch.eye(len(frames))
    assert others.abs().max() < SIGMAS / N**0.5


def test_shared_noise_is_no_frames_own():
    own = draw_noise(5, range(8), SHAPE)
    shared = draw_noise(5, [0], SHAPE, "shared")
    assert all(abs(correlation(frame, shared[0])) < SIGMAS / N**0.5 for frame in own)


def latent(frames=4, **keys):
    return {"samples": torch.zeros(frames, 4, 16, 16), **keys}


def test_a_noise_socket_gives_what_draw_noise_gives():
    noise = FrameNoise(9, "mixed", 0.3)
    assert noise.seed == 9
    assert torch.equal(noise.generate_noise(latent()), draw_noise(9, range(4), (4, 16, 16), "mixed", 0.3))


@pytest.mark.parametrize("mode", MODES)
def test_a_clip_cut_out_of_a_latent_keeps_its_frames_noise(mode):
    whole = FrameNoise(9, mode).generate_noise(latent(12))
    cut = FrameNoise(9, mode).generate_noise(latent(3, batch_index=[5, 6, 7]))
    assert torch.equal(cut, whole[5:8])
    assert torch.equal(FrameNoise(9, mode, frame_offset=5).generate_noise(latent(3)), whole[5:8])


def test_numbers_of_other_frames_are_refused():
    message = r"batch_index has 1 numbers for 4 frames; expected one a frame.*Latent From Batch"
    with pytest.raises(ValueError, match=message):
        FrameNoise(9).generate_noise(latent(batch_index=[2]))


def test_noise_has_the_latents_dtype():
    assert FrameNoise(9).generate_noise({"samples": torch.zeros(2, 4, 8, 8).half()}).dtype == torch.float16


@pytest.mark.parametrize(
    ("noise", "numbers"), [(FrameNoise(0), [3, -2]), (FrameNoise(0, frame_offset=-4), [3, 2])]
)
def test_a_frame_below_0_is_refused(noise, numbers):
    with pytest.raises(ValueError, match=r"frame id -2 is negative; expected 0 or more"):
        noise.generate_noise(latent(2, batch_index=numbers))


def test_a_latent_of_a_video_model_is_refused():
    with pytest.raises(
        ValueError, match=r"a video model, \[1, 16, 5, 8, 8\], as Wan 2.1, .*core's Random Noise"
    ):
        FrameNoise(1).generate_noise({"samples": torch.zeros(1, 16, 5, 8, 8)})
