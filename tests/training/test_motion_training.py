"""Training a motion module in a frozen base: its draws, its loss, and that a stop changes nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from frameloom.models.errors import HostError
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.models.motion.lora import MotionLoRA, read_motion_lora
from frameloom.models.training import FrozenForward
from frameloom.models.video.schedules import ANIMATEDIFF, STABLE_DIFFUSION
from frameloom.tests.support.motion import tiny_module
from frameloom.tests.support.training import lesson_of, moving_clips, settings
from frameloom.training.loop import step_generator
from frameloom.training.motion.few_steps import FewSteps
from frameloom.training.motion.lessons import learn_module, new_module
from frameloom.training.motion.training import check_frozen, draw_batch, run_key, train_motion
from torch import nn

BASE = ["base", "eps", ""]


@pytest.fixture(scope="module")
def model(demo):
    return demo[0]


@pytest.fixture
def train(port, model, tmp_path):
    """Train a lesson, or a kind of one, in a folder of that name."""

    def go(lesson, run=None, name="run", **more):
        clips = more.pop("clips", moving_clips())
        lesson = lesson_of(port, model, lesson) if isinstance(lesson, str) else lesson
        base = more.pop("model", model)
        return train_motion(port, base, clips, lesson, run or settings(), lambda key: tmp_path / name, **more)

    return go


def weights_of(learned):
    if isinstance(learned, MotionLoRA):
        halves = {
            f"{name} {side}": half for name, pair in learned.pairs.items() for side, half in enumerate(pair)
        }
        return {**halves, **learned.encoders}
    return learned.state


def same(one, other):
    one, other = weights_of(one), weights_of(other)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", ["lora", "adapter", "pia adapter"])
def test_a_lora_starts_as_its_module(port, model, kind):
    """An adapter with frames or a picture given, too."""
    noisy, latents, tokens = torch.randn(4, 4, 8, 8), torch.randn(4, 4, 8, 8), torch.randn(4, 77, 64)
    forwards = [
        port.train_forward(model, 4, lesson_of(port, model, each).learner) for each in (kind, "continued")
    ]
    given = latents, torch.ones(4, 1, 8, 8)
    lora, plain = (forward(noisy, torch.full((4,), 300), tokens, given) for forward in forwards)
    assert torch.equal(lora, plain)


def test_a_mask_adapter_is_told_clean_frames_that_have_no_part_in_the_loss(port, train, monkeypatch):
    """What is drawn of a given frame is anything, since the host puts it back."""
    clips, run, seen, losses = moving_clips(), replace(settings(1), batch=4), [], []
    frozen = port.train_forward

    def spoiling(*args, **options):
        forward = frozen(*args, **options)

        def spoilt(noisy, at, tokens, given, pooled):
            assert pooled is None
            seen.append(given)
            return forward(noisy, at, tokens, given) + 100.0 * len(losses) * given[1]

        return FrozenForward(forward.unet, spoilt)

    monkeypatch.setattr(port, "train_forward", spoiling)
    for name in "ab":
        losses += train("adapter", run, name, clips=clips).losses
    assert losses[0] == losses[1]
    batch = draw_batch(clips, run, step_generator(0, 0), gives=True)
    assert torch.equal(seen[0][0], batch.latents.flatten(0, 1))
    assert torch.equal(seen[0][1], batch.given.flatten()[:, None, None, None].float().expand(-1, 1, 8, 8))
    assert batch.given.any()


@pytest.mark.parametrize(
    ("kind", "few"),
    [
        ("new", None),
        ("lora", None),
        ("adapter", None),
        ("pia adapter", FewSteps(2, 4)),
        ("continued", FewSteps(2, 4)),
    ],
)
def test_a_killed_run_goes_on_to_the_same_curve_and_weights(train, tmp_path, kind, few):
    """From what lay on the disk between two checkpoints."""
    run = settings(4, few=few)

    def keep(step, loss):
        if step == 2:
            shutil.copytree(tmp_path / "run", tmp_path / "killed")

    whole, steps = train(kind, run, on_step=keep), []
    assert len((tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()) == 3
    resumed = train(kind, run, "killed", on_step=lambda step, _: steps.append(step))
    assert steps == [2, 3]
    assert resumed.losses == whole.losses
    assert same(resumed.learned, whole.learned)
    read = read_motion_weights if kind in ("new", "continued") else read_motion_lora
    assert same(read(tmp_path / "killed" / "motion.safetensors"), whole.learned)
    rows = [json.loads(line) for line in (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2, 3]


def test_a_step_is_noted_before_its_checkpoint_so_that_a_kill_between_them_loses_none(train, tmp_path):
    noted = []

    def count_rows(_steps, _learned):
        noted.append(len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()))

    train("lora", settings(3), on_checkpoint=count_rows)
    assert noted == [2, 3]


def test_saving_memory_is_the_same_run_and_works_blocks_out_again(port, model, train):
    """A checkpoint of one is the other's."""
    lesson, calls = lesson_of(port, model, "lora"), []
    slot = lesson.learner.network.slots[0]
    lesson.learner.network.transformer(slot).norm.register_forward_hook(lambda *_: calls.append(slot))
    whole = train("lora", settings(2), "whole")
    train("lora", settings(1))
    more = train(lesson, settings(2, save_memory=True))
    assert calls == 2 * [slot]  # forward, and again for gradients, in the one step that was left
    assert more.losses == whole.losses
    assert same(more.learned, whole.learned)


@pytest.mark.parametrize(
    ("kind", "precision", "save_memory"),
    [("new", "fp16", True), ("lora", "bf16", False), ("adapter", "bf16", True)],
)
def test_half_precision_computes_about_the_same_loss(port, model, train, kind, precision, save_memory):
    losses = []
    for each in ("fp32", precision):
        run = settings(1, save_memory=save_memory)
        lesson = lesson_of(port, model, kind)
        losses += train(lesson, replace(run, loop=replace(run.loop, precision=each)), each).losses
        assert {value.dtype for value in lesson.parameters.values()} == {torch.float32}
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_a_run_is_known_by_what_its_numbers_depend_on(port, model):
    clips, lesson, run = moving_clips(), lesson_of(port, model, "new"), settings()
    key = run_key(clips, lesson, run, BASE)
    assert key == run_key(
        moving_clips(), lesson_of(port, model, "new"), settings(9, checkpoint_every=5, save_memory=True), BASE
    )
    loops = replace(run.loop, learning_rate=1e-4), replace(run.loop, final_rate=0.1)
    others = [
        run_key(moving_clips(2), lesson, run, BASE),
        run_key(clips, lesson_of(port, model, "lora"), run, BASE),
        *(run_key(clips, lesson, replace(run, loop=loop), BASE) for loop in loops),
        run_key(clips, lesson, replace(run, min_snr=5.0), BASE),
        run_key(clips, lesson, replace(run, frames_per_step=2), BASE),
        run_key(clips, lesson, replace(run, few=FewSteps(4)), BASE),
        *(run_key(clips, lesson, run, base) for base in (["other", *BASE[1:]], ["base", "v", ""])),
        run_key(clips, lesson, run, ["base", "eps", "edits"]),
    ]
    assert len({key, *others}) == 11


def test_a_base_that_reads_more_than_latents_is_refused(port, model):
    """Before clips are encoded: its first step would fail."""
    pix2pix = replace(model, size=replace(model.size, in_channels=8))
    with pytest.raises(ValueError, match=r"model: its UNet reads 8 channels, .* expected 4, the noisy lat"):
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
    ("prediction_type", "gamma", "schedule"), [("eps", 0.0, ANIMATEDIFF), ("v", 0.5, STABLE_DIFFUSION)]
)
def test_the_loss_is_of_the_bases_prediction_type_the_modules_schedule_and_its_weight(
    port, model, train, prediction_type, gamma, schedule
):
    """The first loss of a frozen model, worked out beside the trainer."""
    asked = replace(model, base_sampling=replace(model.base_sampling, prediction=prediction_type))
    run, is_v = settings(1, min_snr=gamma), prediction_type == "v"
    lesson = learn_module(new_module(port.base(model).widths, schedule), "new", port.compute_device())
    trained = train(lesson, run, model=asked)
    batch = draw_batch(moving_clips(), run, step_generator(0, 0))
    alpha = schedule.alphas_cumprod().float()[batch.timesteps]
    latents, noise = batch.latents[0], batch.noise[0]
    noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
    out = port.train_forward(asked, 4)(noisy, batch.timesteps.expand(4), batch.tokens.expand(4, -1, -1))
    target = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents if is_v else noise
    error, snr = float((out - target).square().mean().detach()), float(alpha / (1 - alpha))
    weight = min(snr, gamma) / (snr + is_v) if gamma else 1.0
    assert trained.losses[0] == pytest.approx(weight * error, rel=1e-5)


def test_a_base_that_changed_is_an_error():
    unet = nn.Linear(2, 2)
    forward = FrozenForward(unet, lambda *inputs: inputs[0])
    before = forward.hash_weights()
    check_frozen(before, forward)
    with torch.no_grad():
        unet.bias[1] += 1e-6
    with pytest.raises(HostError, match="model: its weights changed in training"):
        check_frozen(before, forward)


def test_a_module_that_learns_in_place_is_the_same_run_and_takes_its_memory_once(port, model, train):
    learned = []
    for in_place in (False, True):
        weights = new_module(port.base(model).widths, STABLE_DIFFUSION)
        lesson = learn_module(weights, "new", port.compute_device(), in_place=in_place)
        shared = {
            value.data_ptr() == weights.state[name].data_ptr() for name, value in lesson.parameters.items()
        }
        assert shared == {in_place}
        learned.append(train(lesson, settings(1), str(in_place)))
    assert learned[0].losses == learned[1].losses
    assert same(learned[0].learned, learned[1].learned)


def test_a_new_module_has_weights_of_its_seed_and_torchs_random_state_stays(port, model):
    state = torch.random.get_rng_state()
    one, again, other = (new_module(port.base(model).widths, None, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    key = "down_blocks.0.motion_modules.0.temporal_transformer.proj_in.weight"
    assert torch.equal(one.state[key], again.state[key])
    assert not torch.equal(one.state[key], other.state[key])
    assert len(new_module(port.base(model).widths, None, middle=True).size.channels) == 21
    assert set(one.state) == set(tiny_module(middle=False).state_dict())
