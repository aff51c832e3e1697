"""A headless process as the command makes one, the command itself, and a small model of random weights."""

from __future__ import annotations

import json

import pytest
from frameloom.headless import select_host
from frameloom.headless.__main__ import main
from frameloom.headless.port import HeadlessHost
from frameloom.host import api
from frameloom.tests.support.random_demo import load_random
from frameloom.tests.support.workflows import read_graph
from frameloom.training.motion import run as motion_run


@pytest.fixture
def port(tmp_path, monkeypatch):
    """The host of this process, whatever other tests selected, in folders of its own."""
    monkeypatch.setattr(api, "_selected", {})
    port = HeadlessHost("cpu", tmp_path / "input", tmp_path / "output", tmp_path / "models")
    port.input_dir.mkdir()
    select_host(port)
    return port


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run the command for a user without files; return its exit code, and its lines on standard output and error."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(motion_run, "SAMPLE_STEPS", 1)  # of what a training draws on its way

    def call(*arguments):
        monkeypatch.setattr(api, "_selected", {})  # a command is a process of its own
        code = main([str(each) for each in arguments])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return call


@pytest.fixture
def draw_workflow(command, tmp_path):
    """Run a graph, or one of workflows/api by its name; return the folder of what it saved, and what the command said.

    Some of its values are replaced; ``folders`` are the command's.
    """

    def call(graph, *settings, **folders):
        file, out = tmp_path / "graph.json", tmp_path / "out"
        file.write_text(json.dumps(read_graph(graph) if isinstance(graph, str) else graph))
        options = [f"--{name}={folder}" for name, folder in {"output": out, **folders}.items()]
        code, shown, said = command("run", file, *options, *(f"--set={value}" for value in settings))
        assert code == 0, said[-1]
        return out / "frameloom", "\n".join(shown + said)

    return call


@pytest.fixture(scope="session")
def random_parts(tmp_path_factory):
    """MODEL, CLIP and VAE of the demo's sizes; nothing changes their networks."""
    return load_random(tmp_path_factory.mktemp("random") / "model.safetensors")


@pytest.fixture
def model(random_parts):
    return random_parts[0]
