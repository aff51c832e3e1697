"""The flash of given frames: what is planted is taken out, and a clip without one stays as it was."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.edits.run import sample_run
from frameloom.models.long_video.free_init import NoiseReinit
from frameloom.models.motion.flash import EvenFrames
from frameloom.tests.support.tensors import apart

FRAMES = 8
BOTH = ["given like others", "others like given"]


def steady(frames=FRAMES, drift=0.0):
    """A clip whose frames show different things with equal moments, or with a mean that goes up steadily."""
    clip = torch.randn(frames, 4, 16, 16, generator=torch.Generator().manual_seed(5))
    clip = (clip - clip.mean((-2, -1), True)) / clip.std((-2, -1), keepdim=True, correction=0)
    channels = torch.tensor([0.5, -1.0, 2.0, 0.0])[:, None, None]
    return 0.8 * clip + channels + drift * torch.arange(frames)[:, None, None, None]


def flashed(clip, *frames, light=1.5, contrast=1.4):
    """The clip with frames of more light and contrast, each channel its own."""
    light = light * torch.tensor([1.0, -0.3, 0.2, 0.5])[:, None, None]
    clip = clip.clone()
    for frame in frames:
        middle = clip[frame].mean((-2, -1), True)
        clip[frame] = (clip[frame] - middle) * contrast + middle + light
    return clip


@pytest.mark.parametrize("places", [(0,), (7,), (0, 7), (3,), (0, 3, 4, 6), (0, 2, 4, 6)])
def test_a_planted_flash_is_taken_out_of_the_given_frames(places):
    """To the last digit of float32: what comes out is the clip before it was planted."""
    clip = steady()
    torch.testing.assert_close(EvenFrames(places).finish(flashed(clip, *places)), clip, rtol=0, atol=2e-5)


@pytest.mark.parametrize("places", [(0,), (3,), (0, 7), (0, 2, 4, 6)])
def test_or_the_others_get_the_light_and_contrast_of_the_given_ones(places):
    drawn = EvenFrames(places, "others like given").finish(flashed(steady(), *places))
    wanted = flashed(steady(), *range(FRAMES))
    torch.testing.assert_close(drawn, wanted, rtol=0, atol=3e-5)


@pytest.mark.parametrize("which", BOTH)
def test_a_clip_without_flash_stays_as_it_was(which):
    """Where light goes up steadily, a given frame between others too; at an end it moves by one frame's step."""
    clip = steady()
    assert apart(EvenFrames((0, 3), which).finish(clip), clip) < 1e-6
    drifting = steady(drift=0.1)
    assert apart(EvenFrames((3,), which).finish(drifting), drifting) < 1e-6
    moved = EvenFrames((0,), which).finish(drifting) - drifting
    assert moved.abs().max() == pytest.approx(0.1, rel=1e-3)


def test_flashes_that_differ_go_over_into_each_other():
    """The first picture is brighter by 1, the last by 2: between them each frame is one seventh of 1 brighter."""
    clip, light = steady(), 1 + torch.arange(FRAMES)[:, None, None, None] / (FRAMES - 1)
    planted = clip.clone()
    planted[[0, -1]] += light[[0, -1]]
    drawn = EvenFrames((0, FRAMES - 1), "others like given").finish(planted)
    torch.testing.assert_close(drawn, clip + light, rtol=0, atol=2e-5)


@pytest.mark.parametrize("which", BOTH)
def test_the_other_side_is_not_touched_and_nothing_else_is_compared(which):
    clip, places = flashed(steady(), 0, 3), (0, 3)
    drawn = EvenFrames(places, which).finish(clip)
    kept = list(places) if which == "others like given" else [1, 2, 4, 5, 6, 7]
    assert torch.equal(drawn[kept], clip[kept])
    assert EvenFrames(tuple(range(FRAMES)), which).finish(clip) is clip
    assert EvenFrames(places, "as drawn").finish(clip) is clip


def test_plain_frames_stay_finite():
    """A frame of one colour has no contrast, and gets none."""
    clip = steady()
    clip[0] = 3.0
    drawn = EvenFrames((0,)).finish(clip)
    assert drawn.isfinite().all()
    torch.testing.assert_close(drawn[0].mean((-2, -1)), clip[1].mean((-2, -1)), rtol=0, atol=1e-5)


def test_it_finishes_every_run_and_those_alone_that_end_without_noise():
    """Beside FreeInit too, which starts again from a clip without flash."""
    clip = flashed(steady(), 0)
    noise, seen = torch.randn(clip.shape, generator=torch.Generator().manual_seed(1)), []

    def once(start, sigmas, shown):
        seen.append(start)
        return clip

    edits = [Edit("flash", result=EvenFrames((0,)))]
    told = {"noise": noise, "latent": torch.zeros_like(clip), "highest": 14.6}
    part = sample_run(edits, once, sigmas=torch.tensor([14.6, 1.0]), **told)
    whole = sample_run(edits, once, sigmas=torch.tensor([14.6, 0.0]), **told)
    assert torch.equal(part, clip)
    assert apart(whole, steady()) < 1e-5
    seen.clear()
    again = Edit("Free Init", run=NoiseReinit(1))
    assert torch.equal(sample_run([again, *edits], once, sigmas=torch.tensor([14.6, 0.0]), **told), whole)
    second = seen[1]
    sample_run([again], once, sigmas=torch.tensor([14.6, 0.0]), **told)
    assert apart(second, seen[-1]) > 1e-3
