import io
import pickle
import random
import shutil
from contextlib import nullcontext
from dataclasses import replace
from zipfile import ZIP_DEFLATED, ZipFile

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


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.pt"


def run(settings=SETTINGS, **more):
    """Solve the problem; return averages, last values, and the numbers and losses of the steps."""
    _, parameters, loss = problem()
    steps, on_step = [], more.pop("on_step", None)

    def note(step, number):
        steps.append((step, number))
        if on_step is not None:
            on_step(step, number)

    return train(parameters, loss, settings, on_step=note, **more), parameters, steps


def same(one, other):
    return all(torch.equal(one[name], value) for name, value in other.items())


class Stopped(RuntimeError):
    pass


def stop_at(last):
    def on_step(step, loss):
        if step == last:
            raise Stopped

    return on_step


def steep(value):
    """A square root, which has a finite loss at 0, and no gradient there."""
    return (value - value.detach()).square().sum().sqrt()


def test_loss_falls():
    _, _, steps = run(LoopSettings(steps=200, learning_rate=3e-2, warmup=5))
    assert steps[-1][1] < 0.05 * steps[0][1]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_stopped_run_goes_on_to_the_same_bits(path, precision):
    """With fp16's scale, too."""
    settings = replace(SETTINGS, precision=precision)
    whole = run(settings)
    with pytest.raises(Stopped):
        run(settings, checkpoint=path, checkpoint_every=4, on_step=stop_at(8))
    scaler = torch.load(path)["scaler"]
    assert scaler["scale"] < 65536 if precision == "fp16" else not scaler  # it overflowed at first
    resumed = run(settings, checkpoint=path)
    assert resumed[2] == whole[2][9:]
    assert same(resumed[0], whole[0])
    assert same(resumed[1], whole[1])


def test_a_killed_run_goes_on_to_the_same_bits(path, tmp_path):
    """From what lay on the disk between two checkpoints."""

    def keep(step, number):
        if step == 9:
            shutil.copy(path, tmp_path / "killed.pt")

    whole = run(checkpoint=path, checkpoint_every=4, on_step=keep)
    resumed = run(checkpoint=tmp_path / "killed.pt")
    assert resumed[2] == whole[2][8:]
    assert same(resumed[0], whole[0])
    assert same(resumed[1], whole[1])


def square_problem():
    torch.manual_seed(0)
    model = nn.Linear(4, 4)

    def loss(step, generator):
        inputs = torch.randn(16, 4, generator=generator)
        return (model(inputs) - inputs.roll(1, 1)).square().mean()

    return dict(model.named_parameters()), loss


def test_muon_moves_a_matrix_as_far_in_all_directions_and_adamw_moves_the_rest_as_without_it():
    settings, moved = LoopSettings(1, 1e-2, warmup=0, weight_decay=0), {}
    for matrices in ((), ("weight",)):
        parameters, loss = square_problem()
        before = {name: value.detach().clone() for name, value in parameters.items()}
        train(parameters, loss, settings, matrices=matrices)
        moved[matrices] = {name: (value - before[name]).detach() for name, value in parameters.items()}
    assert torch.equal(moved["weight",]["bias"], moved[()]["bias"])
    sizes = torch.linalg.svdvals(moved["weight",]["weight"]) / (1e-2 * 0.2 * 4**0.5)
    assert ((sizes > 0.6) & (sizes < 1.3)).all(), sizes
    assert moved["weight",]["weight"].square().mean().sqrt() == pytest.approx(0.2e-2, rel=0.3), "AdamW's size"


def test_a_stopped_run_of_muon_goes_on_to_the_same_bits(path):
    def solve(**more):
        parameters, loss = square_problem()
        return train(parameters, loss, SETTINGS, matrices=["weight"], **more)

    whole = solve()
    with pytest.raises(Stopped):
        solve(checkpoint=path, on_step=stop_at(6))
    assert same(solve(checkpoint=path), whole)


def test_a_checkpoint_from_before_muon_goes_on_and_one_of_another_optimiser_is_refused(path):
    def solve(**more):
        parameters, loss = square_problem()
        return train(parameters, loss, SETTINGS, **more)

    with pytest.raises(Stopped):
        solve(checkpoint=path, on_step=stop_at(6))
    state = torch.load(path)
    del state["muon"]
    torch.save(state, path)
    with pytest.raises(ValueError, match="other settings"):
        solve(checkpoint=path, matrices=["weight"])
    assert same(solve(checkpoint=path), solve())


def test_only_the_given_parameters_change():
    model, parameters, loss = problem()
    before = model.bias.detach().clone()
    train({"weight": parameters["weight"]}, loss, SETTINGS)
    assert torch.equal(model.bias, before)
    assert not torch.equal(parameters["weight"], problem()[1]["weight"])


def test_a_loss_that_is_not_finite_stops_and_leaves_the_last_checkpoint(path):
    _, parameters, loss = problem()

    def explode(step, generator):
        return loss(step, generator) * (float("nan") if step == 6 else 1.0)

    with pytest.raises(FloatingPointError, match=r"nan at step 6; lower learning_rate=0\.01"):
        train(parameters, explode, SETTINGS, checkpoint=path, checkpoint_every=4)
    assert torch.load(path)["step"] == 4
    assert list(path.parent.iterdir()) == [path]


def test_a_gradient_that_is_not_finite_changes_no_weight_and_no_checkpoint(path):
    model, parameters, loss = problem()
    before = []

    def break_off(step, generator):
        if step < 4:
            return loss(step, generator)
        before.append(model.weight.detach().clone())
        return steep(model.weight)

    with pytest.raises(FloatingPointError, match=r"gradient is nan at step 4; lower learning_rate=0\.01"):
        train(parameters, break_off, SETTINGS, checkpoint=path, checkpoint_every=4)
    assert torch.equal(model.weight, before[0])
    assert torch.load(path)["step"] == 4


def test_a_gradient_that_fp16_cannot_scale_is_one_error_too():
    """A scaler leaves steps out in silence, as many as come."""
    weight = problem()[1]["weight"]
    before = weight.detach().clone()
    settings = replace(SETTINGS, steps=100, precision="fp16", ema_decay=0.0)
    with pytest.raises(FloatingPointError, match="gradient is nan at step 16; lower learning_rate"):
        train({"weight": weight}, lambda *_: steep(weight), settings)
    assert torch.equal(weight, before)


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


def test_a_checkpoint_of_another_run_is_refused(path):
    """Of more steps, too: what it holds is not what fewer steps make."""
    run(checkpoint=path, key="a")
    _, parameters, loss = problem()
    with pytest.raises(ValueError, match=r"run\.pt: holds 2 parameters that are not the 1 to train"):
        train({"weight": parameters["weight"]}, loss, SETTINGS, checkpoint=path, key="a")
    with pytest.raises(ValueError, match=r"run\.pt: was made with other settings, data or base"):
        run(checkpoint=path, key="b")
    with pytest.raises(ValueError, match=r"run\.pt: is at step 12, past steps=11; .* raise steps"):
        run(replace(SETTINGS, steps=11), checkpoint=path, key="a")


def test_what_a_killed_run_left_of_a_checkpoint_goes_with_the_next(path):
    path.with_name(".run.pt.0a1b2c3d.part").write_bytes(b"half")
    run(checkpoint=path)
    assert list(path.parent.iterdir()) == [path]


def test_nothing_to_train_is_refused():
    with pytest.raises(ValueError, match="got none to train"):
        train({}, lambda step, generator: torch.zeros(()), SETTINGS)


def test_step_generators_differ_by_seed_and_step():
    draws = {
        tuple(torch.randn(2, generator=step_generator(s, k)).tolist()) for s in range(3) for k in range(3)
    }
    assert len(draws) == 9


def test_accumulated_gradients_are_those_of_the_mean():
    """With the rate so low that weights stay."""
    settings = LoopSettings(steps=1, learning_rate=1e-12, warmup=1, clip_norm=1e9, weight_decay=0.0)
    model, _, loss = problem()
    mean = sum(loss(0, step_generator(settings.seed, index)) for index in range(3)) / 3
    (expected,) = torch.autograd.grad(mean, model.weight)
    _, parameters, [(_, number)] = run(replace(settings, accumulation=3))
    assert number == pytest.approx(mean.item(), rel=1e-6)
    torch.testing.assert_close(parameters["weight"].grad, expected)


def test_a_final_rate_of_one_is_constant_after_the_warm_up():
    settings = LoopSettings(steps=100, learning_rate=3.0, warmup=4, final_rate=1.0)
    assert [settings.rate(step) for step in (0, 1, 3, 4, 99)] == pytest.approx([0.75, 1.5, 3, 3, 3])


def test_no_decay_is_no_average():
    averages, values, _ = run(replace(SETTINGS, ema_decay=0.0))
    assert same(averages, values)


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


def test_who_is_told_of_checkpoints_is_told_again_where_a_run_goes_on_from_one(path):
    """A run may be killed as its last checkpoint is drawn; a stopped one is no such checkpoint."""
    for stop, heard in ((3, [4]), (5, [4, 6]), (None, [8, 12]), (None, [12])):
        told = []
        with pytest.raises(Stopped) if stop else nullcontext():
            run(
                checkpoint=path,
                checkpoint_every=4,
                on_step=stop_at(stop),
                on_checkpoint=lambda *each, told=told: told.append(each),
            )
        assert [steps for steps, _ in told] == heard
    assert same(told[-1][1], run()[0])


def test_a_full_disk_is_one_error_and_the_last_checkpoint_loads(path):
    model = nn.Linear(64, 64)

    def loss(step, generator):
        return model(torch.randn(4, 64, generator=generator)).square().mean()

    def learn(steps):
        train(dict(model.named_parameters()), loss, replace(SETTINGS, steps=steps), checkpoint=path)

    learn(4)
    said = r"run\.pt: could not be written .*about 66,560 bytes"
    with room_for(8192), pytest.raises(OSError, match=said):
        learn(12)
    assert list(path.parent.iterdir()) == [path]
    assert torch.load(path)["step"] == 4
    learn(12)
    assert torch.load(path)["step"] == 12


def test_any_damaged_byte_of_a_checkpoint_is_refused_or_changes_nothing(path):
    """torch reads a file whose tensors were changed without a word."""
    whole = run(checkpoint=path)[0]
    data, draw = path.read_bytes(), random.Random(1)
    refusals = []
    for _ in range(100):
        place = draw.randrange(len(data))
        path.write_bytes(data[:place] + bytes([data[place] ^ (1 << draw.randrange(8))]) + data[place + 1 :])
        try:
            assert same(run(checkpoint=path)[0], whole)
        except ValueError as error:
            refusals.append(str(error))
    assert 30 < len(refusals) < 100  # much of so small a file is padding
    assert all(each.startswith(f"checkpoint {path}: damaged (") for each in refusals)


def test_a_checkpoint_that_was_packed_again_is_refused(path):
    """Checksums of compressed entries can't tell where torch would read."""
    run(checkpoint=path)
    with ZipFile(path) as whole:
        entries = {name: whole.read(name) for name in whole.namelist()}
    with ZipFile(path, "w", ZIP_DEFLATED) as packed:
        for name, data in entries.items():
            packed.writestr(name, data)
    with pytest.raises(ValueError, match=r"damaged \(it is compressed, which torch's files are not\)"):
        run(checkpoint=path)


def pickled(content):
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("junk", "said"),
    [
        *((junk, "damaged") for junk in (b"", b"junk", b"PK\x03\x04" + bytes(99), pickle.dumps([1]))),
        *((pickled(content), "lacks step") for content in ([], {"epoch": 3})),
    ],
)
def test_junk_in_place_of_a_checkpoint_is_refused_with_what_to_do(path, junk, said):
    path.write_bytes(junk)
    with pytest.raises(ValueError, match=rf"run\.pt: {said}.*; expected .*delete it to start afresh"):
        run(checkpoint=path)
    assert path.read_bytes() == junk
