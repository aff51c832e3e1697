"""The workflows of long video, run whole and short by the command."""

from __future__ import annotations

import errno
import os
import re
import shutil

import av
import numpy as np
import pytest
import torch
from frameloom.headless.__main__ import main
from frameloom.host import api
from frameloom.models.files import whole_file
from frameloom.tests.support.workflows import SHORT_NUWA, WORKFLOWS
from frameloom.tools.detector import measure
from PIL import Image, ImageSequence


@pytest.fixture
def run(draw_workflow):
    """Run a workflow with some of its values replaced; returns the folder of what it saved."""
    return lambda name, *values: draw_workflow(name, *values)[0]


SMALL = ("KSampler.steps=1", "EmptyLatentImage.width=64", "EmptyLatentImage.height=64")


@pytest.mark.parametrize(
    ("name", "frames", "values"),
    [
        ("long_windows_demo", 36, ["EmptyLatentImage.batch_size=36"]),
        ("freenoise_demo", 36, ["EmptyLatentImage.batch_size=36"]),
        ("freeinit_demo", 5, ["EmptyLatentImage.batch_size=5", "Frameloom_FreeInit.extra_iterations=1"]),
        ("prompt_travel_demo", 6, ["Frameloom_PromptTravel.frames=6"]),
    ],
)
def test_a_clip_is_made_of_as_many_frames_as_it_says_and_the_motion_module_may_know_fewer(
    run, name, frames, values
):
    with Image.open(run(name, *SMALL, *values) / f"{name}_00001_.webp") as clip:
        assert (clip.n_frames, clip.size) == (frames, (64, 64))


@pytest.mark.parametrize("name", ["animate_image_demo", "animate_image_adapter_demo"])
def test_what_a_given_first_frame_shows_goes_where_the_prompt_says(run, name):
    """It stood still while the frames to be made began as the first one: at full noise, a latent shines through."""
    with Image.open(
        run(name, "Sample.steps=4", "Draw the First Frame.steps=8") / f"{name}_00001_.webp"
    ) as clip:
        frames = np.stack([np.array(frame.convert("RGB")) for frame in ImageSequence.Iterator(clip)])
    centers = measure(torch.from_numpy(frames).movedim(-1, 1) / 127.5 - 1).centers
    assert centers[-1, 0] - centers[0, 0] > 0.25
    assert (centers[-1, 1] - centers[0, 1]).abs() < 0.15


def nuwa(home, *values):
    """Run a short ``nuwa_demo`` for a user; returns the code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setattr(api, "_selected", {})
        settings = [part for value in (*SHORT_NUWA, *values) for part in ("--set", value)]
        workflow = str(WORKFLOWS / "nuwa_demo.json")
        return main(["run", workflow, "--output", str(home / "out"), *settings])


def jobs_of(home):
    return sorted(home.glob(".config/frameloom/nuwa/*/job-*.safetensors"))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of a user whose jobs are finished."""
    home = tmp_path_factory.mktemp("done")
    assert nuwa(home) == 0
    assert len(jobs_of(home)) == 6
    return home


@pytest.fixture
def home(done, tmp_path):
    """A copy of it."""
    return shutil.copytree(done, tmp_path / "home")


def test_a_tree_of_jobs_becomes_a_video_and_a_second_run_reads_them(home, capsys):
    assert nuwa(home) == 0
    assert "6 of 6 jobs were finished" in capsys.readouterr().err
    for number in (1, 2):
        with av.open(str(home / "out" / "frameloom" / f"nuwa_demo_0000{number}_.mp4")) as video:
            assert sum(1 for _ in video.decode(video=0)) == 9


@pytest.mark.parametrize(
    ("values", "code", "said"),
    [
        (["3.prompts=a red circle\n\na blue cross"], 2, "prompts line 2: got nothing; expected keyframe 2's prompt"),
        (["3.prompts=a red circle\na blue cross"], 2, "prompts: got 2 lines, and there is none for keyframe 3"),
        (["3.length=2"], 2, "length"),
        (["3.length=33", "3.depth=2"], 1, "node 12 (Frameloom_NuwaInterpolate): ValueError: frames=33 is more than the "
         "32 that the motion module's positional encoding holds"),
        (['12.keyframes=["7", 0]'], 1, "node 12 (Frameloom_NuwaInterpolate): ValueError: keyframes are (1, 4, 16, 8); "
         "expected [3, channels"),
    ],
)  # fmt: skip
def test_bad_input_is_one_error_of_its_node_and_leaves_finished_jobs_alone(home, capsys, values, code, said):
    before = {path: path.read_bytes() for path in jobs_of(home)}
    assert nuwa(home, *values) == code
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err
    assert {path: path.read_bytes() for path in jobs_of(home)} == before


def test_a_damaged_job_and_a_full_disk_keep_the_other_jobs(home, capsys, monkeypatch):
    last = jobs_of(home)[-1]
    last.write_bytes(last.read_bytes()[:-40])
    assert nuwa(home) == 1
    said = rf"ValueError: .*{last.name}: got .*; delete this file and queue again"
    assert re.search(said, capsys.readouterr().err)
    last.unlink()

    def full(number):
        if os.fstat(number).st_size > len(whole_file.PROBE):  # there is room for what is tried before the run
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(whole_file.os, "fsync", full)
        assert nuwa(home) == 1
    said = rf"{last.name}: could not be written .*No space left on device.*; make room and queue again"
    assert re.search(said, capsys.readouterr().err)

    assert not last.exists()
    assert nuwa(home) == 0
    assert "5 of 6 jobs were finished" in capsys.readouterr().err
    assert last.exists()
