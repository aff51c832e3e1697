"""Figures of known clips: a disc of known speed, a frozen clip, noise; and what the controls must show."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.video.metrics import compare_videos, describe, displacement, frame_similarity, measure
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

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


MOVES = [(0.0, 0.0, 128), (0.0, 0.03, 128), (2.5, 0.03, 256), (4.0, 0.0, 64), (6.25, 0.03, 128)]


@pytest.mark.parametrize(("step", "noise", "size"), MOVES)
def test_motion_is_the_speed_of_what_moves_and_a_still_picture_has_none_even_with_noise(step, noise, size):
    # The search is on 64 pixels a side: 1.6 percent.
    motion = measure(moving_square(step, size, noise)).video.motion
    assert motion == pytest.approx(step, abs=1.6 if step else 0.3)


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
    with pytest.raises(ValueError, match=r"images is \(\d, 8.*expected at least 3 frames as \[frames, h"):
        measure(torch.zeros(shape))


def test_the_table_shows_both_controls_and_motion_a_second():
    table = describe(measure(moving_square(4)), fps=10)
    assert table.splitlines()[0].split() == ["video", "frozen", "shuffled"]
    per_frame, per_second = (float(line.split()[-3]) for line in table.splitlines()[3:5])
    assert per_second == pytest.approx(10 * per_frame, rel=0.01)


class Held(TorchDispatchMode):
    """Notes the most bytes that the tensors made in it hold at once."""

    def __init__(self):
        super().__init__()
        self.storages, self.most = {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in (each for each in tree_leaves(out) if isinstance(each, torch.Tensor)):
            storage = tensor.untyped_storage()
            self.storages[StorageWeakRef(storage)] = storage.nbytes()
        self.storages = {each: size for each, size in self.storages.items() if not each.expired()}
        self.most = max(self.most, sum(self.storages.values()))
        return out


def test_a_video_takes_little_memory_beside_it():
    """What grows with it is its reduced pictures, here less than half of it."""
    video, most = torch.rand(24, 384, 384, 3), []
    for frames in (6, 24):
        with Held() as held:
            measure(video[:frames])
        most.append(held.most)
    assert most[1] - most[0] < 0.5 * video.nbytes


def test_figures_are_those_of_the_whole_video_at_once():
    """Frames are worked on a few at a time, which must lose no pair at a joint."""
    images = moving_square(4, 260, noise=0.03)
    frames, figures = images.movedim(-1, 1), measure(images).video
    similarity, motion = frame_similarity(frames[:-1], frames[1:]), displacement(frames)
    torch.testing.assert_close(figures.similarity_by_frame, similarity, rtol=0, atol=1e-6)
    torch.testing.assert_close(figures.motion_by_frame, motion, rtol=0, atol=1e-6)
    flicker = (frames[2:] - 2 * frames[1:-1] + frames[:-2]).abs().mean()
    assert figures.flicker == pytest.approx(float(flicker), abs=1e-6)
    assert figures.drift == pytest.approx(1 - float(frame_similarity(frames[:1], frames[-1:])), abs=1e-6)


def test_another_video_is_measured_as_by_itself_and_by_its_distance_from_the_first():
    video, other = moving_square(4, noise=0.01), moving_square(2)
    comparison = compare_videos(video, other)
    alone = measure(other).video
    assert comparison.other.motion == alone.motion
    assert torch.equal(comparison.other.similarity_by_frame, alone.similarity_by_frame)
    wanted = torch.tensor([float(abs(a - b).sum() / a.numel()) for a, b in zip(video, other, strict=True)])
    torch.testing.assert_close(comparison.difference_by_frame, wanted)
    assert compare_videos(video, video).difference_by_frame.abs().max() == 0


def test_the_table_names_the_other_video_and_the_frame_that_differs_most():
    video, other = moving_square(4), moving_square(4)
    other[7] = 1 - other[7]
    lines = describe(measure(video), 8.0, compare_videos(video, other)).splitlines()
    assert lines[0].split() == ["video", "frozen", "shuffled", "compare"]
    assert lines[-1].endswith("in frame 7")
    assert lines[1:6] != describe(measure(video), 8.0).splitlines()[1:]


@pytest.mark.parametrize("shape", [(11, 32, 32, 3), (12, 32, 48, 3)])
def test_another_video_of_other_frames_is_refused(shape):
    with pytest.raises(
        ValueError, match=r"compare has 1\d frames of \d\d x 32; expected 12 frames of 32 x 32"
    ):
        compare_videos(torch.zeros(12, 32, 32, 3), torch.zeros(shape))
