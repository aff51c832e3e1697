"""Training a motion module in a frozen base: what learns, what doesn't, and that a stop changes nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from frameloom.headless.port import HeadlessHost
from frameloom.models.errors import CheckpointError, HostError
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.models.motion.lora import MotionLoRA, read_motion_lora
from frameloom.models.motion.mask_adapter import MASK_KEY
from frameloom.models.training import FrozenForward
from frameloom.models.video.schedules import ANIMATEDIFF, STABLE_DIFFUSION
from frameloom.tests.support.motion import tiny_module
from frameloom.tests.support.training import (
    Clips,
    lesson_of,
    module_weights,
    moving_clips,
    settings,
)
from frameloom.training.loop import step_generator
from frameloom.training.motion.lessons import learn_module, new_module
from frameloom.training.motion.training import check_frozen, draw_batch, run_key, train_motion
from torch import nn

BASE = ["base", "eps", ""]


def make_port(folder):
    return HeadlessHost("cpu", folder / "input", folder / "output", folder / "models")


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    return make_port(tmp_path_factory.mktemp("headless"))


@pytest.fixture(scope="module")
def model(port):
    return port.load_demo()[0]


def weights_of(learned):
    if isinstance(learned, MotionLoRA):
        halves = {
            f"{name} {side}": half for name, pair in learned.pairs.items() for side, half in enumerate(pair)
        }
        return halves if learned.mask_encoder is None else {**halves, MASK_KEY: learned.mask_encoder}
    return learned.state


def same(one, other):
    one, other = weights_of(one), weights_of(other)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Stopped(RuntimeError):
    pass


def stop_at(last):
    def on_step(step, loss):
        if step == last:
            raise Stopped

    return on_step


@pytest.mark.parametrize("kind", ["new", "continued", "lora", "adapter"])
def test_only_what_is_to_learn_changes(port, model, tmp_path, kind):
    lesson = lesson_of(port, model, kind)
    before = {name: value.detach().clone() for name, value in lesson.parameters.items()}
    start = {name: value.clone() for name, value in lesson.learner.weights.state.items()}
    unet = {name: value.clone() for name, value in model.unet.state_dict().items()}
    trained = train_motion(port, model, moving_clips(), lesson, settings(), lambda key: tmp_path)
    assert all(torch.equal(value, unet[name]) for name, value in model.unet.state_dict().items())
    assert trained.base == port.train_forward(model, 4).hash_weights()
    assert not any(torch.equal(value, before[name]) for name, value in lesson.parameters.items())
    assert all(torch.equal(value, start[name]) for name, value in lesson.learner.weights.state.items())
    assert len(trained.losses) == 6
    assert isinstance(trained.learned, MotionLoRA) == (kind in ("lora", "adapter"))
    assert (MASK_KEY in weights_of(trained.learned)) == (kind == "adapter")


@pytest.mark.parametrize("kind", ["lora", "adapter"])
def test_a_lora_starts_as_its_module(port, model, kind):
    """A mask adapter with frames given, too."""
    noisy, latents, tokens = torch.randn(4, 4, 8, 8), torch.randn(4, 4, 8, 8), torch.randn(4, 77, 64)
    forwards = [
        port.train_forward(model, 4, lesson_of(port, model, each).learner) for each in (kind, "continued")
    ]
    given = latents, torch.ones(4, 1, 8, 8)
    lora, plain = (forward(noisy, torch.full((4,), 300), tokens, given) for forward in forwards)
    assert torch.equal(lora, plain)


def test_a_mask_adapter_learns_from_the_frames_it_is_given(port, model, tmp_path):
    """Where the noise hides the others: what they show can be told from given frames alone."""
    clips, run = moving_clips(2), settings(120, batch=2, checkpoint_every=1000, timestep_power=5.0)
    run = replace(run, loop=replace(run.loop, learning_rate=2e-2))
    lesson = lesson_of(port, model, "adapter")
    train_motion(port, model, clips, lesson, run, lambda key: tmp_path)
    forward = port.train_forward(model, 4, lesson.learner)
    alpha = STABLE_DIFFUSION.alphas_cumprod().float()[900]

    @torch.no_grad()
    def error(given):
        noise = torch.randn(clips.latents[0].shape, generator=step_generator(5, 0))
        noisy = alpha.sqrt() * clips.latents[0] + (1 - alpha).sqrt() * noise
        target = alpha.sqrt() * noise - (1 - alpha).sqrt() * clips.latents[0]
        at, mask = torch.full((4,), 900), torch.tensor(given)[:, None, None, None].expand(4, 1, 8, 8)
        out = forward(noisy, at, clips.tokens[:1].expand(4, -1, -1), (clips.latents[0], mask))
        return float((out - target)[1:3].square().mean())

    assert error([1.0, 0, 0, 1]) < 0.8 * error([0.0, 0, 0, 0])


def test_given_frames_have_no_part_in_the_loss(port, model, tmp_path):
    """What is drawn of a given frame is anything, since the host puts it back."""
    clips, run = moving_clips(), settings(1)
    asked = []

    class Spoiling:
        def __getattr__(self, name):
            return getattr(port, name)

        def train_forward(self, *args, **options):
            forward = port.train_forward(*args, **options)

            def spoilt(noisy, at, tokens, given=None):
                out = forward(noisy, at, tokens, given)
                asked.append(given[1][:, 0, 0, 0])
                return out + self.error * given[1]

            return FrozenForward(forward.unet, spoilt)

    spoiling, losses = Spoiling(), []
    for error in (0.0, 100.0):
        spoiling.error = error
        trained = train_motion(
            spoiling, model, clips, lesson_of(port, model, "adapter"), replace(run, batch=4),
            lambda key, error=error: tmp_path / str(error),
        )  # fmt: skip
        losses += trained.losses
    assert asked[0].sum() > 0
    assert losses[0] == losses[1]


def test_the_loss_on_video_falls_below_the_frozen_bases(port, model, tmp_path):
    """On draws that training did not see."""
    clips, run = moving_clips(1), settings(20, checkpoint_every=100)
    lesson = lesson_of(port, model, "new")
    frozen = mean_loss(port.train_forward(model, 4), clips, run)
    run = replace(run, loop=replace(run.loop, learning_rate=3e-3))
    train_motion(port, model, clips, lesson, run, lambda key: tmp_path)
    assert mean_loss(port.train_forward(model, 4, lesson.learner), clips, run) < 0.75 * frozen


@torch.no_grad()
def mean_loss(forward, clips, run, draws=6):
    """The velocity's error, by hand."""
    total = 0.0
    for draw in range(draws):
        batch = draw_batch(clips, run, step_generator(99, draw))
        alpha = STABLE_DIFFUSION.alphas_cumprod().float()[batch.timesteps]
        noisy = alpha.sqrt() * batch.latents[0] + (1 - alpha).sqrt() * batch.noise[0]
        target = alpha.sqrt() * batch.noise[0] - (1 - alpha).sqrt() * batch.latents[0]
        out = forward(noisy, batch.timesteps.expand(4), batch.tokens.expand(4, -1, -1)).detach()
        total += float((out - target).square().mean()) / draws
    return total


@pytest.mark.parametrize("kind", ["new", "lora", "adapter"])
def test_a_stopped_run_goes_on_to_the_same_curve_and_weights(port, model, tmp_path, kind):
    def run(name, on_step=None):
        lesson = lesson_of(port, model, kind)
        return train_motion(port, model, clips, lesson, settings(), lambda key: tmp_path / name, on_step)

    clips, steps = moving_clips(), []
    whole = run("a")
    with pytest.raises(Stopped):
        run("b", stop_at(2))
    read = read_motion_weights if kind == "new" else read_motion_lora
    assert weights_of(read(tmp_path / "b" / "motion.safetensors")).keys() == weights_of(whole.learned).keys()
    resumed = run("b", lambda step, loss: steps.append(step))
    assert steps == [3, 4, 5]
    assert resumed.losses == whole.losses
    assert same(resumed.learned, whole.learned)
    assert same(read(tmp_path / "b" / "motion.safetensors"), whole.learned)


KILLED = """
import os, signal, sys
from pathlib import Path
from frameloom.tests.support.training import lesson_of, moving_clips, settings
from frameloom.tests.training.test_motion_training import make_port
from frameloom.training.motion.training import train_motion
folder = Path(sys.argv[1])
port = make_port(folder)
model = port.load_demo()[0]
def on_step(step, loss):
    if step == 4:
        os.kill(os.getpid(), signal.SIGKILL)
train_motion(port, model, moving_clips(), lesson_of(port, model, "new"), settings(), lambda key: folder, on_step)
"""


def test_a_killed_run_goes_on_to_the_same_curve_and_weights(port, model, tmp_path):
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "b")], capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len((tmp_path / "b" / "metrics.jsonl").read_text().splitlines()) == 5
    clips, steps = moving_clips(), {"a": [], "b": []}
    whole, resumed = (
        train_motion(
            port,
            model,
            clips,
            lesson_of(port, model, "new"),
            settings(),
            lambda _, name=name: tmp_path / name,
            lambda step, _, name=name: steps[name].append(step),
        )
        for name in steps
    )
    assert steps == {"a": list(range(6)), "b": [4, 5]}
    assert resumed.losses == whole.losses
    assert same(resumed.learned, whole.learned)
    rows = [json.loads(line) for line in (tmp_path / "b" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(6))


def test_a_step_is_noted_before_its_checkpoint_so_that_a_kill_between_them_loses_none(port, model, tmp_path):
    noted = []

    def count_rows(_steps, _learned):
        noted.append(len((tmp_path / "metrics.jsonl").read_text().splitlines()))

    train_motion(
        port,
        model,
        moving_clips(),
        lesson_of(port, model, "new"),
        settings(5),
        lambda key: tmp_path,
        on_checkpoint=count_rows,
    )
    every = settings(5).checkpoint_every
    assert noted == [*range(every, 5, every), 5]


def test_more_steps_go_on_with_a_finished_run_of_constant_rate(port, model, tmp_path):
    clips = moving_clips()
    whole = train_motion(
        port, model, clips, lesson_of(port, model, "new"), settings(5), lambda key: tmp_path / "a"
    )
    train_motion(port, model, clips, lesson_of(port, model, "new"), settings(2), lambda key: tmp_path / "b")
    more = train_motion(
        port, model, clips, lesson_of(port, model, "new"), settings(5), lambda key: tmp_path / "b"
    )
    assert more.losses == whole.losses
    assert same(more.learned, whole.learned)


def test_saving_memory_is_the_same_run_and_works_blocks_out_again(port, model, tmp_path):
    """A checkpoint of one is the other's."""
    lesson, calls, runs = lesson_of(port, model, "lora"), [], []
    slot = lesson.learner.network.slots[0]
    lesson.learner.network.transformer(slot).norm.register_forward_hook(lambda *_: calls.append(slot))
    for steps, save, name in ((2, False, "a"), (1, False, "b"), (2, True, "b")):
        runs.append(
            train_motion(
                port,
                model,
                moving_clips(),
                lesson if save else lesson_of(port, model, "lora"),
                settings(steps, save_memory=save),
                lambda key, name=name: tmp_path / name / key,
            )
        )
    assert calls == 2 * [slot]  # forward, and again for gradients, in the one step that was left
    assert runs[0].folder.name == runs[2].folder.name
    assert runs[0].losses == runs[2].losses
    assert same(runs[0].learned, runs[2].learned)


@pytest.mark.parametrize("save_memory", [False, True])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("kind", ["new", "lora", "adapter"])
def test_half_precision_computes_about_the_same_loss(port, model, tmp_path, kind, precision, save_memory):
    losses = []
    for each in ("fp32", precision):
        run = settings(2, save_memory=save_memory)
        run = replace(run, loop=replace(run.loop, precision=each))
        lesson = lesson_of(port, model, kind)
        losses += train_motion(port, model, moving_clips(), lesson, run, lambda key: tmp_path / key).losses[
            :1
        ]
        assert {value.dtype for value in lesson.parameters.values()} == {torch.float32}
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_a_run_is_known_by_what_its_numbers_depend_on(port, model):
    clips, lesson, run = moving_clips(), lesson_of(port, model, "new"), settings()
    key = run_key(clips, lesson, run, BASE)
    assert key == run_key(
        moving_clips(), lesson_of(port, model, "new"), settings(9, checkpoint_every=5), BASE
    )
    loop = replace(run.loop, learning_rate=1e-4)
    others = [
        run_key(moving_clips(2), lesson, run, BASE),
        run_key(clips, lesson_of(port, model, "lora"), run, BASE),
        run_key(clips, lesson, replace(run, loop=loop), BASE),
        run_key(clips, lesson, replace(run, loop=replace(run.loop, final_rate=0.1)), BASE),
        run_key(clips, lesson, replace(run, min_snr=5.0), BASE),
        run_key(clips, lesson, replace(run, frames_per_step=2), BASE),
        run_key(clips, lesson, run, ["base", "v", ""]),
        run_key(clips, lesson, run, ["base", "eps", "edits"]),
        run_key(clips, lesson, run, ["other", "eps", ""]),
    ]
    assert len({key, *others}) == 10


def test_a_base_that_reads_more_than_latents_is_refused(port, model):
    """Before clips are encoded: its first step would fail."""
    pix2pix = replace(model, size=replace(model.size, in_channels=8))
    with pytest.raises(
        ValueError, match=r"model: its UNet reads 8 channels, .* expected 4, the noisy latents"
    ):
        port.base(pix2pix)


def test_a_batch_is_one_timestep_a_video_and_its_share_of_captions():
    clips, run = moving_clips(), settings(batch=4000, caption_dropout=0.25, timestep_power=3.0)
    batch = draw_batch(clips, run, torch.Generator().manual_seed(0))
    assert batch.timesteps.shape == (4000,)
    assert batch.noise.shape == batch.latents.shape == (4000, 4, 4, 8, 8)
    empty = (batch.tokens == clips.tokens[0]).flatten(1).all(1)
    assert abs(empty.float().mean() - 0.25) < 0.03
    for index in (0, 1):  # a clip comes with its own caption or none
        clip = next(
            number
            for number, latents in enumerate(clips.latents)
            if torch.equal(latents, batch.latents[index])
        )
        assert empty[index] or torch.equal(batch.tokens[index], clips.tokens[clips.caption[clip]])
    # u^(1/3) is below 1/2 in one of eight draws.
    assert abs((batch.timesteps < 500).float().mean() - 1 / 8) < 0.03
    assert batch.noise.std() == pytest.approx(1, abs=0.01)


def test_a_batch_of_some_frames_has_them_in_order_and_any_of_them():
    clips, run, seen = moving_clips(frames=6), settings(batch=2, frames_per_step=3), set()
    for draw in range(40):
        batch = draw_batch(clips, run, torch.Generator().manual_seed(draw))
        assert batch.latents.shape == batch.noise.shape == (2, 3, 4, 8, 8)
        assert (batch.frame_ids.diff() > 0).all()
        whole = clips.latents[:, batch.frame_ids]
        assert all(any(torch.equal(latents, clip) for clip in whole) for latents in batch.latents)
        seen |= {tuple(batch.frame_ids.tolist())}
    assert len(seen) > 10  # of the 20 there are
    assert {frame for frames in seen for frame in frames} == set(range(6))


@pytest.mark.parametrize(
    ("kind", "count", "least"), [("new", 1, 2), ("new", 5, 2), ("lora", 5, 2), ("adapter", 2, 3)]
)
def test_a_step_of_too_few_or_too_many_frames_is_refused(port, model, tmp_path, kind, count, least):
    error = (
        rf"frames_per_step={count} can't be taken from clips of 4 frames; expected {least} to 4, or 0 for all"
    )
    with pytest.raises(ValueError, match=error):
        train_motion(
            port, model, moving_clips(), lesson_of(port, model, kind), settings(frames_per_step=count),
            lambda key: tmp_path,
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("schedule", [STABLE_DIFFUSION, ANIMATEDIFF])
@pytest.mark.parametrize("gamma", [0.0, 0.5])
@pytest.mark.parametrize("prediction_type", ["eps", "v"])
def test_the_loss_is_of_the_bases_prediction_type_the_modules_schedule_and_its_weight(
    port, model, tmp_path, prediction_type, gamma, schedule
):
    """The first loss of a frozen model, worked out beside the trainer."""
    asked = replace(model, base_sampling=replace(model.base_sampling, prediction=prediction_type))
    clips, run = moving_clips(), settings(1, min_snr=gamma)
    lesson = learn_module(new_module(port.base(model).widths, schedule), "new", port.compute_device())
    trained = train_motion(port, asked, clips, lesson, run, lambda key: tmp_path)
    batch = draw_batch(clips, run, step_generator(0, 0))
    alpha = schedule.alphas_cumprod().float()[batch.timesteps]
    noisy = alpha.sqrt() * batch.latents[0] + (1 - alpha).sqrt() * batch.noise[0]
    forward = port.train_forward(asked, 4)
    out = forward(noisy, batch.timesteps.expand(4), batch.tokens.expand(4, -1, -1))
    target = (
        batch.noise[0]
        if prediction_type == "eps"
        else alpha.sqrt() * batch.noise[0] - (1 - alpha).sqrt() * batch.latents[0]
    )
    error, snr = float((out - target).square().mean().detach()), float(alpha / (1 - alpha))
    weight = min(snr, gamma) / (snr + (prediction_type == "v")) if gamma else 1.0
    assert trained.losses[0] == pytest.approx(weight * error, rel=1e-5)


def test_a_loss_that_is_not_finite_leaves_the_last_result(port, model, tmp_path):
    clips = moving_clips()
    train_motion(port, model, clips, lesson_of(port, model, "lora"), settings(2), lambda key: tmp_path)
    good = (tmp_path / "motion.safetensors").read_bytes()
    loop = replace(settings().loop, steps=4)
    lesson = lesson_of(port, model, "lora")

    def poison(step, loss):
        with torch.no_grad():
            list(lesson.parameters.values())[-1].fill_(float("nan"))

    with pytest.raises(FloatingPointError, match="loss is nan at step 3"):
        train_motion(port, model, clips, lesson, replace(settings(), loop=loop), lambda key: tmp_path, poison)
    assert (tmp_path / "motion.safetensors").read_bytes() == good
    assert read_motion_lora(tmp_path / "motion.safetensors").pairs


def test_a_base_that_changed_is_an_error():
    unet = nn.Linear(2, 2)
    forward = FrozenForward(unet, lambda *inputs: inputs[0])
    before = forward.hash_weights()
    check_frozen(before, forward)
    with torch.no_grad():
        unet.bias[1] += 1e-6
    with pytest.raises(HostError, match="model: its weights changed in training"):
        check_frozen(before, forward)


def test_more_frames_than_the_encoding_holds_are_refused(port, model, tmp_path):
    lesson = learn_module(
        new_module(port.base(model).widths, None, max_frames=3), "short", port.compute_device()
    )
    with pytest.raises(
        ValueError, match="frames=4 is more than the 3 that the positional encoding of new module holds"
    ):
        train_motion(port, model, moving_clips(), lesson, settings(), lambda key: tmp_path)


def test_no_clips_are_refused(port, model, tmp_path):
    whole = moving_clips()
    none = Clips(whole.latents[:0], whole.tokens[:1], whole.caption[:0])
    with pytest.raises(ValueError, match="clips: got none; expected at least one"):
        train_motion(port, model, none, lesson_of(port, model, "new"), settings(), lambda key: tmp_path)


def test_a_base_of_another_family_is_refused(port, model, tmp_path):
    lesson = learn_module(module_weights(width=64), "wide", port.compute_device())
    with pytest.raises(CheckpointError, match=r"start: .* is 64 channels wide, the model has 32 there"):
        train_motion(port, model, moving_clips(), lesson, settings(), lambda key: tmp_path)


def test_a_module_that_learns_in_place_is_the_same_run_and_takes_its_memory_once(port, model, tmp_path):
    learned = []
    for in_place in (False, True):
        weights = new_module(port.base(model).widths, STABLE_DIFFUSION)
        lesson = learn_module(weights, "new", port.compute_device(), in_place=in_place)
        shared = [
            lesson.parameters[name].data_ptr() == value.data_ptr()
            for name, value in weights.state.items()
            if name in lesson.parameters
        ]
        assert all(shared) if in_place else not any(shared)
        folder = tmp_path / str(in_place)
        trained = train_motion(
            port, model, moving_clips(), lesson, settings(3), lambda key, at=folder: at / key
        )
        learned.append((trained.folder.name, trained.losses, trained.learned))
    assert learned[0][:2] == learned[1][:2]
    assert same(learned[0][2], learned[1][2])


def test_a_new_module_has_weights_of_its_seed_and_torchs_random_state_stays(port, model):
    state = torch.random.get_rng_state()
    one, again, other = (new_module(port.base(model).widths, None, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    key = "down_blocks.0.motion_modules.0.temporal_transformer.proj_in.weight"
    assert torch.equal(one.state[key], again.state[key])
    assert not torch.equal(one.state[key], other.state[key])
    assert len(new_module(port.base(model).widths, None, middle=True).size.channels) == 21
    assert set(one.state) == set(tiny_module(middle=False).state_dict())
