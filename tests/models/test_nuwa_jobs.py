"""The recursion: ends, order, files, and what is left when something goes wrong."""

from __future__ import annotations

import errno
import itertools
import random
from dataclasses import dataclass

import pytest
import torch
from frameloom.models.errors import HostError, PredictionError
from frameloom.models.files import whole_file
from frameloom.models.long_video.job_folder import JobFolder, open_folder
from frameloom.models.long_video.nuwa_jobs import Recursion, run_jobs
from frameloom.models.long_video.nuwa_tree import Tree
from frameloom.tests.support.tensors import draw

TREE = Tree(4, 3, {0: "a"})
SHAPE = (2, 3, 3)


@dataclass
class Straight:
    """Puts the frames between two ends on the straight line between them; stops before a job, if asked to."""

    stop_before: int = 1000
    calls: int = 0
    steps: int = 5

    def __call__(self, job, ends, watch):
        if self.calls == self.stop_before:
            raise KeyboardInterrupt
        self.calls += 1
        watch(self.steps, None)
        part = torch.linspace(0, 1, len(job.frame_ids)).view(-1, 1, 1, 1)
        frames = torch.lerp(ends[:1], ends[1:], part)
        return torch.cat([ends[:1], frames[1:-1], ends[1:]])


def keyframes(seed=0):
    return draw(TREE.length, *SHAPE, seed=seed)


def unwatched(done, preview):
    """What a job tells where nobody looks."""


def fill(recursion, job):
    return Straight()(job, recursion.ends(job), unwatched)


def run(recursion, work=None, watch=unwatched, check=lambda: None):
    run_jobs(recursion, work or Straight(), watch, check)
    return recursion.frames


def files(folder):
    return sorted(path.name for path in folder.path.iterdir())


@pytest.fixture
def folder(tmp_path):
    return JobFolder(tmp_path / "jobs", "key")


def test_jobs_that_draw_straight_lines_make_straight_lines_between_keyframes():
    given = keyframes()
    place = torch.arange(TREE.frames) / ((TREE.length - 1) ** (TREE.depth - 1))
    left = place.floor().long().clamp(max=TREE.length - 2)
    wanted = torch.lerp(given[left], given[left + 1], (place - left).view(-1, 1, 1, 1))
    torch.testing.assert_close(run(Recursion(TREE, given)), wanted, rtol=0, atol=1e-5)


def test_keyframes_are_in_the_video_bit_for_bit():
    given = keyframes()
    assert torch.equal(run(Recursion(TREE, given))[list(TREE.keyframes.frame_ids)], given)


def test_the_order_of_jobs_changes_nothing():
    wanted = run(Recursion(TREE, keyframes()))
    for seed in range(5):
        draw, recursion, started = random.Random(seed), Recursion(TREE, keyframes()), []
        while recursion.done < TREE.local_jobs:
            while (job := recursion.start()) is not None:
                started.append(job)
            job = started.pop(draw.randrange(len(started)))
            recursion.finish(job, fill(recursion, job))
        assert torch.equal(recursion.frames, wanted)


def test_a_job_starts_when_its_ends_are_there_and_not_before():
    recursion = Recursion(TREE, keyframes())
    first = [recursion.start() for _ in range(TREE.length - 1)]
    assert [job.level for job in first] == [2, 2, 2]
    assert recursion.start() is None
    recursion.finish(first[1], fill(recursion, first[1]))
    assert [recursion.start() for _ in range(4)] == [*TREE.below(first[1]), None]


@pytest.mark.parametrize("done", [1, 5])
def test_a_run_that_was_stopped_goes_on_where_it_was(folder, done):
    wanted = run(Recursion(TREE, keyframes()))
    with pytest.raises(KeyboardInterrupt):
        run(Recursion(TREE, keyframes(), folder), Straight(stop_before=done))
    again, rest = Recursion(TREE, keyframes(), folder), Straight()
    assert (again.kept, again.done) == (done, done)
    assert torch.equal(run(again, rest), wanted)
    assert rest.calls == TREE.local_jobs - done


def test_a_cancel_between_jobs_keeps_what_is_finished(folder):
    checks = itertools.count()

    def check():
        if next(checks) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Recursion(TREE, keyframes(), folder), check=check)
    assert Recursion(TREE, keyframes(), folder).kept == 4


def test_steps_are_those_of_all_jobs_together(folder):
    told = []
    run(Recursion(TREE, keyframes(), folder), watch=lambda done, preview: told.append(done))
    assert told == sorted(told)
    assert told[-1] == TREE.local_jobs * Straight.steps
    (folder.path / "job-3-00004.safetensors").unlink()
    told.clear()
    run(Recursion(TREE, keyframes(), folder), watch=lambda done, preview: told.append(done))
    assert told == [TREE.local_jobs * Straight.steps] * 2


def test_a_full_disk_is_one_error_and_keeps_what_is_finished(folder, monkeypatch):
    """Also what is not: no part of a file is left."""
    real = whole_file.os.fsync

    def full(number):
        if len(files(folder)) > 3:  # two jobs, and the part of a third
            raise OSError(errno.ENOSPC, "No space left on device")
        real(number)

    monkeypatch.setattr(whole_file.os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device\); .*[\d,]+ bytes .* finished jobs are kept"):
        run(Recursion(TREE, keyframes(), folder))
    monkeypatch.undo()
    assert files(folder) == ["job-2-00000.safetensors", "job-2-00001.safetensors", "job-2-00002.safetensors"]
    assert torch.equal(run(Recursion(TREE, keyframes(), folder)), run(Recursion(TREE, keyframes())))


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def save_job(frames, key="key"):
    return lambda path: JobFolder(path.parent, key).save("job-2-00000", frames)


DAMAGES = {
    "cut short": cut,
    "of another run": save_job(keyframes(), "other"),
    "not finite": save_job(keyframes() / 0),
    "of another size": save_job(keyframes()[:, :1]),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_named_and_the_others_are_kept(folder, damage):
    run(Recursion(TREE, keyframes(), folder))
    path, kept = folder.path / "job-2-00000.safetensors", files(folder)
    damage(path)
    with pytest.raises(ValueError, match=r"job-2-00000\.safetensors: got .* delete this file and queue"):
        Recursion(TREE, keyframes(), folder)
    assert files(folder) == kept
    path.unlink()
    again = Recursion(TREE, keyframes(), folder)
    assert again.kept == 2 + 2 * 3
    assert torch.equal(run(again), run(Recursion(TREE, keyframes())))
    assert again.done == TREE.local_jobs


def test_a_job_that_changes_its_ends_is_refused():
    recursion = Recursion(TREE, keyframes())
    job = recursion.start()
    frames = fill(recursion, job)
    for place in (0, -1):
        other = frames.clone()
        other[place, 0, 0, 0] += 1e-6
        with pytest.raises(HostError, match="came back with other ends"):
            recursion.finish(job, other)
    assert recursion.done == 0


def test_a_frame_that_is_not_a_number_is_refused_and_not_kept(folder):
    recursion = Recursion(TREE, keyframes(), folder)
    job = recursion.start()
    frames = fill(recursion, job)
    frames[1] = torch.nan
    with pytest.raises(PredictionError, match="level 2, job 1"):
        recursion.finish(job, frames)
    assert not folder.path.exists()


def test_a_folder_is_of_one_question_and_one_model(tmp_path):
    answer = keyframes()
    first = open_folder(tmp_path, "key", answer)
    assert open_folder(tmp_path, "key", answer * (1 + 1e-5)) == first
    other_model = open_folder(tmp_path, "key", answer * 1.1)
    assert other_model != first
    assert open_folder(tmp_path, "key", answer * 1.1) == other_model
    assert open_folder(tmp_path, "question", answer).path not in (first.path, other_model.path)


def test_a_folder_whose_probe_is_damaged_is_named_and_goes_on_without_it(tmp_path):
    folder = open_folder(tmp_path, "key", keyframes())
    run(Recursion(TREE, keyframes(), folder))
    cut(folder.path / "probe.safetensors")
    with pytest.raises(ValueError, match=r"probe\.safetensors: got .* delete this file and queue again"):
        open_folder(tmp_path, "key", keyframes())
    (folder.path / "probe.safetensors").unlink()
    assert Recursion(TREE, keyframes(), open_folder(tmp_path, "key", keyframes())).kept == TREE.local_jobs


def test_two_runs_that_write_one_file_leave_it_whole(tmp_path):
    path = tmp_path / "file"
    with whole_file.whole_file(path) as one, whole_file.whole_file(path) as other:
        assert one != other
        one.write_bytes(b"whole")
        other.write_bytes(b"whole")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
