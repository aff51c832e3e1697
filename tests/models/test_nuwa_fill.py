"""Drawing the frames between two: noise, ends, resampling, and what a perfect model makes of it."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from frameloom.models.long_video.nuwa_fill import Filling, fill_between, job_noise, turn_noise
from frameloom.models.long_video.nuwa_tree import Tree
from frameloom.tests.support.tensors import draw

TREE = Tree(5, 3, {0: "a"})
JOB = TREE.job(2, 1)
SHAPE = (4, 8, 8)
SIGMAS = torch.tensor([14.0, 7.0, 3.0, 1.0, 0.3, 0.0])
FILLINGS = [
    Filling(),
    Filling("own noise", resample_rounds=1),
    Filling("turned noise", correlation=1.0, resample_rounds=3, resample_share=1.0),
    Filling("cross-fade"),
    Filling("cross-fade", denoise=0.0),
]


class Oracle:
    """Euler's method with a denoiser that knows the clip, and keeps the ends at each level as inpainting does."""

    def __init__(self, clip):
        self.clip, self.taken, self.starts = clip, [], []

    def __call__(self, latents, noise, sigmas):
        self.taken.append([float(sigma) for sigma in sigmas])
        noisy = latents + noise * sigmas[0]
        self.starts.append(noisy.clone())
        for now, after in itertools.pairwise(sigmas):
            noisy = self.clip + (noisy - self.clip) * (after / now)
        return noisy


def ends(seed=3):
    return draw(2, *SHAPE, seed=seed)


def clip():
    """A straight line between the ends."""
    part = torch.linspace(0, 1, TREE.length).view(-1, 1, 1, 1)
    return torch.lerp(ends()[:1], ends()[1:], part)


def fill(filling, oracle=None, job=JOB, seed=7, given=None):
    return fill_between(
        job, ends() if given is None else given, filling, seed=seed, sigmas=SIGMAS, unit=1.0,
        sample=oracle or Oracle(clip()),
    )  # fmt: skip


@pytest.mark.parametrize("filling", FILLINGS, ids=repr)
def test_a_perfect_model_draws_its_clip_from_any_start(filling):
    torch.testing.assert_close(fill(filling), clip(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("filling", FILLINGS, ids=repr)
def test_the_ends_are_given_back_bit_for_bit(filling):
    frames = fill(filling, Oracle(torch.zeros(TREE.length, *SHAPE)))
    assert torch.equal(frames[[0, -1]], ends())


@pytest.mark.parametrize("filling", FILLINGS, ids=repr)
def test_as_many_steps_are_taken_as_it_counts(filling):
    oracle = Oracle(clip())
    fill(filling, oracle)
    assert sum(len(sigmas) - 1 for sigmas in oracle.taken) == filling.count_steps(len(SIGMAS) - 1)


def test_resampling_takes_the_first_steps_again_and_the_rest_once():
    oracle = Oracle(clip())
    fill(Filling(resample_rounds=3, resample_share=0.4), oracle)
    first, second = SIGMAS[:2].tolist(), SIGMAS[1:3].tolist()
    assert oracle.taken == [first] * 3 + [second] * 3 + [SIGMAS[2:].tolist()]


def test_a_step_is_undone_to_the_noise_that_it_started_from():
    """RePaint, algorithm 1, line 9: what was left of the noise, and what is added, make the level's own."""
    oracle = Oracle(clip())
    fill(Filling("own noise", resample_rounds=2, resample_share=1.0), oracle)
    for (sigma, _), start in zip(oracle.taken, oracle.starts, strict=True):
        assert float((start - clip())[1:-1].std()) == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize("filling", FILLINGS, ids=repr)
def test_every_step_starts_from_the_ends_at_its_levels_own_noise(filling):
    """Also one that is taken again: RePaint's line 4 noises what is known anew from the clean picture."""
    oracle, own = Oracle(clip()), job_noise(7, JOB, SHAPE)
    fill(filling, oracle)
    for (sigma, *_), start in zip(oracle.taken, oracle.starts, strict=True):
        torch.testing.assert_close(start[[0, -1]], ends() + sigma * own[[0, -1]], rtol=1e-5, atol=1e-5)


def test_a_cross_fade_starts_part_of_the_way_down():
    oracle = Oracle(clip())
    fill(Filling("cross-fade", denoise=0.6, resample_rounds=1), oracle)
    assert oracle.taken == [SIGMAS[2:].tolist()]
    torch.testing.assert_close(oracle.starts[0] - clip(), job_noise(7, JOB, SHAPE) * 3.0, rtol=0, atol=1e-5)


def test_noise_is_a_frames_by_seed_level_and_number_alone():
    noise = job_noise(7, JOB, SHAPE)
    assert torch.equal(noise, job_noise(7, JOB, SHAPE))
    neighbour = TREE.job(2, 2)
    assert torch.equal(noise[-1], job_noise(7, neighbour, SHAPE)[0]), "a frame that two jobs share"
    others = [
        job_noise(8, JOB, SHAPE),
        job_noise(7, neighbour, SHAPE),
        job_noise(7, JOB, SHAPE, 0, 1),
        job_noise(7, JOB, SHAPE, 1, 1),
        job_noise(7, TREE.job(3, 4), SHAPE),  # another level
    ]
    drawn = torch.stack([each[1].flatten() for each in (noise, *others)])
    assert (torch.corrcoef(drawn) - torch.eye(len(drawn))).abs().max() < 0.3


@pytest.mark.parametrize("correlation", [0.0, 0.5, 1.0])
def test_turned_noise_is_standard_normal_and_turns_from_end_to_end(correlation):
    own = draw(9, 200_000, seed=1)
    turned = turn_noise(own, correlation)
    assert torch.equal(turned[[0, -1]], own[[0, -1]])
    torch.testing.assert_close(turned.std(1), torch.ones(9), rtol=0, atol=0.01)
    matrix = torch.corrcoef(turned)
    for frame in range(1, 8):
        angle = math.pi / 2 * frame / 8
        assert float(matrix[frame, 0]) == pytest.approx(correlation**0.5 * math.cos(angle), abs=0.01)
        assert float(matrix[frame, -1]) == pytest.approx(correlation**0.5 * math.sin(angle), abs=0.01)
