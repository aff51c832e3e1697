"""Figures of known clips: a disc of known speed, a frozen clip, noise; and what the controls must show."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.metrics import describe, displacement, frame_similarity, measure

FRAMES = 12


def moving_square(step: float, size: int = 128, noise: float = 0.0):
    """[F, H, W, 3]: a square that moves right by ``step`` percent of the width each frame, on a still background."""
    clip = torch.full((FRAMES, size, size, 3), 0.2)
    for frame in range(FRAMES):
        left = round(size * (0.05 + step / 100 * frame))
        clip[frame, size // 3 : size // 3 + size // 4, left : left + size // 4] = torch.tensor(
            [0.9, 0.1, 0.1]
        )
    generator = torch.Generator().manual_seed(0)
    return (clip + noise * torch.randn(clip.shape, generator=generator)).clamp(0, 1)


@pytest.mark.parametrize("step", [2.5, 4.0, 6.25])
@pytest.mark.parametrize("noise", [0.0, 0.03])
@pytest.mark.parametrize("size", [64, 128, 256])
def test_motion_is_the_speed_of_what_moves(step, noise, size):
    # The search is on 64 pixels a side: 1.6 percent.
    assert measure(moving_square(step, size, noise)).video.motion == pytest.approx(step, abs=1.6)


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_a_still_picture_has_no_motion_even_with_noise(noise):
    assert measure(moving_square(0.0, noise=noise)).video.motion < 0.3


def test_a_frozen_clip_scores_perfectly_on_everything_but_motion():
    frozen = measure(moving_square(4)).frozen
    assert frozen.similarity == pytest.approx(1, abs=1e-5)
    assert (frozen.flicker, frozen.motion) == (0, 0)
    assert frozen.drift == pytest.approx(0, abs=1e-5)


def test_shuffled_frames_lose_similarity_and_flicker_more():
    report = measure(moving_square(4))
    assert report.shuffled.similarity < report.video.similarity - 0.01
    assert report.shuffled.flicker > 2 * report.video.flicker


def test_the_shuffled_control_is_the_same_every_time():
    assert measure(moving_square(4)).shuffled.similarity == measure(moving_square(4)).shuffled.similarity


def test_a_steady_change_does_not_flicker_and_a_blink_does():
    ramp = torch.linspace(0, 1, FRAMES).view(-1, 1, 1, 1).expand(-1, 16, 16, 3)
    assert measure(ramp).video.flicker < 1e-6
    blink = (torch.arange(FRAMES) % 2).float().view(-1, 1, 1, 1).expand(-1, 16, 16, 3)
    assert measure(blink).video.flicker == pytest.approx(2)


def test_similarity_is_one_for_equal_frames_and_falls_with_noise():
    frame = moving_square(0)[:1].permute(0, 3, 1, 2)
    generator = torch.Generator().manual_seed(0)
    noises = [frame + scale * torch.randn(frame.shape, generator=generator) for scale in (0.0, 0.02, 0.1)]
    values = [float(frame_similarity(frame, noisy)) for noisy in noises]
    assert values[0] == pytest.approx(1, abs=1e-5)
    assert values[0] > values[1] > values[2]


def test_drift_grows_with_the_distance_of_the_ends():
    assert measure(moving_square(6.25)).video.drift > 5 * measure(moving_square(0, noise=0.001)).video.drift


@pytest.mark.parametrize("shape", [(3, 8, 8, 3), (3, 300, 40, 3), (5, 17, 33, 3)])
def test_odd_sizes_give_finite_figures(shape):
    figures = measure(torch.rand(shape, generator=torch.Generator().manual_seed(0))).video
    assert torch.isfinite(
        torch.tensor([figures.similarity, figures.flicker, figures.motion, figures.drift])
    ).all()
    assert len(figures.similarity_by_frame) == len(figures.motion_by_frame) == shape[0] - 1


def test_displacement_of_a_jump_beyond_reach_is_not_invented():
    clip = torch.zeros(2, 3, 64, 64)
    clip[0, :, :8, :8] = 1
    clip[1, :, 50:58, 50:58] = 1
    assert float(displacement(clip)[0]) <= 100 * 2**0.5 * 6 / 64


@pytest.mark.parametrize("shape", [(2, 8, 8, 3), (4, 8, 8), (4, 8, 8, 4)])
def test_what_is_no_video_is_refused(shape):
    with pytest.raises(
        ValueError, match=r"images is \(\d, 8.*expected at least 3 frames as \[frames, height, width, 3\]"
    ):
        measure(torch.zeros(shape))


def test_the_table_shows_both_controls_and_motion_a_second():
    table = describe(measure(moving_square(4)), fps=10)
    assert table.splitlines()[0].split() == ["video", "frozen", "shuffled"]
    per_frame, per_second = (float(line.split()[-3]) for line in table.splitlines()[3:5])
    assert per_second == pytest.approx(10 * per_frame, rel=0.01)
