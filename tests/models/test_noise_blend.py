"""Noise made of two: mean, variance and correlation as the closed forms say, by place too."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.video.noise import FrameNoise
from frameloom.models.video.noise_blend import BlendedNoise

LATENT = {"samples": torch.zeros(4, 4, 64, 64)}
FIRST, OTHER = FrameNoise(1), FrameNoise(2)
N = LATENT["samples"].numel()
# What the closed forms say of a weight w: variance, and correlation with the first noise.
CLAIMED = {
    "replace": lambda w: (1.0, 0.0),
    "add": lambda w: (1 + w**2, 1 / (1 + w**2) ** 0.5),
    "weighted": lambda w: ((1 - w) ** 2 + w**2, (1 - w) / ((1 - w) ** 2 + w**2) ** 0.5),
    "normalised": lambda w: (1.0, (1 - w) / ((1 - w) ** 2 + w**2) ** 0.5),
}


def drawn(blend, weight, mask=None, latent=LATENT):
    return BlendedNoise(FIRST, OTHER, blend, weight, mask).generate_noise(latent)


@pytest.mark.parametrize("blend", CLAIMED)
@pytest.mark.parametrize("weight", [0.0, 0.2, 0.5, 1.0])
def test_mean_variance_and_correlation_are_as_claimed(blend, weight):
    """Bounds: 4.9 standard errors, as in test_noise.py."""
    noise, first = drawn(blend, weight).double(), FIRST.generate_noise(LATENT).double()
    variance, correlation = CLAIMED[blend](weight)
    assert abs(float(noise.mean())) < 4.9 * (variance / N) ** 0.5
    assert abs(float(noise.var()) / variance - 1) < 4.9 * (2 / N) ** 0.5
    found = float(torch.corrcoef(torch.stack([noise.flatten(), first.flatten()]))[0, 1])
    assert abs(found - correlation) < 4.9 / N**0.5


@pytest.mark.parametrize("blend", CLAIMED)
def test_a_mask_says_where(blend):
    mask = torch.zeros(4, 8, 8)
    mask[1, :, :4] = 1
    noise, first = drawn(blend, 0.3, mask), FIRST.generate_noise(LATENT)
    assert torch.equal(noise[[0, 2, 3]], first[[0, 2, 3]])
    assert torch.equal(noise[1, :, :, 40:], first[1, :, :, 40:])
    assert torch.equal(noise[1, :, :, :24], drawn(blend, 0.3)[1, :, :, :24])


def test_normalised_noise_is_standard_at_the_soft_edge_of_a_mask_too():
    mask = torch.linspace(0, 1, 64).expand(1, 64, 64)
    columns = drawn("normalised", 0.8, mask).double().movedim(-1, 0).flatten(1)
    assert (columns.var(1) - 1).abs().max() < 4.9 * (2 / columns.shape[1]) ** 0.5


def test_it_is_noise_to_blend_again_and_its_seed_is_the_firsts():
    twice = BlendedNoise(BlendedNoise(FIRST, OTHER, "add", 0.5), FrameNoise(3), "replace", 0.0)
    assert twice.seed == 1
    assert torch.equal(twice.generate_noise(LATENT), FrameNoise(3).generate_noise(LATENT))


def test_frames_keep_their_noise_by_their_numbers():
    later = {"samples": LATENT["samples"][:2], "batch_index": [2, 3]}
    assert torch.equal(drawn("normalised", 0.4, None, later), drawn("normalised", 0.4)[2:])


def test_a_latent_of_video_is_refused():
    with pytest.raises(ValueError, match="one of a video model"):
        drawn("add", 0.5, None, {"samples": torch.zeros(1, 16, 2, 8, 8)})
