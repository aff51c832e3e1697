"""The workflows of layouts, run whole and short by the command, with every way out of this machine closed."""

from __future__ import annotations

import socket

import pytest
from frameloom.tests.support.storyboard_graph import check_storyboard_files, storyboard_graph
from frameloom.tests.support.tiny_llm import write_llm
from frameloom.tests.support.workflows import read_graph
from frameloom.training.layout import scenes as layout_scenes
from PIL import Image


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    def refuse(*args, **options):
        raise OSError("a workflow of layouts went for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def run(draw_workflow):
    """Run a workflow with one step a sampler; returns the folder of what it saved, and what the command said."""

    def call(name, *settings, **folders):
        graph = read_graph(name)
        short = (f"{number}.steps=1" for number, node in graph.items() if "steps" in node["inputs"])
        return draw_workflow(graph, *short, *settings, **folders)

    return call


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
    with Image.open(run(name)[0] / f"{name}_00001_.webp") as clip:
        assert (clip.n_frames, clip.size) == (frames, (128, 128))


def test_one_graph_draws_and_samples_every_scene_and_joins_them(draw_workflow, tmp_path):
    draw_workflow(storyboard_graph())
    check_storyboard_files(path for path in (tmp_path / "out").rglob("*") if path.is_file())


def test_a_script_becomes_a_storyboard_offline(run, tmp_path):
    shown = run("script_to_layout")[1]
    assert len(list((tmp_path / "out").rglob("*.png"))) == 1
    assert '"planner": "rules"' in shown
    assert shown.count('"prompt"') == 3


def test_the_bundled_prior_places_things_offline(run):
    shown = run("layout_prior")[1]
    assert '"planner": "prior"' in shown
    assert '"model": "frameloom_demo_layout_prior.safetensors"' in shown


def test_a_prior_is_trained_and_asked_in_one_graph_offline(run, tmp_path, monkeypatch):
    monkeypatch.setattr(layout_scenes, "SCENES", 60)
    out, shown = run("train_layout_prior", models=tmp_path / "models")
    assert [path.name for path in out.glob("*.png")] == ["train_layout_prior_00001_.png"]
    priors = list((tmp_path / "models" / "layout_priors").iterdir())
    assert [path.name for path in priors] == ["my_layouts_00001_.safetensors"]
    assert "100.0 % within the grammar" in shown


def test_a_language_model_is_tuned_and_taken_in_one_graph_offline(run, tmp_path):
    models = tmp_path / "models"
    write_llm(models / "llm" / "tiny")
    values = ("1.model=tiny", "2.model=tiny", "1.tokens=1024", "1.rank=2", "3.planner=rules (no LLM)")
    out, shown = run("train_layout_model", *values, models=models)
    assert [path.name for path in out.glob("*.png")] == ["train_layout_model_00001_.png"]
    assert sorted(path.name for path in (models / "llm").iterdir()) == ["my_layout_model_00001_", "tiny"]
    assert "my_layout_model_00001_: loss on held-out answers" in shown
