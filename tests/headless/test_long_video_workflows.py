"""The workflows of long video, run whole and short by the command."""

from __future__ import annotations

import re
from pathlib import Path

import av
import pytest
from frameloom.headless.__main__ import main
from frameloom.host import api
from PIL import Image

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows" / "api"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a workflow with some of its values replaced; returns the folder of what it saved."""
    monkeypatch.setenv("HOME", str(tmp_path))  # where finished jobs are kept

    def go(name, *values):
        monkeypatch.setattr(api, "_selected", {})  # a command is a process of its own
        settings = [part for value in values for part in ("--set", value)]
        out = tmp_path / "out"
        assert main(["run", str(WORKFLOWS / f"{name}.json"), "--output", str(out), *settings]) == 0
        return out / "frameloom"

    return go


def check(path, frames):
    with Image.open(path) as clip:
        assert (clip.n_frames, clip.size) == (frames, (128, 128))


@pytest.mark.parametrize("name", ["long_windows_demo", "freenoise_demo"])
def test_a_clip_longer_than_the_motion_module_knows_is_made(run, name):
    check(run(name, "KSampler.steps=2", "EmptyLatentImage.batch_size=36") / f"{name}_00001_.webp", 36)


def test_a_clip_is_made_several_times(run):
    name = "freeinit_demo"
    short = ("KSampler.steps=2", "EmptyLatentImage.batch_size=5", "Frameloom_FreeInit.extra_iterations=1")
    check(run(name, *short) / f"{name}_00001_.webp", 5)


def test_a_prompt_travels_over_as_many_frames_as_it_says(run):
    name = "prompt_travel_demo"
    check(run(name, "KSampler.steps=2", "Frameloom_PromptTravel.frames=6") / f"{name}_00001_.webp", 6)


def test_a_tree_of_jobs_becomes_a_video_and_a_second_run_reads_them(run, capsys):
    short = ["8.steps=2", "12.steps=2", "3.length=4", "3.depth=3", "3.prompts=a red circle"]
    for number in (1, 2):
        with av.open(str(run("nuwa_demo", *short) / f"nuwa_demo_0000{number}_.mp4")) as video:
            assert sum(1 for _ in video.decode(video=0)) == 28
        said = re.findall(r"(\d+) of 12 jobs were finished", capsys.readouterr().err)
        assert said == ([] if number == 1 else ["12"])
