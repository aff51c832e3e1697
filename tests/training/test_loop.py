import pytest
import torch
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
    resumed = train(fresh, loss, SETTINGS, checkpoint=path, checkpoint_every=4)
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
