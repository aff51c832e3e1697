"""The command that trains: what it writes and returns, that it is the node's work, and that a stop changes nothing."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import threading
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from frameloom.headless.__main__ import main
from frameloom.headless.train import command as training_command
from frameloom.host import api
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.models.motion.lora import read_motion_lora
from frameloom.tests.support.processes import run_together
from frameloom.tools.evidence.layout_prior import SETTINGS
from frameloom.training.motion import run as motion_run
from frameloom.training.team import Alone
from safetensors import safe_open

ROOT = Path(__file__).resolve().parents[2]
SHORT = {
    "model.demo": True,
    "dataset.clips": 2,
    "dataset.frames": 4,
    "dataset.width": 64,
    "dataset.height": 64,
    "train.steps": 3,
    "train.learning_rate": 1e-3,
    "train.warmup": 2,
    "train.ema_decay": 0.5,
    "train.accumulation": 2,
    "train.checkpoint_every": 2,
    "train.noise_bias": 3.0,
    "train.beta_schedule": "linear (Stable Diffusion)",
    "output.folder": "run",
    "output.dtype": "fp32",
}
DEMO = "frameloom_demo_motion.safetensors"
COMMAND = "import sys; from frameloom.headless.__main__ import main; sys.exit(main())"


def arguments(**changes):
    """Of a short run; ``train__steps=9`` sets ``train.steps``."""
    values = SHORT | {name.replace("__", "."): value for name, value in changes.items()}
    settings = [part for name, value in values.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    Path("empty.toml").write_text("")
    return ["train", "empty.toml", "--device", "cpu", *settings]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A folder to run in."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(command):
    """Run the command, in a short run with some values replaced; ``command`` says what it returns."""
    return lambda *given, **changes: command(*(given or arguments(**changes)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The home of a user who ran the short run; its code, and what it printed on standard output and error."""
    home, out, err = tmp_path_factory.mktemp("finished"), io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(home)
        patch.setenv("HOME", str(home))
        patch.setattr(api, "_selected", {})
        patch.setattr(motion_run, "SAMPLE_STEPS", 1)
        code = main(arguments())
    return home, code, out.getvalue().splitlines(), err.getvalue().splitlines()


@pytest.fixture
def trained(finished, tmp_path):
    """A copy of the folder of that run, beside where this test runs."""
    return shutil.copytree(finished[0] / "run", tmp_path / "run")


def state(path):
    return read_motion_weights(path).state


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def gap(one, other):
    """Return how far the weights of two modules are from each other on average."""
    assert one.keys() == other.keys()
    return torch.cat([(value - other[name]).flatten() for name, value in one.items()]).abs().mean()


def test_a_run_says_where_the_result_is_and_the_folder_holds_all_of_it(finished):
    home, code, out, err = finished
    assert code == 0, err
    assert out[0] == str(Path("run", "trained.safetensors"))
    assert re.fullmatch(r"loss [\d.]+ in the last of 3 steps", out[1])
    assert out[2].startswith("the base is unchanged, SHA-256 ")
    counted = [line.strip() for line in err if re.fullmatch(r"  (clip|step) \d+ of \d+", line)]
    assert counted == [*(f"clip {n} of 2" for n in (1, 2)), *(f"step {n} of 3" for n in (1, 2, 3))]
    assert {each.name for each in (home / "run").iterdir()} == {
        "checkpoint.pt", "config.toml", "curve.png", "dataset.png", "metrics.jsonl", "motion.safetensors",
        "sample-000002.png", "sample-000003.png", "trained.safetensors",
    }  # fmt: skip
    assert same(state(home / "run/trained.safetensors"), state(home / "run/motion.safetensors"))


def test_the_result_is_the_nodes(finished, port):
    from frameloom.nodes.training.train_motion import TrainMotionModule
    from frameloom.nodes.training.video_dataset import VideoDataset

    def inputs(node, table):
        given = {name.partition(".")[2]: value for name, value in SHORT.items() if name.startswith(table)}
        schema = node.define_schema().inputs
        return {each.id: given.get(each.id, getattr(each, "default", None)) for each in schema}

    with torch.inference_mode():
        dataset = VideoDataset.execute(**inputs(VideoDataset, "dataset."))[0]
        parts = dict(zip(("model", "clip", "vae"), port.load_demo(), strict=True)) | {"dataset": dataset}
        motion = TrainMotionModule.execute(**inputs(TrainMotionModule, "train.") | parts)[0]
    assert same(state(finished[0] / "run/trained.safetensors"), motion.weights.state)


def test_more_steps_go_on_and_the_folders_config_is_the_run(run, finished):
    assert run(train__steps=1)[0] == 0
    assert run()[0] == 0
    assert len(Path("run/metrics.jsonl").read_text().splitlines()) == 3
    assert same(state("run/trained.safetensors"), state(finished[0] / "run/trained.safetensors"))
    config = Path("run/config.toml")
    assert (
        run("train", config, "--device", "cpu", "--set", "output.folder=whole", "--set", "train.steps=1")[0]
        == 0
    )
    again = (
        Path("whole/config.toml")
        .read_text()
        .replace('"whole"', '"run"')
        .replace("\nsteps = 1", "\nsteps = 3")
    )
    assert again == config.read_text()


def test_another_run_in_the_same_folder_is_refused_and_the_folder_stays(run, trained):
    before = {path.name: path.read_bytes() for path in trained.iterdir()}
    code, _, err = run(train__learning_rate=2e-3)
    assert code == 1
    said = "failed: checkpoint run/checkpoint.pt: was made with other settings, data or base"
    assert err[-1].startswith(said)
    assert {path.name: path.read_bytes() for path in trained.iterdir()} == before


def test_what_goes_on_a_module_is_learned_on_what_start_names(run):
    lora = {"file": "frameloom_demo_pan_left.safetensors", "strength": 0.5}
    changes = {"train__target": "motion LoRA", "train__rank": 2, "train__steps": 1, "start__motion": DEMO}
    assert run(**changes, output__folder="a")[0] == 0
    code, _, err = run(**changes, output__folder="b", start__loras=[lora])
    assert code == 0, err
    pairs, others = (read_motion_lora(Path(name, "trained.safetensors")).pairs for name in "ab")
    assert any(not torch.equal(up, others[name][1]) for name, (_, up) in pairs.items())


RECIPE = (ROOT / "Makefile").read_text().split("\ndemo-model:")[1].split("\n\n")[0].replace("\\\n", "")


def demo_trainings():
    """The calls of ``make demo-model``: a config, where it leaves its result, and the file that ships."""
    return re.findall(r"frameloom train (\S+)\n\tcp (\S+) (\S+)", RECIPE)


def test_all_that_moves_in_the_demo_comes_of_the_command():
    shipped = {Path(ships).name for _, _, ships in demo_trainings()}
    assert shipped == {
        "motion.safetensors", "motion_few_steps.safetensors", "pan_left.safetensors", "mask_adapter.safetensors",
        "pia.safetensors",
    }  # fmt: skip


@pytest.mark.parametrize(("config", "made", "ships"), demo_trainings())
def test_the_demos_configs_make_files_like_those_that_ship(run, config, made, ships):
    short = {"train.steps": 1} | {name: value for name, value in SHORT.items() if name.startswith("dataset.")}
    settings = (f"--set={name}={value}" for name, value in short.items())
    code, _, err = run("train", ROOT / config, "--device", "cpu", *settings)
    assert code == 0, err
    check_alike(made, ships)


def check_alike(made, ships):
    with safe_open(made, "pt") as ours, safe_open(ROOT / ships, "pt") as theirs:
        assert ours.metadata()["frameloom.kind"] == theirs.metadata()["frameloom.kind"]
        keys = list(theirs.keys())
        assert sorted(ours.keys()) == sorted(keys)
        for key in keys:
            one, other = ours.get_tensor(key), theirs.get_tensor(key)
            assert (one.shape, one.dtype) == (other.shape, other.dtype), key


def test_the_demos_layout_prior_comes_of_its_workflow_with_the_settings_that_evidence_names(run):
    [(workflow, settings, made, ships)] = re.findall(
        r"frameloom run (\S+) (.+)\n\tcp (\S+) (\S+layout_prior\S+)", RECIPE
    )
    told = {name: int(value) for name, value in re.findall(r"--set 1\.(\w+)=(\d+)", settings)}
    inputs = json.loads((ROOT / workflow).read_text())["1"]["inputs"] | told
    assert {name: inputs.get(name) for name in asdict(SETTINGS)} == asdict(SETTINGS)
    code, _, err = run("run", ROOT / workflow, *settings.split(), "--set", "1.steps=1", "--device", "cpu")
    assert code == 0, err
    check_alike(made, ships)


def test_frames_that_attend_to_the_first_are_another_model_to_train_in(run, finished):
    assert run(model__cross_frame_attention__strength=1.0, train__steps=1)[0] == 0
    plain, crossed = (rows_of(folder)[0]["loss"] for folder in (finished[0] / "run", "run"))
    assert crossed != pytest.approx(plain, rel=1e-3)
    assert 'cross_frame_attention = {anchor = "first", ' in Path("run/config.toml").read_text()


def rows_of(folder):
    return [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text().splitlines()]


def test_tensorboard_gets_every_steps_figures_and_the_samples(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for steps in (1, 3):
        code, _, err = run(train__steps=steps, output__tensorboard=True)
        assert code == 0, err
    events = EventAccumulator("run/tensorboard")
    events.Reload()
    for name, figure in (("loss", "loss"), ("learning_rate", "rate")):
        scalars = events.Scalars(name)
        assert [each.step for each in scalars] == [0, 1, 2]
        assert [each.value for each in scalars] == pytest.approx([row[figure] for row in rows_of("run")])
    assert all(each.value > 0 for each in events.Scalars("seconds_a_step"))
    assert [each.step for each in events.Images("sample")] == [0, 1, 2]


def test_tensorboard_that_is_not_there_is_said_before_anything_starts(run, monkeypatch):
    monkeypatch.setattr(training_command, "has_tensorboard", lambda: False)
    code, _, err = run(output__tensorboard=True)
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith(
        "output.tensorboard: got true without TensorBoard; expected it to be installed; pip"
    )
    assert not Path("run").exists()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_keeps_a_checkpoint_says_how_to_go_on_and_returns_130(run, number):
    def stop_after_a_step():
        while not Path("run/metrics.jsonl").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=stop_after_a_step, daemon=True).start()
    changes = {"train__steps": 500, "train__checkpoint_every": 500}
    code, _, err = run(**changes)
    assert code == 130, err
    assert err[-2:] == [
        "stopping after this step; once more ends at once.",
        "stopped; run holds a checkpoint, from which the command that made it goes on.",
    ]
    done = len(rows_of("run"))
    assert torch.load("run/checkpoint.pt")["step"] == done
    assert run(**changes | {"train__steps": done + 1})[0] == 0
    assert run(train__steps=done + 1, output__folder="whole")[0] == 0
    assert same(state("run/motion.safetensors"), state("whole/motion.safetensors"))


def test_two_processes_write_what_one_does(run, finished):
    ended = run_together(f"import sys; sys.argv[0] = 'frameloom'; {COMMAND}", 2, *arguments())
    assert [each.returncode for each in ended] == [0, 0], ended[0].stderr + ended[1].stderr
    assert ended[0].stdout.splitlines()[0] == str(Path("run", "trained.safetensors"))
    assert ended[1].stdout == ""
    assert len(list(Path("run").glob("sample-*.png"))) == 2
    assert [row["step"] for row in rows_of("run")] == [0, 1, 2]
    assert run(output__folder="other", train__seed=1)[0] == 0
    together, alone, other = (
        state(home / "trained.safetensors") for home in (Path("run"), finished[0] / "run", Path("other"))
    )
    # AdamW divides a gradient by its size, so sums in another order can move single weights far.
    assert gap(together, alone) < 0.01 * gap(other, alone)


class Pair(Alone):
    """What one of two processes sees before it waits for the other."""

    count, device = 2, torch.device("cpu")


@pytest.mark.parametrize(
    ("device", "accumulation", "message"),
    [
        ("cpu", 3, "accumulation=3 can't be shared evenly among 2 processes; expected a multiple of 2"),
        ("cpu:0", 2, "--device cpu:0: got one for 2 processes; expected cpu, or none"),
    ],
)
def test_what_processes_cannot_do_is_said_before_anything_starts(
    run, monkeypatch, device, accumulation, message
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(training_command, "Accelerated", lambda on_cpu: Pair())
    code, _, err = run(*arguments(train__accumulation=accumulation), f"--device={device}")
    assert code == 2
    assert err[-1].startswith(message)
    assert not Path("run").exists()
