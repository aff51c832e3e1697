"""Train Motion Module and Save Motion Module on the headless host."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from frameloom.models.errors import ClipError
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.models.motion.lora import read_motion_lora
from frameloom.models.video.schedules import STABLE_DIFFUSION
from frameloom.tests.support.input_table import widget_values
from frameloom.training.loop import LoopSettings
from frameloom.training.motion import run as motion_run
from frameloom.training.motion.few_steps import FewSteps
from frameloom.training.motion.job import MotionJob
from frameloom.training.motion.lessons import new_module
from frameloom.training.motion.training import MotionSettings
from PIL import Image

WIDGETS = {
    "steps": 3, "learning_rate": 1e-3, "warmup": 2, "ema_decay": 0.9, "noise_bias": 3.0, "checkpoint_every": 2,
    "rank": 2, "beta_schedule": "linear (Stable Diffusion)",
}  # fmt: skip
KEY = "down_blocks.0.motion_modules.0.temporal_transformer.proj_out.weight"


@dataclass(frozen=True)
class Squares:
    """What a ``video_dataset.Dataset`` has: a bright square that moves."""

    frames: int = 3
    width: int = 64
    height: int = 64
    caption_dropout: float = 0.1
    captions: tuple[str, ...] = ("a red circle", "a blue cross")
    keys: tuple[str, ...] = ("one", "two")

    def __len__(self):
        return len(self.keys)

    def pictures(self, index):
        pictures = torch.full((self.frames, 3, self.height, self.width), -1.0)
        for frame in range(self.frames):
            pictures[frame, index, 16:32, 8 * frame : 8 * frame + 16] = 1.0
        return pictures


@pytest.fixture(autouse=True)
def user(host, monkeypatch):
    """The user's folder of trainings."""
    monkeypatch.setattr(motion_run, "SAMPLE_STEPS", 1)
    return host.user_dir() / "training"


@pytest.fixture
def train(run, demo):
    parts = dict(zip(("model", "clip", "vae"), demo, strict=True))

    def train(**changes):
        with torch.inference_mode():  # as hosts run nodes
            return run("TrainMotionModule", **parts, **{"dataset": Squares(), **WIDGETS, **changes})

    return train


@pytest.fixture
def save(run):
    def save(motion, **widgets):
        settings = {"filename_prefix": "mine/new", "dtype": "fp32"} | widgets
        with torch.inference_mode():
            return run("SaveMotionModule", motion=motion, **settings)[0]

    return save


@pytest.fixture
def mine(run):
    """The user's own motion module."""
    return run("MotionModuleLoader", file="mine.safetensors")[0]


def test_every_widget_is_a_setting_of_the_training(nodes):
    from frameloom.nodes.training.train_motion import make_job

    widgets = {
        **widget_values(nodes["TrainMotionModule"]), **WIDGETS,
        "target": "mask adapter", "steps": 40, "seed": 6, "name": "n", "batch": 7, "accumulation": 8,
        "precision": "bf16", "save_memory": True, "min_snr": 5.0, "max_frames": 24, "middle_block": True,
        "final_rate": 0.25, "frames_per_step": 9, "few_steps": 4, "teacher_steps": 12, "teacher_cfg": 2.0,
    }  # fmt: skip
    loop = LoopSettings(
        40, 1e-3, 2, 0.25, (0.9, 0.999), ema_decay=0.9, seed=6, accumulation=8, precision="bf16"
    )
    assert [loop.rate(step) for step in (1, 20, 39)] == pytest.approx([1e-3, 0.625e-3, 0.25e-3], rel=0.01)
    settings = MotionSettings(loop, 7, 0.1, 5.0, 3.0, True, 2, 9, FewSteps(4, 12, 2.0))
    assert make_job(**widgets) == MotionJob("mask adapter", "n", settings, 2, True, 24, STABLE_DIFFUSION)
    assert make_job(**widgets | {"precision": "auto"}).settings.loop.precision == "fp32"  # on the CPU


def test_a_new_module_is_learned_and_what_is_saved_is_what_was_learned(host, model, train, save, user):
    motion, curve = train()
    assert curve.shape[0] == 1
    assert curve.shape[3] == 3
    start = new_module(host.base(model).widths, None)
    assert start.state[KEY].abs().max() == 0
    assert motion.weights.state[KEY].abs().max() > 0
    assert motion.weights.beta_schedule.name == "linear"
    path = save(motion)
    assert path == str(host.models_dir / "animatediff_models" / "mine" / "new_00001_.safetensors")
    again = read_motion_weights(path)
    assert all(torch.equal(again.state[name], value) for name, value in motion.weights.state.items())
    assert "mine/new_00001_.safetensors" in host.list_files("animatediff_models")
    [folder] = user.iterdir()
    assert {"checkpoint.pt", "metrics.jsonl", "motion.safetensors"} <= {
        each.name for each in folder.iterdir()
    }
    assert len(list(folder.glob("sample-*.png"))) == 2


def test_a_run_that_is_cancelled_keeps_a_checkpoint_and_draws_no_sample(host, train, monkeypatch, user):
    calls = []

    def interrupt(self):
        calls.append(1)
        if len(calls) == 7:  # three captions, two clips, then two steps
            raise KeyboardInterrupt

    monkeypatch.setattr(type(host), "check_interrupt", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(checkpoint_every=100)
    [folder] = user.iterdir()
    assert torch.load(folder / "checkpoint.pt")["step"] == 2
    assert read_motion_weights(folder / "motion.safetensors").family == "frameloom"
    assert list(folder.glob("sample-*.png")) == []


def test_a_motion_lora_is_learned_on_a_module_and_saved_by_itself(host, motion, train, save):
    learned, _ = train(target="motion LoRA", motion=motion, beta_schedule="sqrt_linear (AnimateDiff)")
    [(lora, strength)] = learned.loras
    assert strength == 1.0
    assert all(down.shape[0] == 2 and up.abs().max() > 0 for down, up in lora.pairs.values())
    path = save(learned, what="motion LoRA", folder="output")
    assert path == str(host.output_dir / "mine" / "new_00001_.safetensors")
    again = read_motion_lora(path).fit(motion.weights)
    assert all(
        torch.equal(one, other)
        for name, pair in lora.pairs.items()
        for one, other in zip(pair, again.pairs[name], strict=True)
    )


def test_a_saved_module_has_the_loras_on_it_merged(host, run, mine, save):
    (moved,) = run("MotionLoRALoader", motion=mine, file="pan.safetensors", strength=0.5)
    again = host.load_motion(read_motion_weights(save(moved)))
    hidden, slot = torch.randn(4, 32, 3, 3), "down_blocks.0.motion_modules.0"
    torch.testing.assert_close(again.network(slot, hidden, 4, 1.0), moved.network(slot, hidden, 4, 1.0))


def test_a_mask_adapter_is_learned_and_saved_by_itself(host, demo, motion, train, save, user):
    learned, _ = train(target="mask adapter", motion=motion)
    [(adapter, _)] = learned.loras
    assert adapter.mask_encoder.abs().max() > 0
    again = read_motion_lora(save(learned, what="motion LoRA")).fit(motion.weights)
    assert torch.equal(again.mask_encoder, adapter.mask_encoder)
    *_, last = sorted(user.glob("*/sample-*.png"))
    sample = torch.from_numpy(np.array(Image.open(last))).float() / 255  # frames side by side
    ends = Squares().pictures(0)[[0, -1]].movedim(1, -1) / 2 + 0.5
    decoded = host.decode(demo[2], host.encode(demo[2], ends))
    assert (sample[:, :64] - decoded[0]).abs().max() < 0.02
    assert (sample[:, -64:] - decoded[1]).abs().max() < 0.02


@pytest.mark.parametrize("rank", [0, 1])
def test_a_pia_adapter_is_learned_and_saved_by_itself(motion, train, save, user, rank):
    learned, _ = train(target="PIA adapter", motion=motion, rank=rank)
    [(adapter, _)] = learned.loras
    assert bool(adapter.pairs) == bool(rank)
    again = read_motion_lora(save(learned, what="motion LoRA")).fit(motion.weights)
    assert again.picture_encoder.abs().max() > 0
    assert torch.equal(again.picture_encoder, adapter.picture_encoder)
    assert len(list(user.glob("*/sample-*.png"))) == 2


def test_a_clip_that_is_gone_costs_a_mask_adapter_its_samples_alone(motion, train, user, monkeypatch, caplog):
    """Its latents are kept, its pictures, which a sample would begin and end with, are not."""
    train(target="mask adapter", motion=motion, steps=1)

    def gone(self, index):
        raise ClipError("one.mp4: is gone")

    monkeypatch.setattr(Squares, "pictures", gone)
    assert train(target="mask adapter", motion=motion, steps=1, seed=1)[0].loras
    assert "trained: this checkpoint has no sample (one.mp4: is gone)." in caplog.text
    assert [path.name for path in user.glob("*/sample-*.png")] == ["sample-000001.png"]


def test_a_students_sample_is_drawn_as_the_module_is_to_be_used(host, motion, train, monkeypatch):
    drawn, sample = [], type(host).sample

    def watch(self, *parts, **settings):
        drawn.append((len(settings["sigmas"]) - 1, settings["sampler"], settings["cfg"]))
        return sample(self, *parts, **settings)

    monkeypatch.setattr(type(host), "sample", watch)
    train(motion=motion, steps=1, few_steps=2, teacher_steps=4, teacher_cfg=3.0)
    assert drawn == [(2, "euler", 1.0)]


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"few_steps": 4}, "few_steps=4: got no motion module that could be the teacher"),
        ({"few_steps": 4, "motion": None, "teacher_steps": 22}, "teacher_steps=22 can't be shared among"),
        ({"few_steps": 4, "motion": None, "target": "mask adapter"}, "few_steps=4: got a mask encoder"),
        ({"few_steps": 4, "motion": None, "min_snr": 5.0}, "min_snr=5.0 with few_steps=4"),
        ({"target": "motion LoRA", "motion": None, "rank": 0}, "rank=0: got a motion LoRA to learn without"),
    ],
)
def test_what_cannot_be_taught_is_refused_before_anything_runs(nodes, user, inputs, said):
    early = {"target": "module", "min_snr": 0.0, **inputs}
    assert str(nodes["TrainMotionModule"].validate_inputs(**early)).startswith(said)
    assert nodes["TrainMotionModule"].validate_inputs(**early | {"few_steps": None}) is True


def test_a_device_without_room_for_a_sample_costs_the_sample_alone(host, train, user, monkeypatch, caplog):
    def full(self, *_args, **_settings):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(type(host), "sample", full)
    assert train()[0].weights.family == "frameloom"
    assert caplog.text.count("this checkpoint has no sample (out of memory)") == 2
    assert list(user.glob("*/sample-*.png")) == []


def test_a_sample_that_was_being_drawn_when_a_run_was_killed_is_drawn_where_it_goes_on(
    host, train, user, monkeypatch
):
    """To the same bits, and none that is there is drawn again."""
    train(steps=2, checkpoint_every=1)
    whole = {path.name: path.read_bytes() for path in user.glob("*/sample-*.png")}
    sample, left = type(host).sample, [1]

    def killed(self, *parts, **settings):
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return sample(self, *parts, **settings)

    shutil.rmtree(user)
    monkeypatch.setattr(type(host), "sample", killed)
    with pytest.raises(KeyboardInterrupt):  # in the second of two
        train(steps=2, checkpoint_every=1)
    [first] = user.glob("*/sample-*.png")
    before = first.stat().st_mtime_ns
    monkeypatch.setattr(type(host), "sample", sample)
    train(steps=2, checkpoint_every=1)
    assert {path.name: path.read_bytes() for path in user.glob("*/sample-*.png")} == whole
    assert sorted(whole) == ["sample-000001.png", "sample-000002.png"]
    assert first.stat().st_mtime_ns == before


def test_captions_are_dropped_as_often_as_the_dataset_says(train, user):
    """With all of them dropped, what they say is nothing to the loss."""
    losses = []
    for captions in ("ab", "cd"):
        train(dataset=Squares(caption_dropout=1.0, captions=tuple(captions)), steps=1)
        newest = max(user.glob("*/metrics.jsonl"), key=lambda path: path.stat().st_mtime_ns)
        losses.append(json.loads(newest.read_text())["loss"])
    assert losses[0] == losses[1]


def test_a_run_names_its_folder_and_the_step_it_begins_at(train, user, caplog):
    caplog.set_level("INFO")
    train(steps=2)
    train(steps=3)
    [folder] = user.iterdir()
    assert f"{folder}: from step 0 of 2." in caplog.text
    assert f"{folder}: from step 2 of 3." in caplog.text


def test_clips_that_are_all_gone_are_one_error(train, monkeypatch):
    def gone(self, index):
        raise ClipError(f"{index}.mp4: is gone")

    monkeypatch.setattr(Squares, "pictures", gone)
    with pytest.raises(
        ValueError,
        match=r"^dataset: none of its 2 clips could be decoded \(0\.mp4: is gone; 1\.mp4: is gone\)",
    ):
        train()


def test_a_finished_run_without_its_losses_is_still_its_result(train, user):
    motion, _ = train(steps=1)
    for path in user.glob("*/metrics.jsonl"):
        path.unlink()
    again, curve = train(steps=1)
    assert all(torch.equal(value, again.weights.state[name]) for name, value in motion.weights.state.items())
    assert curve.shape[3] == 3


def test_a_lora_on_nothing_is_refused(train):
    with pytest.raises(
        ValueError, match="motion: got none to learn a motion LoRA on; expected a motion module"
    ):
        train(target="motion LoRA")


def test_a_module_without_a_lora_has_none_to_save(mine, save):
    with pytest.raises(
        ValueError, match=r"motion: mine\.safetensors has no motion LoRA on it; expected one to save"
    ):
        save(mine, what="motion LoRA")
