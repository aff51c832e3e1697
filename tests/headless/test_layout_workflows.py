"""The workflows of layouts, run whole and short by the command, with every way out of this machine closed."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from frameloom.headless.__main__ import main
from frameloom.host import api
from frameloom.tests.support.storyboard_graph import check_storyboard_files, storyboard_graph
from frameloom.training.layout import scenes as layout_scenes
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    def refuse(*args, **options):
        raise OSError("a workflow of layouts went for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(api, "_selected", {})  # a command is a process of its own


@pytest.fixture
def run(tmp_path):
    """Run a workflow with 3 steps a sampler; returns the folder of what it saved."""

    def go(name, **options):
        graph = json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text("utf-8"))
        for node in graph.values():
            node["inputs"] |= {"steps": 3} if "steps" in node["inputs"] else {}
        (tmp_path / "graph.json").write_text(json.dumps(graph))
        folders = [str(part) for pair in options.items() for part in (f"--{pair[0]}", pair[1])]
        assert main(["run", str(tmp_path / "graph.json"), "--output", str(tmp_path / "out"), *folders]) == 0
        return tmp_path / "out"

    return go


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("layout_video_demo", 12),
        ("layout_motion_demo", 16),
        ("layout_masks_demo", 12),
        ("storyboard_demo", 24),
    ],
)
def test_a_video_is_made_of_a_script_offline(run, name, frames):
    with Image.open(run(name) / "frameloom" / f"{name}_00001_.webp") as clip:
        assert (clip.n_frames, clip.size) == (frames, (128, 128))


def test_one_graph_draws_and_samples_every_scene_and_joins_them(tmp_path):
    (tmp_path / "graph.json").write_text(json.dumps(storyboard_graph()))
    assert main(["run", str(tmp_path / "graph.json"), "--output", str(tmp_path / "out")]) == 0
    check_storyboard_files(path for path in (tmp_path / "out").rglob("*") if path.is_file())


def test_a_script_becomes_a_storyboard_offline(run, capsys):
    sheets = list(run("script_to_layout").rglob("*.png"))
    assert len(sheets) == 1
    shown = capsys.readouterr().out
    assert '"planner": "rules"' in shown
    assert shown.count('"prompt"') == 3


def test_the_bundled_prior_places_things_offline(run, capsys):
    run("layout_prior")
    shown = capsys.readouterr().out
    assert '"planner": "prior"' in shown
    assert '"model": "frameloom_demo_layout_prior.safetensors"' in shown


def test_a_prior_is_trained_and_asked_in_one_graph_offline(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(layout_scenes, "SCENES", 60)
    out = run("train_layout_prior", models=tmp_path / "models")
    assert [path.name for path in (out / "frameloom").glob("*.png")] == ["train_layout_prior_00001_.png"]
    priors = list((tmp_path / "models" / "layout_priors").iterdir())
    assert [path.name for path in priors] == ["my_layouts_00001_.safetensors"]
    assert "100.0 % within the grammar" in capsys.readouterr().out
