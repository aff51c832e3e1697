import pickle
import random
import signal
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from frameloom.tests.support.disk import room_for
from frameloom.training.loop import LoopSettings, step_generator, train
from torch import nn

SETTINGS = LoopSettings(steps=12, learning_rate=1e-2, warmup=2, seed=5)


def problem():
    torch.manual_seed(0)
    model = nn.Linear(4, 1)

    def loss(step, generator):
        inputs = torch.randn(16, 4, generator=generator)
        return (model(inputs) - inputs.sum(1, keepdim=True)).square().mean()

    return model, dict(model.named_parameters()), loss


def test_loss_falls():
    _, parameters, loss = problem()
    losses = []
    settings = LoopSettings(steps=300, learning_rate=3e-2, warmup=5)
    train(parameters, loss, settings, on_step=lambda _, value: losses.append(value))
    assert losses[-1] < 0.02 * losses[0]


class Stopped(RuntimeError):
    pass


def stop_at(last):
    def on_step(step, loss):
        if step == last:
            raise Stopped

    return on_step


def test_resumed_run_equals_an_unbroken_one_to_the_last_bit(tmp_path):
    _, whole, loss = problem()
    expected = train(whole, loss, SETTINGS)
    path = tmp_path / "run.pt"
    _, parameters, loss = problem()
    with pytest.raises(Stopped):
        train(parameters, loss, SETTINGS, checkpoint=path, checkpoint_every=4, on_step=stop_at(8))
    _, fresh, loss = problem()
    steps = []
    resumed = train(
        fresh, loss, SETTINGS, checkpoint=path, checkpoint_every=4, on_step=lambda step, _: steps.append(step)
    )
    assert steps == [9, 10, 11]
    for name in expected:
        assert torch.equal(resumed[name], expected[name]), name
        assert torch.equal(fresh[name], whole[name]), name


def test_only_the_given_parameters_change():
    model, parameters, loss = problem()
    before = model.bias.detach().clone()
    train({"weight": parameters["weight"]}, loss, SETTINGS)
    assert torch.equal(model.bias, before)
    assert not torch.equal(parameters["weight"], problem()[1]["weight"])


def test_a_loss_that_is_not_finite_stops_and_leaves_the_last_checkpoint(tmp_path):
    _, parameters, loss = problem()
    path = tmp_path / "run.pt"

    def explode(step, generator):
        return loss(step, generator) * (float("nan") if step == 6 else 1.0)

    with pytest.raises(FloatingPointError, match=r"nan at step 6; lower learning_rate=0\.01"):
        train(parameters, explode, SETTINGS, checkpoint=path, checkpoint_every=4)
    assert torch.load(path)["step"] == 4
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.pt"]


def test_a_gradient_that_is_not_finite_changes_no_weight_and_no_checkpoint(tmp_path):
    """A square root has a finite loss at 0, and no gradient there."""
    model, parameters, loss = problem()
    path, before = tmp_path / "run.pt", []

    def steep(step, generator):
        if step < 4:
            return loss(step, generator)
        before.append(model.weight.detach().clone())
        return (model.weight - model.weight.detach()).square().sum().sqrt()

    with pytest.raises(FloatingPointError, match=r"gradient is nan at step 4; lower learning_rate=0\.01"):
        train(parameters, steep, SETTINGS, checkpoint=path, checkpoint_every=4)
    assert torch.equal(model.weight, before[0])
    assert torch.load(path)["step"] == 4


def test_a_gradient_that_fp16_cannot_scale_is_one_error_too(tmp_path):
    """A scaler leaves steps out in silence, as many as come."""
    _, parameters, _ = problem()
    before = parameters["weight"].detach().clone()

    def steep(step, generator):
        return (parameters["weight"] - parameters["weight"].detach()).square().sum().sqrt()

    settings = replace(SETTINGS, steps=100, precision="fp16", ema_decay=0.0)
    with pytest.raises(FloatingPointError, match="gradient is nan at step 16; lower learning_rate"):
        train({"weight": parameters["weight"]}, steep, settings)
    assert torch.equal(parameters["weight"], before)


def test_averages_are_those_of_the_formula():
    """Their decay grows from 0.1 towards its bound: (1 + n) / (10 + n)."""
    _, parameters, loss = problem()
    seen = [{name: value.detach().clone() for name, value in parameters.items()}]

    def note(step, number):
        seen.append({name: value.detach().clone() for name, value in parameters.items()})

    averages = train(parameters, loss, replace(SETTINGS, ema_decay=0.4), on_step=note)
    for name, average in averages.items():
        expected = seen[0][name]
        for step, values in enumerate(seen[1:]):
            decay = min(0.4, (1 + step) / (10 + step))
            expected = decay * expected + (1 - decay) * values[name]
        torch.testing.assert_close(average, expected, rtol=1e-5, atol=1e-7)


def test_a_checkpoint_of_more_steps_is_refused(tmp_path):
    """What it holds is not what fewer steps make."""
    _, parameters, loss = problem()
    path = tmp_path / "run.pt"
    train(parameters, loss, replace(SETTINGS, final_rate=1.0), checkpoint=path, key="a")
    with pytest.raises(ValueError, match=r"run\.pt: is at step 12, past steps=11; .* raise steps"):
        train(parameters, loss, replace(SETTINGS, steps=11, final_rate=1.0), checkpoint=path, key="a")


def test_what_a_killed_run_left_of_a_checkpoint_goes_with_the_next(tmp_path):
    _, parameters, loss = problem()
    (tmp_path / ".run.pt.0a1b2c3d.part").write_bytes(b"half")
    train(parameters, loss, SETTINGS, checkpoint=tmp_path / "run.pt")
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.pt"]


def test_a_checkpoint_of_other_parameters_is_refused(tmp_path):
    _, parameters, loss = problem()
    path = tmp_path / "run.pt"
    train(parameters, loss, SETTINGS, checkpoint=path)
    with pytest.raises(ValueError, match=r"run\.pt: holds 2 parameters that are not the 1 to train"):
        train({"weight": parameters["weight"]}, loss, SETTINGS, checkpoint=path)


def test_nothing_to_train_is_refused():
    with pytest.raises(ValueError, match="got none to train"):
        train({}, lambda step, generator: torch.zeros(()), SETTINGS)


def test_step_generators_differ_by_seed_and_step():
    draws = {
        tuple(torch.randn(2, generator=step_generator(s, k)).tolist()) for s in range(3) for k in range(3)
    }
    assert len(draws) == 9


def test_accumulated_gradients_are_those_of_the_mean():
    """With the rate so low that weights stay, a step's gradient is seen in AdamW's first moment."""
    settings = LoopSettings(steps=1, learning_rate=1e-12, warmup=1, clip_norm=1e9, weight_decay=0.0)
    model, parameters, loss = problem()
    mean = sum(loss(0, step_generator(settings.seed, index)) for index in range(3)) / 3
    (expected,) = torch.autograd.grad(mean, model.weight)
    losses = []
    train(
        {"weight": parameters["weight"]},
        loss,
        replace(settings, accumulation=3),
        on_step=lambda step, number: losses.append((number, parameters["weight"].grad.clone())),
    )
    [(number, gradient)] = losses
    assert number == pytest.approx(mean.item(), rel=1e-6)
    torch.testing.assert_close(gradient, expected)


def test_a_final_rate_of_one_is_constant_after_the_warm_up():
    settings = LoopSettings(steps=100, learning_rate=3.0, warmup=4, final_rate=1.0)
    assert [settings.rate(step) for step in (0, 1, 3, 4, 99)] == pytest.approx([0.75, 1.5, 3, 3, 3])


def test_no_decay_is_no_average():
    _, parameters, loss = problem()
    averages = train(parameters, loss, replace(SETTINGS, ema_decay=0.0))
    for name, value in averages.items():
        assert torch.equal(value, parameters[name]), name


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_half_precision_is_of_the_loss_alone_and_learns(precision, dtype):
    model, parameters, _ = problem()
    seen, losses = set(), []

    def loss(step, generator):
        inputs = torch.randn(16, 4, generator=generator)
        answer = model(inputs)
        seen.add(answer.dtype)
        return (answer.float() - inputs.sum(1, keepdim=True)).square().mean()

    settings = LoopSettings(steps=200, learning_rate=3e-2, warmup=5, precision=precision)
    averages = train(parameters, loss, settings, on_step=lambda _, value: losses.append(value))
    assert seen == {dtype}
    assert losses[-1] < 0.05 * losses[0]
    assert {value.dtype for value in [*averages.values(), *parameters.values()]} == {torch.float32}


def test_fp16_resumes_with_its_scale(tmp_path):
    settings = replace(SETTINGS, precision="fp16")
    _, whole, loss = problem()
    expected = train(whole, loss, settings)
    _, parameters, loss = problem()
    path = tmp_path / "run.pt"
    with pytest.raises(Stopped):
        train(parameters, loss, settings, checkpoint=path, on_step=stop_at(5))
    assert torch.load(path)["scaler"]["scale"] < 65536  # it overflowed at first
    _, fresh, loss = problem()
    steps = []
    resumed = train(fresh, loss, settings, checkpoint=path, on_step=lambda step, _: steps.append(step))
    assert steps[0] == 6
    assert all(torch.equal(resumed[name], expected[name]) for name in expected)


def test_a_stop_keeps_what_was_learned_until_then(tmp_path):
    _, parameters, loss = problem()
    path, kept = tmp_path / "run.pt", []
    with pytest.raises(Stopped):
        train(
            parameters,
            loss,
            SETTINGS,
            checkpoint=path,
            on_step=stop_at(6),
            on_checkpoint=lambda *told: kept.append(told),
        )
    assert torch.load(path)["step"] == 7
    [(steps, averages)] = kept
    assert steps == 7
    _, fresh, loss = problem()
    steps = []
    with pytest.raises(Stopped):
        train(
            fresh,
            loss,
            SETTINGS,
            checkpoint=path,
            on_step=lambda step, _: steps.append(step) or stop_at(7)(step, 0),
        )
    assert steps == [7]
    _, whole, loss = problem()
    with pytest.raises(Stopped):
        train(
            whole,
            loss,
            SETTINGS,
            checkpoint=tmp_path / "o.pt",
            on_step=stop_at(6),
            on_checkpoint=lambda *told: kept.append(told),
        )
    assert all(torch.equal(kept[1][1][name], averages[name]) for name in averages)


KILLED = """
import sys, os, signal
from pathlib import Path
from frameloom.tests.training.test_loop import SETTINGS, problem
from frameloom.training.loop import train
_, parameters, loss = problem()
def on_step(step, number):
    print(step, number.hex(), flush=True)
    if step == 9:
        os.kill(os.getpid(), signal.SIGKILL)
train(parameters, loss, SETTINGS, checkpoint=Path(sys.argv[1]), checkpoint_every=4, on_step=on_step)
"""


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path):
    path, losses = tmp_path / "run.pt", []
    _, whole, loss = problem()
    expected = train(whole, loss, SETTINGS, on_step=lambda step, number: losses.append(number))
    command = [sys.executable, "-c", KILLED, str(path)]
    killed = subprocess.run(command, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = [float.fromhex(line.split()[1]) for line in killed.stdout.splitlines()]
    assert before == losses[:10]
    _, fresh, loss = problem()
    after = []
    resumed = train(fresh, loss, SETTINGS, checkpoint=path, on_step=lambda *step: after.append(step))
    assert after == list(enumerate(losses))[8:]
    assert all(torch.equal(resumed[name], expected[name]) for name in expected)


def test_a_full_disk_is_one_error_and_the_last_checkpoint_loads(tmp_path):
    path = tmp_path / "run.pt"
    model = nn.Linear(64, 64)

    def loss(step, generator):
        return model(torch.randn(4, 64, generator=generator)).square().mean()

    train(dict(model.named_parameters()), loss, replace(SETTINGS, steps=4), checkpoint=path)
    with (
        room_for(8192),
        pytest.raises(OSError, match=r"run\.pt: could not be written .*about 66,560 bytes"),
    ):
        train(dict(model.named_parameters()), loss, SETTINGS, checkpoint=path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.pt"]
    assert torch.load(path)["step"] == 4
    train(dict(model.named_parameters()), loss, SETTINGS, checkpoint=path)
    assert torch.load(path)["step"] == SETTINGS.steps


def test_any_damaged_byte_of_a_checkpoint_is_refused_or_changes_nothing(tmp_path):
    """torch reads a file whose tensors were changed without a word."""
    _, parameters, loss = problem()
    path = tmp_path / "run.pt"
    whole = train(parameters, loss, SETTINGS, checkpoint=path)
    data, draw = path.read_bytes(), random.Random(1)
    refusals = []
    for _ in range(200):
        place = draw.randrange(len(data))
        path.write_bytes(data[:place] + bytes([data[place] ^ (1 << draw.randrange(8))]) + data[place + 1 :])
        _, fresh, loss = problem()
        try:
            again = train(fresh, loss, SETTINGS, checkpoint=path)
        except ValueError as error:
            refusals.append(str(error))
        else:
            assert all(torch.equal(again[name], whole[name]) for name in whole), place
    assert 80 < len(refusals) < 200  # much of so small a file is padding
    assert all(each.startswith(f"checkpoint {path}: damaged (") for each in refusals)


@pytest.mark.parametrize(
    "junk", [b"", b"junk", b"PK\x03\x04" + bytes(99), pickle.dumps([1]), bytes(range(256)) * 9]
)
def test_junk_in_place_of_a_checkpoint_is_refused_with_what_to_do(tmp_path, junk):
    _, parameters, loss = problem()
    path = tmp_path / "run.pt"
    path.write_bytes(junk)
    with pytest.raises(
        ValueError, match=r"run\.pt: damaged \(.*\); expected it as it was written; put a copy"
    ):
        train(parameters, loss, SETTINGS, checkpoint=path)
    assert path.read_bytes() == junk


def test_who_is_told_of_checkpoints_is_told_again_where_a_run_goes_on_from_one(tmp_path):
    """A run may be killed as its last checkpoint is drawn; a stopped one is no such checkpoint."""
    path = tmp_path / "run.pt"
    for stop, heard in ((3, [4]), (5, [4, 6]), (None, [8, 12]), (None, [12])):
        told = []
        _, parameters, loss = problem()
        with pytest.raises(Stopped) if stop else nullcontext():
            train(
                parameters,
                loss,
                SETTINGS,
                checkpoint=path,
                checkpoint_every=4,
                on_step=stop_at(stop),
                on_checkpoint=lambda steps, _, told=told: told.append(steps),
            )
        assert told == heard


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_refused(tmp_path):
    _, parameters, loss = problem()
    path = tmp_path / "run.pt"
    train(parameters, loss, SETTINGS, checkpoint=path, key="a")
    with pytest.raises(ValueError, match=r"run\.pt: was made with other settings, data or base"):
        train(parameters, loss, SETTINGS, checkpoint=path, key="b")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"run\.pt: damaged"):
        train(parameters, loss, SETTINGS, checkpoint=path, key="a")
