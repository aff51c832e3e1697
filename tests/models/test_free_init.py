"""FreeInit against diffusers' where that is right, against its formula elsewhere, and what holds of any clip."""

from __future__ import annotations

import itertools

import pytest
import torch
from diffusers import DDIMScheduler
from diffusers.pipelines import free_init_utils
from diffusers.pipelines.free_init_utils import FreeInitMixin
from frameloom.models.edits.edit import Edit
from frameloom.models.edits.run import sample_run
from frameloom.models.long_video.free_init import NoiseReinit
from frameloom.models.long_video.free_noise import NoiseShuffle
from frameloom.models.video.schedules import STABLE_DIFFUSION
from frameloom.tests.support.tensors import draw

NAMES = {"butterworth": "butterworth", "gaussian": "gaussian", "ideal_released": "ideal"}  # ours, diffusers'
FIRST_AXES, OUR_AXES = (-3, -2, -1), (0, 2, 3)
HIGHEST = float(STABLE_DIFFUSION.sigmas()[-1])
SIGMAS = torch.tensor([HIGHEST, 3.0, 1.0, 0.3, 0.0])


def their_filter(frames, height, width, ours, name):
    return FreeInitMixin()._get_free_init_freq_filter(
        (1, 1, frames, height, width), "cpu", name, ours.order, ours.spatial, ours.temporal
    )


def as_theirs(clip):
    """[F, C, H, W] to [1, C, F, H, W]."""
    return clip.movedim(0, 1)[None]


@pytest.mark.parametrize("sizes", [(2, 4, 6), (8, 16, 12)])
@pytest.mark.parametrize("stops", [(0.5, 0.25), (0.2, 0.7), (1.0, 1.0)])
@pytest.mark.parametrize("name", list(NAMES))
def test_filter_is_diffusers_for_even_sizes(sizes, stops, name):
    for order in (1, 4):
        ours = NoiseReinit(filter=name, spatial=stops[0], temporal=stops[1], order=order)
        shifted = torch.fft.fftshift(ours.low_pass(*sizes), dim=OUR_AXES)
        theirs = their_filter(*sizes, ours, NAMES[name])[0, 0, :, None]
        torch.testing.assert_close(shifted, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", list(NAMES))
def test_mixed_noise_is_diffusers_for_even_sizes(name):
    ours, slow, fresh = NoiseReinit(filter=name), draw(8, 4, 6, 10), draw(8, 4, 6, 10, seed=1)
    theirs = FreeInitMixin()._apply_freq_filter(
        as_theirs(slow), as_theirs(fresh), their_filter(8, 6, 10, ours, NAMES[name])
    )
    torch.testing.assert_close(as_theirs(ours.mix(slow, fresh)), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sizes", [(15, 8, 8), (16, 7, 9), (9, 11, 5), (1, 8, 8)])
def test_mixed_noise_is_real_for_odd_sizes_where_diffusers_is_not(sizes):
    frames, height, width = sizes
    spectrum = torch.fft.fftn(draw(frames, 1, height, width), dim=OUR_AXES)
    ours = NoiseReinit()
    kept = torch.fft.ifftn(spectrum * ours.low_pass(*sizes), dim=OUR_AXES)
    assert kept.imag.abs().max() < 1e-6 < kept.real.abs().max()
    if any(size % 2 and size > 1 for size in sizes):
        theirs = torch.fft.ifftshift(their_filter(*sizes, ours, "butterworth")[0, 0, :, None], dim=OUR_AXES)
        assert torch.fft.ifftn(spectrum * theirs, dim=OUR_AXES).imag.abs().max() > 0.01


def test_ideal_cuts_at_the_stop_frequency_and_the_released_one_beyond_it():
    """Over 16 frames, the k-th frequency is k / 8 of the highest."""
    passed = {
        name: NoiseReinit(filter=name, spatial=0.25, temporal=0.25).low_pass(16, 2, 2)[:, 0, 0, 0].tolist()
        for name in ("ideal", "ideal_released")
    }
    assert passed["ideal"] == [1, 1, 1, *[0] * 11, 1, 1]
    assert passed["ideal_released"] == [*[1] * 6, *[0] * 5, *[1] * 5]  # up to 0.707


def test_the_temporal_stop_frequency_is_where_half_passes_over_frames_and_the_spatial_one_in_a_picture():
    share = NoiseReinit(spatial=0.5, temporal=0.25).low_pass(16, 16, 16)[:, 0]
    assert share[2, 0, 0] == share[0, 4, 0] == share[0, 0, 4] == 0.5
    assert share[0, 0, 0] == 1


class Recorder:
    """Runs that note what they are given, and draw any clip."""

    def __init__(self):
        self.starts, self.shown, self.clips = [], [], []

    def __call__(self, noise, levels, shown):
        self.starts.append(noise)
        self.shown.append([shown(step) for step in range(len(levels) - 1)])
        self.clips.append(draw(*noise.shape, seed=100 + len(self.starts)))
        return self.clips[-1]


def repeat(reinit, noise=None, latent=None, sigmas=SIGMAS, shuffle=None):
    noise = draw(8, 4, 6, 6) if noise is None else noise
    runs = Recorder()
    edits = [Edit("first", noise=shuffle), Edit("test", run=reinit)]
    latent = torch.zeros_like(noise) if latent is None else latent
    clip = sample_run(edits, runs, noise, latent, sigmas, highest=HIGHEST)
    assert clip is runs.clips[-1]
    return noise, runs


def test_a_further_run_starts_as_diffusers_would_start_it(monkeypatch):
    """diffusers' mixin, with its own scheduler, is given the same fresh noise; also in the third run."""
    reinit = NoiseReinit(2, filter="gaussian")
    noise, runs = repeat(reinit)
    mixin = FreeInitMixin()
    mixin.enable_free_init(num_iters=3, method="gaussian")
    mixin.scheduler = DDIMScheduler(1000, 0.00085, 0.012, beta_schedule="scaled_linear")
    mixin._apply_free_init(as_theirs(noise), 0, 4, "cpu", torch.float32, None)
    for number in (1, 2):
        clip, start = runs.clips[number - 1], runs.starts[number]
        slow = (clip + HIGHEST * noise) / (1 + HIGHEST**2) ** 0.5
        # Any noise with the same high part is as good as the one that was drawn.
        high = start - reinit.mix(slow, torch.zeros_like(slow))
        spectrum = torch.fft.fftn(high, dim=OUR_AXES) / (1 - reinit.low_pass(8, 6, 6)).clamp(1e-6)
        fresh = torch.fft.ifftn(spectrum, dim=OUR_AXES).real
        monkeypatch.setattr(free_init_utils, "randn_tensor", lambda fresh=fresh, **_: as_theirs(fresh))
        theirs, _ = mixin._apply_free_init(as_theirs(clip), number, 4, "cpu", torch.float32, None)
        torch.testing.assert_close(theirs, as_theirs(start), rtol=1e-3, atol=1e-3)


def test_a_run_part_of_the_way_down_starts_from_the_last_clip_under_the_first_noise():
    reinit, latent, sigmas = NoiseReinit(1, filter="ideal"), draw(8, 4, 6, 6, seed=7), SIGMAS[1:]
    noise, runs = repeat(reinit, latent=latent, sigmas=sigmas)
    started = latent + sigmas[0] * runs.starts[1]
    wanted = runs.clips[0] + sigmas[0] * noise
    zero = torch.zeros_like(noise)
    torch.testing.assert_close(reinit.mix(started, zero), reinit.mix(wanted, zero), rtol=1e-4, atol=1e-4)


def test_fresh_noise_is_another_each_time_and_the_same_again():
    reinit = NoiseReinit(2, filter="ideal")
    (_, first), (_, again) = repeat(reinit), repeat(reinit)
    _, other = repeat(reinit, noise=draw(8, 4, 6, 6, seed=1))
    assert all(torch.equal(one, two) for one, two in zip(first.starts, again.starts, strict=True))
    zero = torch.zeros(8, 4, 6, 6)
    highs = [start - reinit.mix(start, zero) for start in (*first.starts[1:], other.starts[1])]
    for one, two in itertools.combinations(highs, 2):
        assert float((one * two).mean().abs()) < 0.1 * float(one.var())


def test_fresh_noise_is_arranged_as_the_first_was():
    """With FreeNoise, later frames have the noise of the first ones; of pictures without a low part, all of it."""
    shuffle = NoiseShuffle(4, 4)
    reinit = NoiseReinit(1, filter="ideal", spatial=0.01, temporal=0.01)  # the mean alone
    _, runs = repeat(reinit, noise=shuffle.arrange(draw(8, 4, 6, 6)), shuffle=shuffle)
    fresh = runs.starts[1] - runs.starts[1].mean(OUR_AXES, keepdim=True)
    torch.testing.assert_close(fresh, fresh[shuffle.sources(range(8))], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("steps", "runs", "counts"), [(20, 3, [6, 13, 20]), (4, 5, [1, 1, 2, 3, 4]), (1, 3, [1, 1, 1])]
)
def test_coarse_runs_take_some_of_the_levels_and_the_last_takes_all(steps, runs, counts):
    sigmas = torch.linspace(9, 0, steps + 1)
    schedules = NoiseReinit(runs - 1, coarse_to_fine=True).schedules(sigmas)
    assert [len(levels) - 1 for levels in schedules] == counts
    for levels in schedules:
        assert (levels[0], levels[-1]) == (9, 0)
        assert set(levels.tolist()) <= set(sigmas.tolist())
        assert (levels.diff() < 0).all()


def test_all_runs_together_are_shown_as_the_steps_of_one():
    _, runs = repeat(NoiseReinit(2, coarse_to_fine=True))
    shown = [step for steps in runs.shown for step in steps]
    assert shown == sorted(shown)
    assert (shown[0], shown[-1], set(shown)) == (0, 3, {0, 1, 2, 3})
