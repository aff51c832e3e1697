"""What can't be trained on, and what goes wrong on the way: one clear error; what was learned before still loads."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch
from frameloom.headless.port import HeadlessHost
from frameloom.models.errors import CheckpointError
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.tests.support.disk import room_for
from frameloom.tests.support.training import lesson_of, module_weights, moving_clips, settings
from frameloom.training.motion.dataset import drawn_dataset
from frameloom.training.motion.job import MotionJob, run_job
from frameloom.training.motion.lessons import learn_lora
from frameloom.training.motion.training import _loss, train_motion


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    folder = tmp_path_factory.mktemp("headless")
    return HeadlessHost("cpu", folder / "input", folder / "output", folder / "models")


@pytest.fixture(scope="module")
def parts(port):
    return port.load_demo()


@pytest.fixture
def run(port, parts, tmp_path, monkeypatch):
    """Run a job on drawn clips; returns how many were encoded before it failed."""
    monkeypatch.setattr(HeadlessHost, "user_dir", lambda self: tmp_path)
    encoded = []

    def go(frames, start, size=64, **changes):
        clips = drawn_dataset(1, "circle", 0, frames=frames, width=size, height=size, caption_dropout=0.0)
        job = MotionJob("module", "new", settings(1, **changes), max_frames=8)
        run_job(port, job, parts, clips, start, lambda key: tmp_path, encoded.append, lambda *_: None)

    return go, encoded


def test_clips_of_one_frame_are_refused_before_they_are_encoded(run):
    go, encoded = run
    with pytest.raises(
        ValueError, match=r"frames=1 is a single picture, .* at least 2 frames; raise the data"
    ):
        go(1, None)
    assert encoded == []


def test_clips_of_more_frames_than_the_module_holds_are_refused_before_they_are_encoded(run):
    go, encoded = run
    with pytest.raises(ValueError, match=r"frames=9 is more than the 8 that the positional encoding of new"):
        go(9, None)
    assert encoded == []


def test_a_module_of_another_family_is_refused_before_clips_are_encoded(run):
    go, encoded = run
    with pytest.raises(CheckpointError, match=r"start: .* is 64 channels wide, the model has 32 there"):
        go(4, (module_weights(width=64), []))
    assert encoded == []


def test_clips_with_nothing_between_their_ends_are_refused_for_a_mask_adapter_before_they_are_encoded(run):
    go, encoded = run
    with pytest.raises(
        ValueError, match=r"frames=2 leaves nothing between a clip's ends; expected at least 3"
    ):
        go(2, (module_weights().with_mask_encoder(), []))
    assert encoded == []


def test_a_step_of_more_frames_than_clips_have_is_refused_before_they_are_encoded(run):
    go, encoded = run
    with pytest.raises(ValueError, match=r"frames_per_step=5 can't be taken from clips of 4 frames"):
        go(4, None, frames_per_step=5)
    assert encoded == []


@pytest.fixture(scope="module")
def trained(port, parts, tmp_path_factory):
    """A folder with a checkpoint of two steps."""
    folder = tmp_path_factory.mktemp("trained")
    train(port, parts, folder, 2)
    return folder


@pytest.fixture
def good(trained, tmp_path):
    """A copy of it, and what was learned."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path, read_motion_weights(tmp_path / "motion.safetensors")


def train(port, parts, folder, steps):
    lesson = lesson_of(port, parts[0], "new")
    return train_motion(port, parts[0], moving_clips(), lesson, settings(steps), lambda key: folder)


def assert_kept(folder, before):
    after = read_motion_weights(folder / "motion.safetensors")
    assert all(torch.equal(value, after.state[name]) for name, value in before.state.items())


@pytest.mark.parametrize(
    ("full", "said"),
    [
        ("checkpoint.pt", r"checkpoint\.pt: could not be written .* make room and start"),
        ("metrics.jsonl", r"motion\.safetensors: could not be written .* make room"),  # what comes first
    ],
)
def test_a_disk_that_is_full_leaves_the_last_checkpoint(port, parts, good, full, said):
    folder, before = good
    with room_for((folder / full).stat().st_size - 1), pytest.raises(OSError, match=said):
        train(port, parts, folder, 4)
    assert_kept(folder, before)
    assert {path.name for path in folder.iterdir()} == {
        "checkpoint.pt",
        "metrics.jsonl",
        "motion.safetensors",
    }
    resumed = train(port, parts, folder, 4)
    assert len(resumed.losses) == 4
    assert torch.load(folder / "checkpoint.pt")["step"] == 4


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "other"])
def test_a_corrupt_checkpoint_is_named_and_what_was_learned_still_loads(port, parts, good, damage):
    folder, before = good
    path = folder / "checkpoint.pt"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "other":
        torch.save({"epoch": 3}, path)
    else:
        path.write_text("" if damage == "empty" else "no checkpoint")
    with pytest.raises(
        ValueError,
        match=r"checkpoint .*checkpoint\.pt: (damaged|lacks step).*expected .*delete it to start",
    ):
        train(port, parts, folder, 4)
    assert_kept(folder, before)
    path.unlink()
    assert len(train(port, parts, folder, 1).losses) == 1


@pytest.mark.parametrize("mask_encoder", [False, True])
def test_all_that_a_step_makes_is_on_the_device_of_what_learns(mask_encoder):
    """On a device without numbers, so that whatever is left on another one can't be used with it."""
    lesson = learn_lora(module_weights(), 2, "far", torch.device("meta"), mask_encoder=mask_encoder)
    seen = []

    def forward(noisy, timesteps, tokens, given=None):
        seen.extend([noisy, timesteps, tokens, *(given or ())])
        return noisy * next(iter(lesson.parameters.values())).sum()

    for kind in ("eps", "v"):
        run = replace(settings(), batch=2, min_snr=5.0)
        value = _loss(forward, moving_clips(), lesson, run, kind)(0, torch.Generator().manual_seed(0))
        value.backward()
        assert value.device.type == "meta"
    assert len(seen) == (10 if mask_encoder else 6)
    assert {each.device.type for each in seen} == {"meta"}
