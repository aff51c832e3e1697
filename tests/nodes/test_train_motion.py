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
from frameloom.training.motion import run as motion_run
from frameloom.training.motion.lessons import new_module
from PIL import Image

WIDGETS = {
    "target": "module",
    "steps": 3,
    "learning_rate": 1e-3,
    "seed": 0,
    "name": "trained",
    "batch": 1,
    "accumulation": 1,
    "warmup": 2,
    "ema_decay": 0.9,
    "precision": "auto",
    "save_memory": False,
    "min_snr": 0.0,
    "noise_bias": 3.0,
    "checkpoint_every": 2,
    "rank": 2,
    "max_frames": 32,
    "middle_block": False,
    "beta_schedule": "linear (Stable Diffusion)",
    "final_rate": 1.0,
    "frames_per_step": 0,
}


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
def user(tmp_path, monkeypatch, host):
    """A user's folder."""
    monkeypatch.setattr(motion_run, "SAMPLE_STEPS", 1)
    monkeypatch.setattr(type(host), "user_dir", lambda self: tmp_path / "user")
    return tmp_path / "user"


@pytest.fixture
def train(host):
    from frameloom.nodes.training.train_motion import TrainMotionModule

    parts = host.load_demo()

    def run(**changes):
        with torch.inference_mode():  # as hosts run nodes
            return TrainMotionModule.execute(*parts, **{"dataset": Squares(), **WIDGETS, **changes})

    return run


@pytest.fixture
def save(host):
    from frameloom.nodes.training.save_motion import SaveMotionModule

    def run(motion, what="module", folder="models", prefix="mine/new", dtype="fp32"):
        with torch.inference_mode():
            return SaveMotionModule.execute(motion, prefix, what, folder, dtype)[0]

    return run


def test_a_new_module_is_learned_and_what_is_saved_is_what_was_learned(host, train, save, user):
    motion, curve = train()[0:2]
    assert curve.shape[0] == 1
    assert curve.shape[3] == 3
    start = new_module(host.base(host.load_demo()[0]).widths, None)
    key = "down_blocks.0.motion_modules.0.temporal_transformer.proj_out.weight"
    assert start.state[key].abs().max() == 0
    assert motion.weights.state[key].abs().max() > 0
    assert motion.weights.beta_schedule.name == "linear"
    path = save(motion)
    assert path == str(host.models_dir / "animatediff_models" / "mine" / "new_00001_.safetensors")
    again = read_motion_weights(path)
    assert all(torch.equal(again.state[name], value) for name, value in motion.weights.state.items())
    assert "mine/new_00001_.safetensors" in host.list_files("animatediff_models")
    [folder] = (user / "training").iterdir()
    assert {"checkpoint.pt", "metrics.jsonl", "motion.safetensors"} <= {
        each.name for each in folder.iterdir()
    }
    assert len(list(folder.glob("sample-*.png"))) == 2


@pytest.mark.parametrize("final_rate", [1.0, 0.25])
def test_the_rate_falls_to_its_final_share(train, user, final_rate):
    train(steps=40, final_rate=final_rate, checkpoint_every=100)
    [folder] = (user / "training").iterdir()
    rates = [json.loads(line)["rate"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rates[1] == pytest.approx(1e-3, rel=0.01)
    assert rates[-1] == pytest.approx(final_rate * 1e-3, rel=0.01)
    assert rates[20] == pytest.approx((1 + final_rate) / 2 * 1e-3, rel=0.01)


def test_a_step_sees_as_many_frames_as_it_is_told(train, user):
    whole, some = train(frames_per_step=0)[0], train(frames_per_step=2)[0]
    assert len(list((user / "training").iterdir())) == 2
    key = "down_blocks.0.motion_modules.0.temporal_transformer.proj_out.weight"
    assert not torch.equal(whole.weights.state[key], some.weights.state[key])
    with pytest.raises(ValueError, match=r"frames_per_step=4 can't be taken from clips of 3 frames"):
        train(frames_per_step=4)


def test_a_run_that_is_interrupted_goes_on_to_the_same_weights(host, train, monkeypatch, user):
    class Interrupted(BaseException):
        pass

    calls = []

    def interrupt(self):
        calls.append(1)
        if len(calls) == 7:  # three captions, two clips, then two steps
            raise Interrupted

    monkeypatch.setattr(type(host), "check_interrupt", interrupt)
    with pytest.raises(Interrupted):
        train(target="module", checkpoint_every=100)
    [folder] = (user / "training").iterdir()
    assert torch.load(folder / "checkpoint.pt")["step"] == 2
    assert read_motion_weights(folder / "motion.safetensors").family == "frameloom"
    assert list(folder.glob("sample-*.png")) == []
    monkeypatch.setattr(type(host), "check_interrupt", lambda self: None)
    resumed = train(checkpoint_every=100)[0]
    assert torch.load(folder / "checkpoint.pt")["step"] == 3
    (folder / "checkpoint.pt").unlink()
    whole = train(checkpoint_every=100)[0]
    assert all(torch.equal(value, whole.weights.state[name]) for name, value in resumed.weights.state.items())


def test_a_motion_lora_is_learned_on_a_module_and_saved_by_itself(host, train, save):
    module = host.load_motion(
        read_motion_weights(host.resolve("animatediff_models", "frameloom_demo_motion.safetensors"))
    )
    motion = train(target="motion LoRA", motion=module, beta_schedule="sqrt_linear (AnimateDiff)")[0]
    [(lora, strength)] = motion.loras
    assert strength == 1.0
    assert all(down.shape[0] == 2 and up.abs().max() > 0 for down, up in lora.pairs.values())
    path = save(motion, "motion LoRA", "output")
    assert path == str(host.output_dir / "mine" / "new_00001_.safetensors")
    again = read_motion_lora(path).fit(module.weights)
    assert all(
        torch.equal(one, other)
        for name, pair in lora.pairs.items()
        for one, other in zip(pair, again.pairs[name], strict=True)
    )


def test_a_saved_module_has_the_loras_on_it_merged(host, train, save):
    module = host.load_motion(read_motion_weights(host.resolve("animatediff_models", "mine.safetensors")))
    lora = read_motion_lora(host.resolve("animatediff_motion_lora", "pan.safetensors"))
    moved = module.with_lora(lora, 0.5)
    again = host.load_motion(read_motion_weights(save(moved)))
    hidden = torch.randn(4, 32, 3, 3)
    slot = "down_blocks.0.motion_modules.0"
    torch.testing.assert_close(again.network(slot, hidden, 4, 1.0), moved.network(slot, hidden, 4, 1.0))
    assert save(moved).endswith("new_00002_.safetensors")


def test_a_mask_adapter_is_learned_and_saved_by_itself(host, train, save, user):
    module = host.load_motion(
        read_motion_weights(host.resolve("animatediff_models", "frameloom_demo_motion.safetensors"))
    )
    motion = train(target="mask adapter", motion=module)[0]
    [(adapter, _)] = motion.loras
    assert adapter.mask_encoder.abs().max() > 0
    again = read_motion_lora(save(motion, "motion LoRA", "models")).fit(module.weights)
    assert torch.equal(again.mask_encoder, adapter.mask_encoder)
    [folder] = (user / "training").iterdir()
    *_, last = sorted(folder.glob("sample-*.png"))
    sample = torch.from_numpy(np.array(Image.open(last))).float() / 255  # frames side by side
    _, _, vae = host.load_demo()
    ends = Squares().pictures(0)[[0, -1]].movedim(1, -1) / 2 + 0.5
    decoded = host.decode(vae, host.encode(vae, ends))
    assert (sample[:, :64] - decoded[0]).abs().max() < 0.02
    assert (sample[:, -64:] - decoded[1]).abs().max() < 0.02


def test_a_clip_that_is_gone_costs_a_mask_adapter_its_samples_alone(host, train, user, monkeypatch, caplog):
    """Its latents are kept, its pictures, which a sample would begin and end with, are not."""
    module = host.load_motion(
        read_motion_weights(host.resolve("animatediff_models", "frameloom_demo_motion.safetensors"))
    )
    train(target="mask adapter", motion=module, steps=1)

    def gone(self, index):
        raise ClipError("one.mp4: is gone")

    monkeypatch.setattr(Squares, "pictures", gone)
    motion = train(target="mask adapter", motion=module, steps=1, seed=1)[0]
    assert motion.loras
    assert "trained: this checkpoint has no sample (one.mp4: is gone)." in caplog.text
    assert [path.name for path in (user / "training").glob("*/sample-*.png")] == ["sample-000001.png"]


def test_a_device_without_room_for_a_sample_costs_the_sample_alone(host, train, user, monkeypatch, caplog):
    def full(self, *_args, **_settings):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(type(host), "sample", full)
    assert train()[0].weights.family == "frameloom"
    assert caplog.text.count("this checkpoint has no sample (out of memory)") == 2
    assert list((user / "training").glob("*/sample-*.png")) == []


def test_a_sample_that_was_being_drawn_when_a_run_was_killed_is_drawn_where_it_goes_on(
    host, train, user, monkeypatch
):
    """To the same bits, and none that is there is drawn again."""
    train(steps=4)
    whole = {path.name: path.read_bytes() for path in (user / "training").glob("*/sample-*.png")}
    sample, left = type(host).sample, [1]

    def killed(self, *parts, **settings):
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return sample(self, *parts, **settings)

    shutil.rmtree(user / "training")
    monkeypatch.setattr(type(host), "sample", killed)
    with pytest.raises(KeyboardInterrupt):  # in the second of two
        train(steps=4)
    [first] = (user / "training").glob("*/sample-*.png")
    before = first.stat().st_mtime_ns
    monkeypatch.setattr(type(host), "sample", sample)
    train(steps=4)
    assert {path.name: path.read_bytes() for path in (user / "training").glob("*/sample-*.png")} == whole
    assert sorted(whole) == ["sample-000002.png", "sample-000004.png"]
    assert first.stat().st_mtime_ns == before


def test_captions_are_dropped_as_often_as_the_dataset_says(train, user, monkeypatch):
    """With all of them dropped, what they say is nothing to the loss; with none, it is."""
    losses = []
    for dropout, captions in ((1.0, "ab"), (1.0, "cd"), (0.0, "ab"), (0.0, "cd")):
        train(dataset=Squares(caption_dropout=dropout, captions=tuple(captions)), steps=1)
        losses.append(json.loads(newest(user / "training").joinpath("metrics.jsonl").read_text())["loss"])
    assert losses[0] == losses[1]
    assert losses[2] != losses[3]


def newest(folder):
    return max(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)


def test_a_run_names_its_folder_and_the_step_it_begins_at(train, user, caplog):
    caplog.set_level("INFO")
    train(steps=2)
    train(steps=3)
    [folder] = (user / "training").iterdir()
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
    motion, _ = train()[0:2]
    for path in (user / "training").glob("*/metrics.jsonl"):
        path.unlink()
    again, curve = train()[0:2]
    assert all(torch.equal(value, again.weights.state[name]) for name, value in motion.weights.state.items())
    assert curve.shape[3] == 3


@pytest.mark.parametrize("target", ["motion LoRA", "mask adapter"])
def test_a_lora_on_nothing_is_refused(train, target):
    with pytest.raises(
        ValueError, match=f"motion: got none to learn a {target} on; expected a motion module"
    ):
        train(target=target)


def test_a_module_without_a_lora_has_none_to_save(host, save):
    module = host.load_motion(read_motion_weights(host.resolve("animatediff_models", "mine.safetensors")))
    with pytest.raises(
        ValueError, match=r"motion: mine\.safetensors has no motion LoRA on it; expected one to save"
    ):
        save(module, "motion LoRA")


@pytest.mark.parametrize("prefix", ["../new", "a/../../new", "..", ""])
def test_a_name_outside_of_the_folder_is_refused(host, save, prefix):
    module = host.load_motion(read_motion_weights(host.resolve("animatediff_models", "mine.safetensors")))
    with pytest.raises(ValueError, match="leads out of the folder animatediff_models, or names nothing"):
        save(module, prefix=prefix)
