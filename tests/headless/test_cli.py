"""The command: what it prints, writes and returns. Most runs need no model, so none is made."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from frameloom.headless.__main__ import NEEDED, main
from frameloom.headless.core_nodes.mask import EmptyImage
from frameloom.headless.core_nodes.sampling import KSampler, KSamplerAdvanced, KSamplerSelect
from frameloom.headless.samplers.sigmas import SCHEDULERS
from frameloom.headless.samplers.table import SAMPLERS
from frameloom.headless.v3.core_node import stored_object_info
from frameloom.headless.workflow.settings import BadSettingError, with_settings
from frameloom.tests.support.workflows import read_graph
from PIL import Image

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]


def node(class_type, **inputs):
    return {"class_type": class_type, "inputs": inputs}


WORKFLOW = {
    "1": node("EmptyImage", width=16, height=16, batch_size=2, color=0xFF0000),
    "2": node("SaveImage", images=["1", 0], filename_prefix="red") | {"_meta": {"title": "Save. All"}},
    "3": node("RandomNoise", noise_seed=7),
}


@pytest.fixture
def run(command, tmp_path):
    """Run the command on a workflow; return its exit code, and its lines on standard output and error."""

    def call(workflow=WORKFLOW, *options):
        file = tmp_path / "workflow.json"
        file.write_text(workflow if isinstance(workflow, str) else json.dumps(workflow))
        folders = [f"--{name}={tmp_path / name}" for name in ("output", "input", "models")]
        return command("run", file, *folders, "--device=cpu", *options)

    return call


def test_a_run_prints_paths_and_seconds_and_writes_the_files(run, tmp_path):
    code, out, err = run()
    files = [tmp_path / "output" / f"red_0000{i}_.png" for i in (1, 2)]
    assert code == 0
    assert out[:-1] == [str(file) for file in files]
    assert out[-1].endswith(" seconds")
    assert err == ["[1/2] EmptyImage", "[2/2] SaveImage"]
    with Image.open(files[0]) as picture:
        assert picture.getpixel((0, 0)) == (255, 0, 0)
        assert json.loads(picture.text["prompt"]) == WORKFLOW


def test_ctrl_c_in_a_node_returns_1_without_a_trace(run, monkeypatch):
    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(EmptyImage, "execute", interrupted)
    code, out, err = run()
    assert (code, out) == (1, [])
    assert err[-1].startswith("stopped; files already printed are whole")


def test_seeds_that_were_used_are_printed(run):
    shown = WORKFLOW | {"4": node("PreviewAny", source=["3", 0])}
    assert "seed 7 (RandomNoise, node 3)" in run(shown)[1]
    assert not [line for line in run()[1] if line.startswith("seed")]  # node 3 feeds nothing


def test_values_are_set_and_saved_with_the_files(run, tmp_path):
    code, out, _ = run(WORKFLOW, "--set", "EmptyImage.batch_size=1", "--set", "2.filename_prefix=a/b")
    assert code == 0
    assert out[:-1] == [str(tmp_path / "output" / "a" / "b_00001_.png")]
    with Image.open(out[0]) as picture:
        assert json.loads(picture.text["prompt"])["1"]["inputs"]["batch_size"] == 1


def test_an_invalid_workflow_runs_nothing_and_returns_2(run, tmp_path):
    code, out, err = run(WORKFLOW, "--set", "1.width=0", "--set", "1.height=99999")
    assert (code, out, len(err)) == (2, [], 2)
    assert err[0].startswith(
        "value_smaller_than_min: node 1 (EmptyImage), input width: got 0, expected at least 1"
    )
    assert err[1].startswith("value_bigger_than_max: node 1 (EmptyImage), input height: got 99999")
    assert not (tmp_path / "output").exists()


def test_every_scheduler_of_comfyui_is_built_and_every_sampler_built_is_comfyuis():
    inputs = stored_object_info()["KSampler"]["input"]["required"]
    assert set(SCHEDULERS) == set(inputs["scheduler"][0])
    assert set(SAMPLERS) < set(inputs["sampler_name"][0])
    for node in (KSampler, KSamplerAdvanced, KSamplerSelect):
        assert node.validate_inputs("uni_pc") is node.validate_inputs(None) is True
        assert node.validate_inputs("sa_solver").startswith("expected a sampler_name built headless: euler, ")


def test_a_file_that_is_not_there_returns_2(command):
    code, _, err = command("run", "none.json")
    assert (code, err) == (
        2,
        ["none.json: No such file or directory; expected a workflow in ComfyUI's API form."],
    )


def test_a_home_that_cannot_be_written_stops_no_run(run, tmp_path, monkeypatch):
    (tmp_path / "home").touch()  # no folder can be made in a file, not even by root
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert run()[0] == 0


HERE = torch.cuda.device_count()
USAGE = {
    "": "usage: frameloom",
    "run": "usage: frameloom",
    "walk": "usage: frameloom",
    "run x.json --speed=9": "usage: frameloom",
    "run x.json --device=gpu": "error: argument --device: got 'gpu'; expected cpu, cuda, cuda:1 or mps",
    "train x.toml --device=gpu": "error: argument --device: got 'gpu'; expected cpu, cuda, cuda:1 or mps",
    "run x.json --device=cuda:99": f"got 'cuda:99', but torch finds {HERE} devices of cuda here; expected one",
    "run x.json --device=mps:1": "got 'mps:1', but torch finds",
}


@pytest.mark.parametrize("arguments", USAGE)
def test_bad_usage_returns_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments.split())
    assert caught.value.code == 2
    assert USAGE[arguments] in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert re.fullmatch(r"frameloom \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize("arguments", [["run", "x.json", "--device=cpu"], ["train", "x.toml"]])
def test_an_installation_without_the_extra_is_told_which_one_it_lacks(arguments, tmp_path):
    """As after `pip install .`: our package, and nothing of the extra."""
    script = (
        f"import runpy, sys; runpy.run_path({str(ROOT / 'tests' / 'bind.py')!r}); "
        f"from frameloom.headless.__main__ import main; sys.exit(main({arguments}))"
    )
    call = [sys.executable, "-S", "-I", "-c", script]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"frameloom {arguments[0]}: got an installation without diffusers, ")
    assert done.stderr.endswith(
        """expected the extra headless; pip install ".[headless]" in Frameloom's folder.\n"""
    )


def test_what_the_command_needs_is_what_the_extra_brings():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extra = project["optional-dependencies"]["headless"]
    names = [re.split(r"[<>=;]", line)[0].replace("pillow", "PIL") for line in extra]
    assert set(names) - {"tomli"} == set(NEEDED) - {"tomli"}


DEEP = "[" * 100_000
OUTSIDE = {**WORKFLOW, "2": node("SaveImage", images=["1", 0], filename_prefix="../x")}
REFUSED = {
    "no JSON": (
        "no",
        "1.x=3",
        r"invalid_prompt: workflow: got text that is not JSON \(.*\), expected an object",
    ),
    "deep": (DEEP, "1.x=3", "got JSON with thousands of lists"),
    "notes that are text": (
        {**WORKFLOW, "1": {**WORKFLOW["1"], "_meta": "x"}},
        "1.x=3",
        "node 1 .EmptyImage. has no input x",
    ),
    "no inputs": (
        {"1": {"class_type": "EmptyImage", "inputs": None}},
        "1.x=3",
        "no input x; expected one of: none",
    ),
    "a node that is a list": ({"1": []}, "1.x=3", "node 1 .None. has no input x; expected one of: none"),
    "a value that can't be read": (WORKFLOW, f"1.width={DEEP}", "^--set 1.width: got JSON with "),
    "a place outside the output folder": (OUTSIDE, "1.width=16", r"node 2 .*_prefix='\.\./x' points outside"),
    "a sampler that is not built": (
        read_graph("text2image_demo"),
        "KSampler.sampler_name=sa_solver",
        r"\(KSampler\), input sampler_name: got \['sa_solver'\], expected a sampler_name built headless: euler, ",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_run_is_refused_in_a_line_before_anything_runs(run, name):
    workflow, setting, said = REFUSED[name]
    code, out, err = run(workflow, "--set", setting)
    assert (code, out, len(err)) == (2, [], 1)
    assert re.search(said, err[0])


def test_a_failed_run_returns_1_and_names_the_node_in_one_line(run, tmp_path):
    edges = node("Canny", image=["1", 0], low_threshold=0.9, high_threshold=0.1)
    workflow = {**WORKFLOW, "3": edges, "2": node("SaveImage", images=["3", 0], filename_prefix="x")}
    code, out, err = run(workflow)
    assert (code, out) == (1, [])
    assert err[-1].startswith("failed: node 3 (Canny): ValueError: canny: got low_threshold=0.9, high")
    code, _, err = run(workflow, "--traceback")
    assert code == 1
    assert any("Traceback" in line for line in err)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "1.widht=3",
            r"node 1 \(EmptyImage\) has no input widht; expected one of: width, height, batch_size, col",
        ),
        (
            "KSampler.steps=3",
            r"node that is not in the workflow; expected one of: 1 \(EmptyImage\), 2 \(SaveImage",
        ),
        ("width=3", r"--set width=3: got no NODE.INPUT=VALUE, expected for example 3.seed=7"),
        ("1.width", r"--set 1.width: got no NODE.INPUT=VALUE"),
        ("RandomNoise.noise_seed=1", r"RandomNoise is the name of nodes 3, 4; expected an id"),
    ],
)
def test_a_bad_setting_names_what_there_is(setting, message):
    two = {**WORKFLOW, "4": WORKFLOW["3"]}
    with pytest.raises(BadSettingError, match=message):
        with_settings(two, [setting])


def test_a_model_that_is_not_there_names_the_folder_and_whether_it_exists(run, tmp_path):
    lacking = {
        "1": node("CheckpointLoaderSimple", ckpt_name="sd15.safetensors"),
        "2": node("PreviewAny", source=["1", 0]),
    }
    code, _, err = run(lacking)
    folder = f"expected a file in a folder of {tmp_path / 'models'}, which"
    assert (code, err[1:]) == (2, [f"{folder} does not exist; give another by --models."])
    (tmp_path / "models").mkdir()
    assert run(lacking)[2][1:] == [f"{folder} holds none of this kind."]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ('{"version": 1}', '{"version": 1}'),
        ("1.50", "1.50"),
        ('["1", 0]', '["1", 0]'),
        ('"a \\n b"', "a \n b"),
    ],
)
def test_a_text_is_set_to_text_whatever_it_looks_like(given, wanted):
    workflow = {"1": node("Any", text="a board", steps=3)}
    assert with_settings(workflow, [f"1.text={given}"])["1"]["inputs"] == {"text": wanted, "steps": 3}


def test_settings_take_json_or_else_text_and_find_nodes_by_id_class_and_title():
    workflow = WORKFLOW | {"a.b": node("SaveVideo", **{"format": "auto", "format.codec": "auto"})}
    settings = [
        "1.width=32",
        "Save. All.filename_prefix=x=y",
        "SaveVideo.format.codec=h264",
        "a.b.format=mp4",
    ]
    changed = with_settings(workflow, [*settings, '2.images=["1", 0]', "EmptyImage.color=true"])
    assert changed["1"]["inputs"] == {"width": 32, "height": 16, "batch_size": 2, "color": True}
    assert changed["2"]["inputs"] == {"images": ["1", 0], "filename_prefix": "x=y"}
    assert changed["a.b"]["inputs"] == {"format": "mp4", "format.codec": "h264"}
    assert workflow["1"]["inputs"]["width"] == 16


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_stop_while_saving_leaves_no_file_and_returns_1(tmp_path):
    saving = {"filename_prefix": "x", "fps": 8, "lossless": True, "quality": 100, "method": "slowest"}
    workflow = {
        "1": node("EmptyImage", width=512, height=512, batch_size=99, color=1),
        "2": node("SaveAnimatedWEBP", images=["1", 0], **saving),
    }
    (tmp_path / "workflow.json").write_text(json.dumps(workflow))
    command = [sys.executable, "-m", "frameloom.headless", "run", "workflow.json", "--output", "out"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not list(tmp_path.glob("out/.*.part")) and process.poll() is None:
        time.sleep(0.01)
    process.terminate()  # the command takes it as Ctrl-C
    out, err = process.communicate()
    assert process.returncode == 1, err
    assert out == ""
    assert err.splitlines()[-1].startswith("stopped; files already printed are whole")
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
