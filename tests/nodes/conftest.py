"""Node classes over the headless host, with the demo model, and a user's folder of motion files."""

from __future__ import annotations

import shutil

import pytest
from frameloom.headless import select_host
from frameloom.headless.port import HeadlessHost
from frameloom.host import api
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.tests.support.input_table import widget_values
from frameloom.tests.support.motion import save, tiny_lora, tiny_state
from frameloom.tests.support.scene import Scene


@pytest.fixture(scope="session")
def user_models(tmp_path_factory):
    """``mine.safetensors``, a motion module (the demo's sizes, v2), and ``pan`` and ``wide`` motion LoRAs."""
    models = tmp_path_factory.mktemp("user") / "models"
    for folder in ("animatediff_models", "animatediff_motion_lora"):
        (models / folder).mkdir(parents=True)
    save(models / "animatediff_models/mine.safetensors", tiny_state())
    save(models / "animatediff_motion_lora/pan.safetensors", tiny_lora())
    save(models / "animatediff_motion_lora/wide.safetensors", tiny_lora(width=64))
    return models


@pytest.fixture
def host(tmp_path, monkeypatch, user_models):
    """The host, whose user has files of their own and the folder ``user``."""
    shutil.copytree(user_models, tmp_path / "models")
    monkeypatch.setattr(api, "_selected", {})
    monkeypatch.setattr(HeadlessHost, "user_dir", lambda _: tmp_path / "user")
    host = HeadlessHost("cpu", tmp_path / "input", tmp_path / "output", tmp_path / "models")
    for folder in (host.input_dir, host.output_dir, host.user_dir()):
        folder.mkdir()
    select_host(host)
    return host


@pytest.fixture
def port(host):
    """The host by the name that contracts give it."""
    return host


@pytest.fixture
def nodes(host):
    """Every node class of the pack by its name."""
    from frameloom.nodes import node_classes

    return {node.__name__: node for node in node_classes()}


@pytest.fixture
def run(nodes):
    """A function that runs a node by its name; what is not given is as by default. Returns the outputs."""

    def run(name, /, **given):
        return nodes[name].execute(**{**widget_values(nodes[name]), **given}).args

    return run


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The demo's MODEL, CLIP and VAE. Tests share them, since edits go on clones."""
    return HeadlessHost("cpu", *[tmp_path_factory.mktemp("demo")] * 3).load_demo()


@pytest.fixture
def model(demo):
    return demo[0]


@pytest.fixture(scope="session")
def motion(tmp_path_factory):
    """The demo's motion module."""
    host = HeadlessHost("cpu", *[tmp_path_factory.mktemp("motion")] * 3)
    [name, *_] = host.list_files("animatediff_models")
    return host.load_motion(read_motion_weights(host.resolve("animatediff_models", name)))


@pytest.fixture
def scene(host, demo):
    """A small run of the demo model."""
    return Scene(host, demo[1])
