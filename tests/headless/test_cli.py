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
from frameloom.headless.v3.video_file import read_frames
from frameloom.headless.workflow.settings import BadSettingError, with_settings
from frameloom.host import api
from frameloom.host.video_file import Encoding, NewVideo
from frameloom.tests.support.random_demo import write_control
from PIL import Image

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 16, "height": 16, "batch_size": 2, "color": 0xFF0000},
    },
    "2": {
        "class_type": "SaveImage",
        "inputs": {"images": ["1", 0], "filename_prefix": "red"},
        "_meta": {"title": "Save. All"},
    },
    "3": {"class_type": "RandomNoise", "inputs": {"noise_seed": 7}},
}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command on a workflow; return its exit code, and its lines on standard output and error."""

    def call(workflow=WORKFLOW, *options):
        monkeypatch.setattr(api, "_selected", {})  # a command is a process of its own
        file = tmp_path / "workflow.json"
        file.write_text(workflow if isinstance(workflow, str) else json.dumps(workflow))
        folders = [f"--{name}={tmp_path / name}" for name in ("output", "input", "models")]
        code = main(["run", str(file), *folders, "--device=cpu", *options])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

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
    workflow = {
        **WORKFLOW,
        "4": {"class_type": "DisableNoise", "inputs": {}},
        "5": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    assert not [line for line in run(workflow)[1] if line.startswith("seed")]  # node 3 feeds nothing
    from frameloom.headless.__main__ import _seeds
    from frameloom.headless.core_nodes.sampling import RandomNoise
    from frameloom.headless.v3.node_info import read_node_info
    from frameloom.headless.workflow.graph import GraphNode, Link

    info = read_node_info(RandomNoise)
    nodes = {
        "3": GraphNode("3", "RandomNoise", info, {"noise_seed": 7}, info.inputs),
        "4": GraphNode("4", "RandomNoise", info, {"noise_seed": Link("9", 0)}, info.inputs),
    }
    assert _seeds(nodes) == ["seed 7 (RandomNoise, node 3)"]


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


def test_a_sampler_that_is_not_built_is_refused_before_anything_runs(run):
    text = (ROOT / "workflows" / "api" / "text2image_demo.json").read_text("utf-8")
    code, out, err = run(text, "--set", "KSampler.sampler_name=sa_solver")
    assert (code, out, len(err)) == (2, [], 1)
    said = (
        "(KSampler), input sampler_name: got ['sa_solver'], expected a sampler_name built headless: euler, "
    )
    assert said in err[0]


def test_every_scheduler_of_comfyui_is_built_and_every_sampler_built_is_comfyuis():
    inputs = stored_object_info()["KSampler"]["input"]["required"]
    assert set(SCHEDULERS) == set(inputs["scheduler"][0])
    assert set(SAMPLERS) < set(inputs["sampler_name"][0])
    for node in (KSampler, KSamplerAdvanced, KSamplerSelect):
        assert node.validate_inputs("uni_pc") is node.validate_inputs(None) is True
        assert node.validate_inputs("sa_solver").startswith("expected a sampler_name built headless: euler, ")


def test_a_file_that_is_not_there_returns_2(run, tmp_path, capsys):
    code = main(["run", str(tmp_path / "none.json")])
    assert code == 2
    assert "none.json: No such file or directory; expected a workflow" in capsys.readouterr().err


def test_a_home_that_cannot_be_written_stops_no_run(run, tmp_path, monkeypatch):
    (tmp_path / "home").touch()  # no folder can be made in a file, not even by root
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert run()[0] == 0


@pytest.mark.parametrize("arguments", [[], ["run"], ["walk"], ["run", "x.json", "--speed=9"]])
def test_bad_usage_returns_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: frameloom" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert re.fullmatch(r"frameloom \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    "arguments", [["run", "x.json"], ["run", "x.json", "--device=cpu"], ["train", "x.toml"]]
)
def test_an_installation_without_the_extra_is_told_which_one_it_lacks(arguments, tmp_path):
    """As after `pip install .`: our package, and nothing of the extra."""
    script = (
        "import runpy, sys; "
        f"runpy.run_path({str(ROOT / 'tests' / 'bind.py')!r}); "
        "from frameloom.headless.__main__ import main; "
        f"sys.exit(main({arguments}))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-I", "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"frameloom {arguments[0]}: got an installation without diffusers, ")
    assert done.stderr.endswith(
        """expected the extra headless; pip install ".[headless]" in Frameloom's folder.\n"""
    )


def test_what_the_command_needs_is_what_the_extra_brings():
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"][
        "headless"
    ]
    names = [re.split(r"[<>=;]", line)[0].replace("pillow", "PIL") for line in extra]
    assert set(names) - {"tomli"} == set(NEEDED) - {"tomli"}


@pytest.mark.parametrize("arguments", [["run", "x.json"], ["train", "x.toml"]])
def test_a_device_that_torch_does_not_know_is_bad_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--device", "gpu"])
    assert caught.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith("error: argument --device: got 'gpu'; expected cpu, cuda, cuda:1 or mps")


@pytest.mark.parametrize("device", ["cuda:99", *([] if torch.cuda.is_available() else ["cuda"])])
def test_a_device_that_is_not_there_is_bad_usage(device, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["run", "x.json", "--device", device])
    assert caught.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert (
        f"got '{device}', but torch finds {torch.cuda.device_count()} devices of cuda here; expected" in said
    )


DEEP = "[" * 100_000
WRONG_TEXTS = {
    "no JSON": (
        "no",
        r"invalid_prompt: workflow: got text that is not JSON \(.*\), expected an object of nodes",
    ),
    "deep": (DEEP, "got JSON with thousands of lists"),
    "notes that are text": (
        {**WORKFLOW, "1": {**WORKFLOW["1"], "_meta": "x"}},
        "node 1 .EmptyImage. has no input x",
    ),
    "no inputs": (
        {"1": {"class_type": "EmptyImage", "inputs": None}},
        "has no input x; expected one of: none",
    ),
    "a node that is a list": ({"1": []}, "node 1 .None. has no input x; expected one of: none"),
}


@pytest.mark.parametrize("name", list(WRONG_TEXTS))
def test_a_workflow_that_is_none_is_refused_in_a_line(run, name):
    workflow, said = WRONG_TEXTS[name]
    code, out, err = run(workflow, "--set", "1.x=3")
    assert (code, out, len(err)) == (2, [], 1)
    assert re.search(said, err[0])


def test_a_value_that_can_not_be_read_is_bad_usage(run):
    code, _, err = run(WORKFLOW, "--set", f"1.width={DEEP}")
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith("--set 1.width: got JSON with ")


def test_a_place_outside_the_output_folder_is_refused_before_anything_runs(run, tmp_path):
    code, out, err = run({**WORKFLOW, "2": node("SaveImage", images=["1", 0], filename_prefix="../x")})
    assert (code, out, len(err)) == (2, [], 1)
    assert (
        "node 2 (SaveImage), input filename_prefix: got ['../x'], filename_prefix='../x' points outside"
        in err[0]
    )


def test_a_failed_run_returns_1_and_names_the_node_in_one_line(run, tmp_path):
    crop = {"class_type": "Canny", "inputs": {"image": ["1", 0], "low_threshold": 0.9, "high_threshold": 0.1}}
    workflow = {
        **WORKFLOW,
        "3": crop,
        "2": {**WORKFLOW["2"], "inputs": {"images": ["3", 0], "filename_prefix": "x"}},
    }
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
            r"node 1 \(EmptyImage\) has no input widht; expected one of: width, height, batch_size, color",
        ),
        (
            "KSampler.steps=3",
            r"a node that is not in the workflow; expected one of: 1 \(EmptyImage\), 2 \(SaveImage",
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


def test_a_text_is_set_to_text_whatever_it_looks_like():
    workflow = {"1": {"class_type": "Any", "inputs": {"text": "a board", "steps": 3}}}
    board = '{"version": 1}'
    for given, wanted in [
        (board, board),
        ("1.50", "1.50"),
        ('["1", 0]', '["1", 0]'),
        ('"a \\n b"', "a \n b"),
    ]:
        assert with_settings(workflow, [f"1.text={given}"])["1"]["inputs"] == {"text": wanted, "steps": 3}
    assert with_settings(workflow, ["1.steps=5"])["1"]["inputs"]["steps"] == 5


def test_settings_take_json_or_else_text_and_find_nodes_by_id_class_and_title():
    workflow = json.loads(json.dumps(WORKFLOW))
    workflow["a.b"] = {"class_type": "SaveVideo", "inputs": {"format": "auto", "format.codec": "auto"}}
    settings = [
        "1.width=32",
        "Save. All.filename_prefix=x=y",
        "SaveVideo.format.codec=h264",
        "a.b.format=mp4",
    ]
    changed = with_settings(workflow, [*settings, '2.images=["1", 0]', "EmptyImage.color=true"])
    assert changed["1"]["inputs"] | {} == {"width": 32, "height": 16, "batch_size": 2, "color": True}
    assert changed["2"]["inputs"] == {"images": ["1", 0], "filename_prefix": "x=y"}
    assert changed["a.b"]["inputs"] == {"format": "mp4", "format.codec": "h264"}
    assert workflow["1"]["inputs"]["width"] == 16


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_stop_while_saving_leaves_no_file_and_returns_1(tmp_path):
    workflow = {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 512, "height": 512, "batch_size": 99, "color": 1},
        },
        "2": {
            "class_type": "SaveAnimatedWEBP",
            "inputs": {"images": ["1", 0], "filename_prefix": "x", "fps": 8, "lossless": True, "quality": 100}
            | {"method": "slowest"},
        },
    }
    (tmp_path / "workflow.json").write_text(json.dumps(workflow))
    command = [sys.executable, "-c", "from frameloom.headless.__main__ import main; raise SystemExit(main())"]
    command += ["run", "workflow.json", "--output", "out"]
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


def node(class_type, **inputs):
    return {"class_type": class_type, "inputs": inputs}


REDRAW = {
    "demo": node("Frameloom_DemoModelLoader"),
    "file": node("Frameloom_MotionModuleLoader", file="frameloom_demo_motion.safetensors"),
    "motion": node(
        "Frameloom_ApplyMotionModule",
        model=["demo", 0],
        motion=["file", 0],
        strength=1.0,
        start_percent=0.0,
        end_percent=1.0,
        beta_schedule="auto",
    ),
    "video": node("LoadVideo", file="clip.mp4"),
    "parts": node("GetVideoComponents", video=["video", 0]),
    "edges": node("Canny", image=["parts", 0], low_threshold=0.1, high_threshold=0.3),
    "net": node("ControlNetLoader", control_net_name="canny.safetensors"),
    "text": node("CLIPTextEncode", text="a red circle", clip=["demo", 1]),
    "both": node(
        "ControlNetApplyAdvanced",
        positive=["text", 0],
        negative=["text", 0],
        control_net=["net", 0],
        image=["edges", 0],
        strength=0.5,
        start_percent=0.0,
        end_percent=0.8,
        vae=["demo", 2],
    ),
    "latent": node("VAEEncode", pixels=["parts", 0], vae=["demo", 2]),
    "sample": node(
        "KSampler",
        model=["motion", 0],
        positive=["both", 0],
        negative=["both", 1],
        latent_image=["latent", 0],
        seed=1,
        steps=2,
        cfg=3.0,
        sampler_name="euler",
        scheduler="normal",
        denoise=1.0,
    ),
    "decode": node("VAEDecode", samples=["sample", 0], vae=["demo", 2]),
    "made": node("CreateVideo", images=["decode", 0], audio=["parts", 1], fps=["parts", 2]),
    "saved": node("SaveVideo", video=["made", 0], filename_prefix="redrawn", format="mp4", codec="h264"),
}


def test_a_video_is_redrawn_from_its_edges(run, tmp_path):
    (tmp_path / "input").mkdir()
    (tmp_path / "models" / "controlnet").mkdir(parents=True)
    write_control(tmp_path / "models" / "controlnet" / "canny.safetensors")
    squares = torch.zeros(4, 64, 64, 3)
    for frame in range(4):
        squares[frame, 16:40, 8 * frame : 8 * frame + 24] = 1
    clip = tmp_path / "input" / "clip.mp4"
    with NewVideo(lambda *_: clip, Encoding("mp4", "h264", "yuv420p", 5), 8, {}) as video:
        video.add(squares)
    code, out, err = run(REDRAW)
    assert code == 0, err
    assert out[0] == str(tmp_path / "output" / "redrawn_00001_.mp4")
    assert read_frames(tmp_path / "output" / "redrawn_00001_.mp4").shape == (4, 64, 64, 3)
