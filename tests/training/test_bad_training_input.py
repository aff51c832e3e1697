"""What can't be trained on, and what goes wrong on the way: one clear error; what was learned before still loads."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from frameloom.models.motion.mask_adapter import MASK_KEY
from frameloom.models.motion.pia import PICTURE_KEY
from frameloom.tests.support.disk import room_for
from frameloom.tests.support.training import lesson_of, module_weights, moving_clips, settings
from frameloom.training.motion.dataset import drawn_dataset
from frameloom.training.motion.few_steps import FewSteps
from frameloom.training.motion.job import MotionJob, run_job
from frameloom.training.motion.lessons import learn_lora
from frameloom.training.motion.training import _loss, train_motion

NEW, MASKED, WIDE = "a new module", "one with a mask encoder", "one of another family"
REFUSED = {
    "a single picture": (1, NEW, 0, r"frames=1 is a single picture, .* at least 2 frames; raise the data"),
    "too many frames": (9, NEW, 0, r"frames=9 is more than the 8 that the positional encoding of new module"),
    "another family": (4, WIDE, 0, r"start: .* is 64 channels wide, the model has 32 there"),
    "nothing between": (2, MASKED, 0, r"frames=2 leaves nothing between a clip's ends; expected at least 3"),
    "a step of a picture": (4, NEW, 1, r"frames_per_step=1 can't be taken .* of 4 frames; expected 2 to 4"),
    "a step of too many": (4, NEW, 5, r"frames_per_step=5 can't be taken from clips of 4 frames; expected 2"),
    "a step of its ends": (4, MASKED, 2, r"frames_per_step=2 can't be taken from clips of 4 .* expected 3"),
}


UNTEACHABLE = {
    "no teacher": (NEW, FewSteps(4), 0.0, r"few_steps=4: got no motion module .* connect Load Motion Module"),
    "no multiple": (None, FewSteps(4, 21), 0.0, r"teacher_steps=21 can't be shared .* such as 20"),
    "no more steps": (None, FewSteps(4, 4), 0.0, r"teacher_steps=4 can't be shared among few_steps=4"),
    "a weight for noise": (None, FewSteps(4), 5.0, r"min_snr=5.0 with few_steps=4: .* expected 0"),
    "given frames": (MASKED, FewSteps(4), 0.0, r"few_steps=4: got a mask encoder .* another target"),
}


def check_refused(port, demo, folder, job, start, frames, said):
    """Check that a training on clips of so many frames is refused, in these words, before clips are encoded."""
    clips = drawn_dataset(1, "circle", 0, frames=frames, width=64, height=64, caption_dropout=0.0)
    encoded = []
    with pytest.raises(ValueError, match=said):
        run_job(port, job, demo, clips, start, lambda key: folder, encoded.append, lambda *_: None)
    assert encoded == []


@pytest.mark.parametrize("case", UNTEACHABLE)
def test_what_cannot_be_taught_is_refused_before_clips_are_encoded(port, demo, tmp_path, case):
    kind, few, min_snr, said = UNTEACHABLE[case]
    weights = module_weights() if kind != MASKED else module_weights().with_encoder(MASK_KEY)
    start = None if kind == NEW else (weights, [])
    job = MotionJob("module", "new", settings(1, few=few, min_snr=min_snr))
    check_refused(port, demo, tmp_path, job, start, 4, said)


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trained_on_is_refused_before_clips_are_encoded(
    port, demo, tmp_path, monkeypatch, case
):
    monkeypatch.setenv("HOME", str(tmp_path))
    frames, kind, frames_per_step, said = REFUSED[case]
    weights = module_weights(width=64 if kind == WIDE else 32)
    start = {NEW: None, WIDE: (weights, []), MASKED: (weights.with_encoder(MASK_KEY), [])}[kind]
    job = MotionJob("module", "new", settings(1, frames_per_step=frames_per_step), max_frames=8)
    check_refused(port, demo, tmp_path, job, start, frames, said)


def test_what_an_adapter_can_not_be_learned_of_is_refused(port, demo, tmp_path):
    start = (module_weights(), [])
    check_refused(
        port, demo, tmp_path, MotionJob("motion LoRA", "new", settings(1), rank=0), start, 4, "rank=0: got"
    )
    start = (module_weights().with_encoder(MASK_KEY), [])
    said = "start with a mask encoder and a picture encoder; expected one of them"
    check_refused(port, demo, tmp_path, MotionJob("PIA adapter", "new", settings(1)), start, 4, said)


def test_a_disk_that_is_full_leaves_the_last_checkpoint(port, demo, tmp_path):
    def train(steps):
        lesson = lesson_of(port, demo[0], "lora")
        return train_motion(port, demo[0], moving_clips(), lesson, settings(steps), lambda key: tmp_path)

    train(2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    said = r"motion\.safetensors: could not be written .* make room"
    with room_for(len(before["metrics.jsonl"]) - 1), pytest.raises(OSError, match=said):
        train(3)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert len(train(3).losses) == 3


@pytest.mark.parametrize("encoder", [None, MASK_KEY, PICTURE_KEY])
def test_all_that_a_step_makes_is_on_the_device_of_what_learns(encoder):
    """On a device without numbers, so that whatever is left on another one can't be used with it."""
    lesson = learn_lora(module_weights(), 2, "far", torch.device("meta"), encoder=encoder)
    seen = []

    def forward(noisy, timesteps, tokens, given=None, pooled=None):
        seen.extend([noisy, timesteps, tokens, *(given or ())])
        return noisy * next(iter(lesson.parameters.values())).sum()

    for kind in ("eps", "v"):
        run = replace(settings(), batch=2, min_snr=5.0)
        value = _loss(forward, moving_clips(), lesson, run, kind)(0, torch.Generator().manual_seed(0))
        value.backward()
        assert value.device.type == "meta"
    assert len(seen) == (6 if encoder is None else 10)
    assert {each.device.type for each in seen} == {"meta"}
