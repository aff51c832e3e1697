"""``frameloom train`` with a layout model: what it writes, what it refuses, and that a stopped run goes on."""

from __future__ import annotations

import json

import pytest
from frameloom.headless.train import command as training_command
from frameloom.language.answers.compact import VERSION
from frameloom.language.llm.local import FORM
from frameloom.tests.support.tiny_llm import write_llm
from safetensors.torch import load_file

CONFIG = """
[layout_model]
model = "tiny"
steps = 3
tokens = 1024
rank = 2
learning_rate = 1e-2

[output]
folder = "run"
tensorboard = true
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A folder to run in, with a model and a config."""
    monkeypatch.chdir(tmp_path)
    write_llm(tmp_path / "weights" / "llm" / "tiny")
    (tmp_path / "short.toml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def run(command):
    """Run the command with some values; return its exit code and what it printed on standard output and error."""
    return lambda *settings: command(
        "train",
        "short.toml",
        "--device",
        "cpu",
        "--models",
        "weights",
        *(f"--set={each}" for each in settings),
    )


def test_it_writes_a_model_its_adapter_its_config_and_its_losses_and_never_over_another(run, home):
    code, shown, _ = run()
    assert code == 0
    assert any("loss on held-out answers" in line for line in shown)
    model = home / "run" / "model"
    assert json.loads((model / "config.json").read_text())[FORM] == VERSION
    assert (model / "adapter" / "adapter_model.safetensors").is_file()
    assert list((home / "run" / "tensorboard").iterdir())
    assert not list(home.rglob("checkpoint.pt"))
    assert "tokens = 1024" in (home / "run" / "config.toml").read_text()
    before = (model / "model.safetensors").read_bytes()
    code, _, said = run()
    assert code == 2
    assert "output.folder: got run, which holds a tuned model" in said[-1]
    assert (model / "model.safetensors").read_bytes() == before


def test_a_stopped_run_goes_on_to_the_same_bits(run, home, monkeypatch):
    assert run("output.folder=whole")[0] == 0
    step = training_command.StepBar.update

    def stop(bar, done):
        step(bar, done)
        if done == 2:
            raise training_command.StoppedError

    monkeypatch.setattr(training_command.StepBar, "update", stop)
    code, _, said = run()
    assert code == 130
    assert "run holds a checkpoint" in said[-1]
    assert not (home / "run" / "model").exists()
    monkeypatch.undo()
    monkeypatch.chdir(home)
    assert run()[0] == 0
    one, other = (load_file(home / name / "model" / "model.safetensors") for name in ("whole", "run"))
    assert all((one[key] == other[key]).all() for key in one)


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("layout_model.model=absent", "layout_model.model: got 'absent'; expected one of: tiny"),
        ("layout_model.stepz=1", "layout_model.stepz: is no key"),
        ("train.steps=1", "train: is no key; expected one of: layout_model, output"),
        ("layout_model.rank=0", "layout_model.rank: got 0; expected a whole number from 1 to 1024"),
    ],
)
def test_a_config_that_cannot_be_run_is_one_error_that_names_the_key(run, home, setting, why):
    code, _, said = run(setting)
    assert code == 2
    assert why in said[-1]
    assert not (home / "run").exists()
