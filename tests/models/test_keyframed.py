"""A video of clips between keyframes: lengths, seams, order, files, and what is left when something goes wrong."""

from __future__ import annotations

import errno
import itertools
import os
import random
import signal
import subprocess
import sys
from dataclasses import dataclass, field

import pytest
import torch
from frameloom.models.errors import HostError, PredictionError
from frameloom.models.files import whole_file
from frameloom.models.files.disk_tensor import disk_tensor
from frameloom.models.long_video.job_folder import JobFolder
from frameloom.models.long_video.keyframed import (
    JoinedVideo,
    KeyframedPlan,
    check_length,
    job_noise,
    make_video,
)
from frameloom.models.network.time_law import TimeLaw
from frameloom.tests.support.disk import room_for

WAN = TimeLaw(4)
PLAN = KeyframedPlan(4, 5, WAN)
SIZE = 8, 12


@dataclass
class Drawn:
    """Draws a clip's noise; its pictures are that, with the sum of the ends added."""

    stop_before: int = 1000
    seed: int = 0
    calls: list[int] = field(default_factory=list)
    steps: int = 3
    shape: tuple[int, ...] = (1, 2, 2, *SIZE)
    bad: float = 0.0

    def sample(self, job, ends, watch):
        if len(self.calls) == self.stop_before:
            raise KeyboardInterrupt
        self.calls.append(job.index)
        watch(self.steps, None)
        return job_noise(self.seed, job, self.shape) + ends.sum() + self.bad

    def decode(self, job, latents):
        frames = latents[0].mean(0)  # [T, H, W]
        return torch.cat([frames[:1], frames[1:].repeat(4, 1, 1)])[..., None].expand(-1, -1, -1, 3)


def keyframes(count=4, seed=0):
    return torch.rand(count, *SIZE, 3, generator=torch.Generator().manual_seed(seed))


def unwatched(done, preview):
    """What a job tells where nobody looks."""


@pytest.fixture
def folder(tmp_path):
    return JobFolder(tmp_path / "clips", "key")


def make(folder, given=None, work=None, check=lambda: None, watch=unwatched, plan=PLAN):
    video = JoinedVideo(plan, keyframes() if given is None else given, folder)
    return make_video(video, work or Drawn(), watch, check)


def files(folder):
    return sorted(path.name for path in folder.path.glob("*") if not path.name.startswith("."))


@pytest.mark.parametrize(("count", "length", "frames"), [(2, 5, 5), (3, 5, 9), (4, 9, 25), (11, 81, 801)])
def test_neighbours_share_one_frame(count, length, frames):
    plan = KeyframedPlan(count, length, WAN)
    assert plan.frames == frames
    jobs = list(plan.jobs)
    assert [job.frames[0] for job in jobs[1:]] == [job.frames[-1] for job in jobs[:-1]]
    assert sorted({frame for job in jobs for frame in job.frames}) == list(range(frames))


def test_keyframes_are_in_the_video_bit_for_bit_and_no_frame_is_there_twice(folder):
    given = keyframes()
    video = make(folder, given)
    assert video.shape == (13, *SIZE, 3)
    assert torch.equal(video[::4], given)
    assert len({frame.numpy().tobytes() for frame in video[[0, 1, 4, 5, 8, 9, 12]]}) == 7


def test_frames_between_are_those_of_the_clip_decoded_by_itself(folder):
    given, work = keyframes(), Drawn()
    video = make(folder, given, work)
    for job in PLAN.jobs:
        alone = work.decode(job, work.sample(job, given[job.keyframes], unwatched))
        assert torch.equal(video[job.frames[1] : job.frames[-1]], alone[1:-1])


def test_the_order_of_jobs_changes_no_bit(tmp_path):
    wanted = make(JobFolder(tmp_path / "wanted", "key"))
    for seed in range(4):
        jobs = list(PLAN.jobs)
        random.Random(seed).shuffle(jobs)
        video = JoinedVideo(PLAN, keyframes(), JobFolder(tmp_path / str(seed), "key"))
        for job in jobs:
            video.make(job, Drawn(), unwatched)
        assert torch.equal(video.frames, wanted)


def test_noise_is_a_clips_own_by_seed_and_place():
    shape = (1, 2, 3, 4, 5)
    noises = [job_noise(seed, job, shape) for seed in (0, 1) for job in PLAN.jobs]
    assert all(noise.shape == shape for noise in noises)
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(noises, 2))
    assert torch.equal(job_noise(1, list(PLAN.jobs)[2], shape), noises[-1])
    assert abs(float(torch.cat(noises).std()) - 1) < 0.1


def test_a_part_of_a_video_is_that_part_of_the_whole_and_finds_its_finished_clips(folder, tmp_path):
    wanted, given, rest = make(folder), keyframes(), Drawn()
    for place in (JobFolder(tmp_path / "apart", "key"), folder):
        part = make(place, given[1:4], rest, plan=KeyframedPlan(3, 5, WAN, first=1))
        assert torch.equal(part, wanted[4:])
    assert rest.calls == [0, 1]
    unnumbered = make(JobFolder(tmp_path / "other", "key"), given[1:4], plan=KeyframedPlan(3, 5, WAN))
    assert not torch.equal(unnumbered, wanted[4:])


@pytest.mark.parametrize("done", [0, 1, 2])
def test_a_run_that_was_stopped_goes_on_where_it_was(folder, tmp_path, done):
    wanted = make(JobFolder(tmp_path / "wanted", "key"))
    with pytest.raises(KeyboardInterrupt):
        make(folder, work=Drawn(stop_before=done))
    rest = Drawn()
    assert torch.equal(make(folder, work=rest), wanted)
    assert rest.calls == list(range(done, 3))


KILLED = """
import os, signal, sys
import runpy; runpy.run_path(sys.argv[1])
from pathlib import Path
from frameloom.models.long_video.job_folder import JobFolder
from frameloom.tests.models.test_keyframed import Drawn, make
class Dies(Drawn):
    def sample(self, job, ends, watch):
        if job.index == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().sample(job, ends, watch)
make(JobFolder(Path(sys.argv[2]), "key"), work=Dies())
"""


def test_a_process_that_is_killed_leaves_finished_clips_and_no_frames(folder, tmp_path):
    bind = os.path.join(os.path.dirname(__file__), "..", "bind.py")
    done = subprocess.run([sys.executable, "-c", KILLED, bind, str(folder.path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(files(folder)) == len(list(folder.path.iterdir())) == 2
    rest = Drawn()
    assert torch.equal(make(folder, work=rest), make(JobFolder(tmp_path / "wanted", "key")))
    assert rest.calls == [2]


def test_an_exchanged_keyframe_draws_its_two_clips_anew(folder):
    given, work = keyframes(), Drawn()
    make(folder, given)
    given[1] = keyframes(seed=1)[0]
    make(folder, given, work)
    assert work.calls == [0, 1]


def test_a_cancel_between_jobs_keeps_what_is_finished(folder):
    checks = itertools.count()

    def check():
        if next(checks) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(folder, check=check)
    assert len(files(folder)) == 2


def test_steps_are_those_of_all_jobs_together(folder):
    told = []
    make(folder, watch=lambda done, preview: told.append(done))
    assert told == [3, 3, 6, 6, 9, 9]
    told.clear()
    make(folder, watch=lambda done, preview: told.append(done))
    assert told == [3, 6, 9]


def test_a_full_disk_in_the_middle_is_one_error_and_keeps_what_is_finished(folder, monkeypatch):
    real = whole_file.os.fsync

    def full(number):
        if files(folder):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(number)

    monkeypatch.setattr(whole_file.os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device\); .*bytes .* finished jobs are kept"):
        make(folder)
    monkeypatch.undo()
    assert len(list(folder.path.iterdir())) == 1
    rest = Drawn()
    make(folder, work=rest)
    assert rest.calls == [1, 2]


def test_a_disk_without_room_for_the_frames_is_an_error_before_anything_is_sampled(folder):
    work = Drawn()
    with (
        room_for(1000),
        pytest.raises(OSError, match=r"a result of 14,976 bytes could not be laid .* make room"),
    ):
        make(folder, work=work)
    assert not work.calls
    assert list(folder.path.iterdir()) == []


def test_a_damaged_clip_is_named_and_the_others_are_kept(folder):
    make(folder)
    path = folder.path / files(folder)[1]
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"clip-00001-\w+\.safetensors: got .* delete this file and queue"):
        make(folder)
    path.unlink()
    rest = Drawn()
    make(folder, work=rest)
    assert rest.calls == [1]


def test_frames_that_are_no_numbers_are_refused_by_their_clip(folder):
    class Black(Drawn):
        def decode(self, job, latents):
            return super().decode(job, latents) / 0

    with pytest.raises(PredictionError, match=r"clip 1 \(frames 0 to 4\)"):
        make(folder, work=Black())


def test_a_vae_of_another_size_is_refused(folder):
    class Small(Drawn):
        def decode(self, job, latents):
            return super().decode(job, latents)[:, ::2]

    with pytest.raises(HostError, match=r"frames of \[5, 4, 12, 3\]; expected \[5, 8, 12, 3\]; load the VAE"):
        make(folder, work=Small())


@pytest.mark.parametrize(
    ("length", "law", "said"),
    [
        (82, WAN, "4 n \\+ 1 frames: 81 or 85 is nearest"),
        (8, WAN, "5 or 9 is nearest"),
        (3, WAN, "frames: 5 is nearest"),
        (1, WAN, "frames: 5 is nearest"),
        (81 + 4, TimeLaw(8), "8 n \\+ 1 frames: 81 or 89 is nearest"),
        (2, TimeLaw(1), "frames: 3 is nearest"),
    ],
)
def test_lengths_that_the_model_does_not_have_are_refused_with_the_nearest(length, law, said):
    with pytest.raises(ValueError, match=rf"length={length}; expected .*{said}; set length"):
        check_length(length, law)


@pytest.mark.parametrize(
    ("length", "law"), [(5, WAN), (81, WAN), (9, TimeLaw(8)), (97, TimeLaw(8)), (3, TimeLaw(1))]
)
def test_lengths_that_lose_no_frame_are_taken(length, law):
    check_length(length, law)


def test_one_keyframe_and_too_many_frames_are_refused():
    with pytest.raises(ValueError, match=r"keyframes: got 1; expected 2 or more"):
        KeyframedPlan(1, 5, WAN)
    with pytest.raises(ValueError, match=r"make 12,001 frames; expected at most 10,000; take fewer"):
        KeyframedPlan(13, 1001, WAN)


@pytest.mark.parametrize("reserved", [True, False])
def test_a_tensor_on_disk_is_a_tensor_of_zeros_that_leaves_no_file(tmp_path, monkeypatch, reserved):
    """Where a system reserves room for a file, and where it does not."""
    if not reserved:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    tensor = disk_tensor((3, 4, 5), tmp_path)
    assert torch.equal(tensor, torch.zeros(3, 4, 5))
    part = tensor[1:]
    part += 1
    assert float(tensor.sum()) == 40
    del tensor
    assert float(part.sum()) == 40
    assert list(tmp_path.iterdir()) == []
