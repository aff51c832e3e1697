"""The headless engine against ComfyUI itself: the same weights, the same nodes and inputs, the same numbers."""

from __future__ import annotations

import itertools
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from frameloom.headless import io, ui
from frameloom.headless.control_loading import load_controlnet
from frameloom.headless.gligen import load_gligen
from frameloom.headless.loading import load_checkpoint
from frameloom.headless.motion import LoadedMotion
from frameloom.headless.nodes_core import conditioning, loaders, sampling
from frameloom.headless.port import HeadlessHost
from frameloom.headless.prompt import Tokenizer
from frameloom.host import api
from frameloom.host.bundled import DEMO_TOKENIZER
from frameloom.models.architecture import DEMO
from frameloom.models.mask_adapter import MASK_KEY
from frameloom.models.motion_checkpoint import read_motion_weights
from frameloom.tests.support.control_cases import control_cases
from frameloom.tests.support.gligen import WideText, write_gligen
from frameloom.tests.support.mask_adapter_contract import encoder
from frameloom.tests.support.motion import save, tiny_state
from frameloom.tests.support.random_demo import write_control, write_lora, write_model
from frameloom.tests.support.region_cases import region_cases
from frameloom.tests.support.sampling_cases import cases
from frameloom.tests.support.window_cases import window_cases
from frameloom.tests.support.workflow_steps import run
from safetensors.torch import load_file

pytestmark = pytest.mark.host
SCRIPT = Path(__file__).resolve().parents[1] / "support" / "sampling_in_comfyui.py"
NODES = {node.__name__: node for file in (conditioning, loaders, sampling) for node in file.NODES}
CASES = cases() | control_cases() | region_cases() | window_cases()
EDIT = replace(DEMO, unet=replace(DEMO.unet, in_channels=8), prediction_type="eps")
CPU = torch.device("cpu")
# Six hints for one chunk of three frames are cut to three; where both scales are 1 only the first prompt is left; of
# three frames in batched windows of two the last would be alone, so its window is moved back, to where a static one is.
ALIKE = [
    ("control-positive-alone", "control-positive-alone-six-hints"),
    ("edit-first-alone", "edit-nested-at-1"),
    ("windows-static", "windows-batched"),
]
# Both compute in float32, in other orders; ten steps of a random network carry 1e-7 to about 1e-5.
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def theirs(newest, tmp_path_factory):
    """A folder with models, and what ComfyUI makes of them."""
    folder = tmp_path_factory.mktemp("parity")
    write_model(folder / "model.safetensors")
    write_model(folder / "edit.safetensors", EDIT, seed=7)
    write_control(folder / "net.safetensors")
    write_control(folder / "other.safetensors", seed=4, prefix="")
    write_control(folder / "net_shuffle.safetensors")
    write_gligen(folder / "gligen.safetensors", gate=0.3)
    save(folder / "motion.safetensors", tiny_state())
    save(folder / "told.safetensors", tiny_state() | {MASK_KEY: encoder()})
    (folder / "models" / "loras").mkdir(parents=True)
    (folder / "custom_nodes").mkdir()
    write_lora(folder / "models" / "loras" / "small.safetensors")
    (folder / "cases.json").write_text(json.dumps(CASES))
    command = [newest.python, SCRIPT, folder, "--cpu", "--disable-api-nodes", "--base-directory", folder]
    done = subprocess.run([str(each) for each in command], cwd=newest.tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def expected(theirs):
    return load_file(theirs / "results.safetensors")


@pytest.fixture(scope="module")
def sockets(theirs):
    tokenizer = Tokenizer.from_folder(DEMO_TOKENIZER)
    demo = load_checkpoint(theirs / "model.safetensors", tokenizer, CPU, DEMO)
    return {
        "demo": demo,
        "wide": (replace(demo[1], network=WideText(demo[1].network)),),
        "gligen": (load_gligen(theirs / "gligen.safetensors", CPU),),
        "edit": load_checkpoint(theirs / "edit.safetensors", tokenizer, CPU, EDIT),
        "net": (load_controlnet(theirs / "net.safetensors", CPU),),
        "pooled": (load_controlnet(theirs / "net_shuffle.safetensors", CPU),),
        "other": (load_controlnet(theirs / "other.safetensors", CPU),),
        **{
            name: (LoadedMotion(read_motion_weights(theirs / f"{name}.safetensors"), CPU, torch.float32),)
            for name in ("motion", "told")
        },
    }


@pytest.fixture
def engine(theirs, tmp_path, monkeypatch):
    monkeypatch.setattr(api, "_selected", {})
    host = HeadlessHost("cpu", tmp_path, tmp_path, theirs / "models")
    api.select(io=io, ui=ui, extension=io.ComfyExtension, port=host)
    return host


def ours(sockets, case):
    model, clip, vae = sockets["demo"]
    model = replace(model, base_sampling=replace(model.base_sampling, prediction=case["prediction"]))
    with torch.inference_mode():
        demo = {"demo": (model, clip, vae)}
        nodes = {name: node.execute for name, node in NODES.items()}
        return run(case, sockets | demo, lambda name, inputs: nodes[name](**inputs).args, api.port().install)


@pytest.mark.parametrize("name", list(CASES))
def test_headless_gives_comfyuis_numbers(engine, sockets, expected, name, record_property):
    wanted, got = expected[name], ours(sockets, CASES[name])
    assert got.shape == wanted.shape
    error = float((got - wanted).norm() / wanted.norm())
    record_property("relative_error", error)
    assert error <= TOLERANCE


def test_the_cases_tell_samplers_and_predictions_apart(expected):
    """The comparison would notice a sampler swapped for another."""
    plain = expected["v-euler-normal"]
    for other in (
        "eps-euler-normal",
        "v-euler_ancestral-normal",
        "v-dpmpp_2m-normal",
        "v-euler-karras",
        "lora",
    ):
        assert float((expected[other] - plain).norm() / plain.norm()) > 10 * TOLERANCE
    assert float((expected["v-ddim-masked"] - expected["v-euler-masked"]).norm()) > 10 * TOLERANCE


def test_the_cases_tell_rules_of_control_editing_regions_and_long_video_apart(expected):
    """The comparison would notice hints, masks, boxes, noise or windows of others, another range, a part left out."""

    def apart(one, other):
        return float((expected[one] - expected[other]).norm() / expected[other].norm())

    for names in (
        [name for name in CASES if name.startswith(start)]
        for start in ("control-", "edit-", "region-", "free-", "init-", "told-", "windows-", "travel")
    ):
        for pair in itertools.combinations(names, 2):
            assert (apart(*pair) <= 10 * TOLERANCE) == (pair in ALIKE), pair
