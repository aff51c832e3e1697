"""Clips over several servers: the same bits from one and from many, and what a server that fails costs.

The servers are small ones of this process, behind real HTTP; ``tests/host/test_farm.py`` has real ones.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time

import av
import numpy as np
import pytest
import torch
from frameloom.headless.cluster import Cluster
from frameloom.headless.crew import WorkerGoneError
from frameloom.headless.farm.command import Farm, read_servers
from frameloom.headless.farm.joined import join_clips, write_video
from frameloom.headless.farm.kept import KeptClips
from frameloom.headless.farm.server import JobRefusedError, Patience, Server, check_pictures, read_picture
from frameloom.headless.farm.split import SAVED, split_graph
from frameloom.models.errors import HostError
from frameloom.tests.support.comfy_stub import NODE, SIZE, Stub, drawn, graph, noise, playing, png
from PIL import Image

SHORT = Patience(answer=2.0, job=3.0)


def pixels(files):
    return np.stack([np.asarray(Image.open(io.BytesIO(each))) for each in files])


def whole(prompt):
    """What one run of the whole graph draws."""
    return drawn(prompt, ["3", 0])


@pytest.fixture
def kept(tmp_path):
    return KeptClips(tmp_path / "clips")


@pytest.fixture(scope="module")
def ray():
    torch.set_num_threads(1)
    with Cluster("local", 1, "cpu") as cluster:
        yield cluster.ray


def farmed(ray, stubs, kept, prompt=None, patience=SHORT):
    """Draw a graph on servers; return its frames, [N, H, W, 3]."""
    with Farm(ray, [stub.url for stub in stubs], patience) as crew:
        jobs = crew.draw(split_graph(prompt or graph()), kept)
    return pixels(list(join_clips(kept.load(job) for job in jobs)))


def jobs_of(prompt):
    hashes = [read_picture(png(each))[1] for each in drawn(prompt, ["2", 0])]
    split = split_graph(prompt)
    return [split.clip(index, ends) for index, ends in enumerate(itertools.pairwise(hashes))]


# The graph's cut.


def test_prompts_hold_what_the_node_needs_and_no_more():
    split = split_graph(graph())
    assert set(split.keyframes().prompt) == {"2", SAVED}
    job = jobs_of(graph())[1]
    assert {node["class_type"] for node in job.prompt.values()} == {
        "UNETLoader", "Pictures", "ImageFromBatch", NODE, "PreviewImage",
    }  # fmt: skip
    assert job.prompt["3"]["inputs"]["first_clip"] == 1
    assert "_meta" not in job.prompt["1"]
    assert split.left_out == ("SaveAnimatedWEBP (node 4)",)
    assert str(job) == "clip 2 (frames 4 to 8)"


def test_the_clips_of_a_graph_are_those_of_its_whole_also_where_it_is_a_part_itself():
    for prompt in (graph(), graph(first_clip=3)):
        parts = [drawn(job.prompt, [split_graph(prompt).node, 0]) for job in jobs_of(prompt)]
        joined = np.concatenate([parts[0], *(part[1:] for part in parts[1:])])
        assert np.array_equal(joined, whole(prompt))


def without(prompt, name):
    return {key: node for key, node in prompt.items() if key != name}


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        (without(graph(), "3"), "got 0 nodes of Keyframed Video; expected exactly one"),
        (
            graph() | {"9": graph()["3"]},
            "got 2 nodes of Keyframed Video, node 3, node 9; expected exactly one",
        ),
        (
            without(graph(), "2"),
            "got a link to node 2, which the graph does not have; expected one of 1, 3, 4",
        ),
        (graph(keyframes=3), "node 3, keyframes: got 3; expected a link to a batch of pictures"),
        (graph(first_clip=["1", 0]), "node 3, first_clip: got .*; expected a whole number"),
        ({"1": []}, "node 1: got .*; expected class_type and inputs"),
    ],
)
def test_graphs_that_cannot_be_cut_are_refused(prompt, said):
    if "a batch of pictures" in said:
        prompt["3"]["inputs"]["keyframes"] = 3
    with pytest.raises(ValueError, match=said):
        split_graph(prompt)


def test_servers_are_addresses_each_named_once():
    assert read_servers(["a:1", "https://b/"]) == ["http://a:1", "https://b"]
    with pytest.raises(ValueError, match="http://a:1 is named twice; expected each once"):
        read_servers(["a:1", "http://a:1/"])
    with pytest.raises(ValueError, match="server 'ftp://a'; expected an address such as"):
        read_servers(["ftp://a"])


# Finished clips and the result.


def test_a_kept_clip_is_found_by_its_graph_and_keyframes_and_by_no_other(kept):
    job = jobs_of(graph())[1]
    kept.save(job, [b"one", b"two"])
    assert kept.load(jobs_of(graph())[1]) == [b"one", b"two"]
    changes = [{"seed": 8}, {"length": 9}, {"first_clip": 1}, {"keyframes": 5}]
    assert not any(kept.has(jobs_of(graph(**change))[1]) for change in changes)
    other = graph()
    other["2"]["inputs"]["names"] = "abxd"
    assert not kept.has(jobs_of(other)[1])
    assert not kept.has(split_graph(graph()).clip(1, ("of other", "pictures")))
    titled = graph()
    titled["1"]["_meta"] = {"title": "another"}
    titled["4"]["inputs"]["filename_prefix"] = "another"
    assert kept.has(jobs_of(titled)[1])


def test_a_damaged_clip_is_named(kept):
    job = jobs_of(graph())[0]
    kept.save(job, [b"one"])
    (path,) = kept.folder.iterdir()
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(
        ValueError, match=r"clip-00000-\w+\.zip: got .*; expected a finished clip; delete this"
    ):
        kept.load(job)


def test_a_result_is_png_files_and_a_video_and_overwrites_nothing(tmp_path):
    frames = [png(noise(number)) for number in range(20)]
    folder, video = write_video(frames, tmp_path, "clip", 8.0, {"prompt": "{}"})
    assert [path.read_bytes() for path in sorted(folder.iterdir())] == frames
    with av.open(str(video)) as file:
        assert file.streams.video[0].average_rate == 8
        shown = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
        assert file.metadata["prompt"] == "{}"
    assert len(shown) == 20
    assert shown[0].shape == (SIZE[1], SIZE[0], 3)
    second = write_video(frames[:3], tmp_path, "clip", 8.0, {})
    assert {path.name for path in tmp_path.iterdir()} == {
        folder.name,
        video.name,
        *(path.name for path in second),
    }


def test_a_result_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="cannot identify"):
        write_video([png(noise(1)), b"none"], tmp_path, "clip", 8.0, {})
    assert list(tmp_path.iterdir()) == []


def test_clips_of_different_lengths_are_not_joined():
    with pytest.raises(ValueError, match="clip 3 has 4 frames, and those before it 5; expected one length"):
        list(join_clips([[b""] * 5, [b""] * 5, [b""] * 4]))


# What a server says, asked here.


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (
            "lacks a model",
            r"refuses clip 1.*: node 1 \(UNETLoader\): Value not in list: unet_name: 'wan.safetensors'",
        ),
        ("hangs", r"not done with clip 1 \(frames 0 to 4\) after 1 s.*--timeout"),
        ("forgets", "does not know of clip 1 .* any more; .* restarted"),
        ("no picture", "got status 200 and b'<html>' for a picture that it made; expected a PNG"),
        ("other pictures", "the ends of clip 1 .* are not the keyframes .* input folder"),
        ("short", "got '4 pictures'; expected 5 for clip 1"),
        ("nonsense", "expected the names of the pictures"),
        ("cancelled", "somebody cancelled the prompt there"),
        ("out of memory", "it has too little memory: tried to allocate 9 GiB"),
        ("dies", r"it does not answer \(ConnectionError\); expected a running ComfyUI"),
    ],
)
def test_what_a_server_cannot_do_is_said(kind, said):
    with playing(kind) as (stub,), pytest.raises(WorkerGoneError, match=said):
        Server(stub.url, Patience(2.0, 1.0)).run(jobs_of(graph())[0], "id")
    assert stub.stopped in ([], ["id"])
    assert stub.stopped == ["id"] or kind in ("dies", "other pictures", "short")


def test_what_a_model_refuses_is_said_in_the_servers_words():
    said = rf"node 3 \({NODE}\): ValueError: length=6; expected 4 n \+ 1 frames"
    with playing("refuses") as (stub,), pytest.raises(JobRefusedError, match=said):
        Server(stub.url, SHORT).run(jobs_of(graph())[0], "id")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("without the pack", "got a ComfyUI without Keyframed Video; expected Frameloom of this version"),
        ("old", "got a Keyframed Video without first_clip; expected Frameloom of this version"),
        ("is something else", "got '<html>hello</html>'; expected a node's description"),
    ],
)
def test_what_a_server_does_not_have_is_said_before_it_gets_a_job(kind, said):
    with playing(kind) as (stub,), pytest.raises(WorkerGoneError, match=said):
        Server(stub.url, SHORT).check()


def test_a_picture_that_is_cut_off_is_no_picture():
    with pytest.raises(WorkerGoneError, match="expected a PNG file that is whole"):
        check_pictures(jobs_of(graph())[0], [png(noise(1))[:-200]])


# A farm.


def test_two_servers_draw_the_bits_of_one_and_each_clip_is_drawn_once(ray, tmp_path, caplog):
    with playing("good", "good", seconds=0.1) as stubs, caplog.at_level("INFO"):
        one = farmed(ray, stubs[:1], KeptClips(tmp_path / "one"))
        asked = len(stubs[0].prompts)
        two = farmed(ray, stubs, KeptClips(tmp_path / "two"))
    assert np.array_equal(one, whole(graph()))
    assert np.array_equal(two, one)
    assert asked == 4  # the keyframes, and three clips
    assert sorted(stubs[0].clips[3:] + stubs[1].clips) == [0, 1, 2]
    assert stubs[1].clips
    names = [
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two")
    ]
    assert names[0] == names[1]
    assert "clip 3 (frames 8 to 12) took" in caplog.text
    assert f"on {stubs[0].url}; 0 jobs are left." in caplog.text


@pytest.mark.parametrize("done", [(0,), (2,), (0, 2), (0, 1, 2)])
def test_a_farm_that_is_started_again_asks_for_what_is_missing(ray, kept, done):
    jobs = jobs_of(graph())
    for index in done:
        kept.save(jobs[index], [png(each) for each in drawn(jobs[index].prompt, ["3", 0])])
    with playing("good") as (stub,):
        frames = farmed(ray, [stub], kept)
    assert sorted(stub.clips) == sorted({0, 1, 2} - set(done))
    assert np.array_equal(frames, whole(graph()))


@pytest.mark.parametrize(
    "kind",
    ["dies", "hangs", "forgets", "no picture", "other pictures", "nonsense", "cancelled", "out of memory",
     "lacks a model", "without the pack"],
)  # fmt: skip
def test_a_server_that_fails_costs_the_job_that_it_was_at(ray, kept, kind, caplog):
    """It fails at its second prompt, or before its first."""
    with playing(Stub("good", seconds=0.3), Stub(kind, after=1)) as stubs:
        frames = farmed(ray, stubs, kept, graph(keyframes=6))
    assert np.array_equal(frames, whole(graph(keyframes=6)))
    assert caplog.text.count("is left out") == 1
    assert f"{stubs[1].url} is left out" in caplog.text
    assert sorted({*stubs[0].clips, *stubs[1].clips}) == [0, 1, 2, 3, 4]


def test_a_server_that_is_not_there_is_left_out(ray, kept, caplog):
    with playing(Stub("good", seconds=1.5), "good") as (stub, other):
        other.server_close()
        frames = farmed(ray, [other, stub], kept)
    assert np.array_equal(frames, whole(graph()))
    assert f"{other.url} is left out: it does not answer" in caplog.text


def test_where_no_server_is_left_it_says_why_and_finished_clips_are_kept(ray, kept):
    with playing(Stub("dies", after=2), Stub("lacks a model")) as stubs:
        with pytest.raises(HostError, match=r"no worker is left of 2; .* kept: mend .* start again") as told:
            farmed(ray, stubs, kept)
        assert f"\n{stubs[1].url}: it refuses" in str(told.value)
        assert f"\n{stubs[0].url}: it does not answer" in str(told.value)
    assert len(list(kept.folder.iterdir())) == 1
    with playing("good") as (stub,):
        assert np.array_equal(farmed(ray, [stub], kept), whole(graph()))
    assert len(stub.clips) == 2


def test_what_a_model_refuses_ends_the_farm(ray, kept):
    with playing("refuses", "refuses", after=1) as stubs:
        with pytest.raises(JobRefusedError, match=r"length=6; expected 4 n \+ 1 frames"):
            farmed(ray, stubs, kept)
        assert len(stubs[0].prompts) + len(stubs[1].prompts) <= 4


def test_one_keyframe_is_refused(ray, kept):
    with playing("good") as (stub,), pytest.raises(ValueError, match="keyframes: got 1; expected 2 or more"):
        farmed(ray, [stub], kept, graph(keyframes=1))
    assert not stub.clips


def test_an_exchanged_keyframe_draws_two_clips_anew(ray, kept):
    prompt = graph(keyframes=5)
    with playing("good") as (stub,):
        farmed(ray, [stub], kept, prompt)
        stub.prompts.clear()
        stub.kind = "other pictures"  # under the same names
        frames = farmed(ray, [stub], kept, prompt)
    assert stub.clips == [0, 1, 2, 3]
    assert not np.array_equal(frames, whole(prompt))


# The command.


def in_a_process(tmp_path, *servers, name="work", prompt=None, **more):
    home = tmp_path / name
    home.mkdir(exist_ok=True)
    (home / "graph.json").write_text(json.dumps(prompt or graph()))
    command = [sys.executable, "-m", "frameloom.headless", "farm", "graph.json", *servers, "--output=out"]
    environment = os.environ | {"HOME": str(home), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # A shell's & turns Ctrl+C off for what it starts, and for what that starts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return home, subprocess.Popen(command, cwd=home, env=environment, **pipes, **more)
    finally:
        signal.signal(signal.SIGINT, before)


def until(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_command_goes_on_after_a_kill_and_a_stop_and_writes_frames_and_a_video(tmp_path):
    clips = 10  # of which two runs can finish six, so that a server hangs in both
    prompt = graph(keyframes=clips + 1)
    with playing(Stub("hangs", after=2), Stub("hangs", after=2)) as stubs:
        urls = [stub.url for stub in stubs]
        for stop in (signal.SIGKILL, signal.SIGINT):
            home, process = in_a_process(tmp_path, *urls, prompt=prompt, start_new_session=True)
            until(lambda: any(stub.acts("hangs") for stub in stubs))
            time.sleep(1)
            process.send_signal(stop)
            if stop == signal.SIGKILL:
                process.wait(timeout=60)  # Ray's processes hold its pipes a little longer
            else:
                _, err = process.communicate(timeout=60)
                assert process.returncode == 1
                assert "Stopped; finished clips are kept in " in err
                assert all(stub.prompts[-1][0] in stub.stopped for stub in stubs if stub.acts("hangs"))
            for stub in stubs:
                stub.prompts.clear()
                stub.done.clear()
        finished = len(list((home / "out" / "frameloom" / "farm").glob("clip-*")))
        assert 1 <= finished < clips
        for stub in stubs:
            stub.kind = "good"
        home, process = in_a_process(tmp_path, *urls, prompt=prompt)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert sum(len(stub.clips) for stub in stubs) == clips - finished
    frames, video, seconds = out.splitlines()
    files = sorted((home / frames).iterdir())
    assert [path.name for path in files] == [f"{number:05}.png" for number in range(4 * clips + 1)]
    assert np.array_equal(pixels([path.read_bytes() for path in files]), whole(prompt))
    assert (home / video).name == "graph_00001.mp4"
    assert seconds.endswith(" seconds")
    assert "Not run on any server, since" in err


def test_two_farms_on_one_folder_do_no_harm(tmp_path):
    with playing("good", "good", seconds=0.3) as stubs:
        started = [in_a_process(tmp_path, stub.url, prompt=graph(keyframes=6)) for stub in stubs]
        ended = [(home, process, *process.communicate(timeout=90)) for home, process in started]
    for home, process, out, err in ended:
        assert process.returncode == 0, err
        files = sorted((home / out.splitlines()[0]).iterdir())
        assert np.array_equal(pixels([path.read_bytes() for path in files]), whole(graph(keyframes=6)))
    assert len({out.splitlines()[0] for _, _, out, _ in ended}) == 2


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["graph.json", "a:1", "a:1"], 2, "frameloom farm: server http://a:1 is named twice"),
        (
            ["none.json", "a:1"],
            2,
            "none.json: No such file or directory; expected a workflow in ComfyUI's API form.",
        ),
        (["graph.json", "a:1", "--set=9.seed=1"], 2, "frameloom farm: "),
        (["graph.json", "a:1", "--fps=0"], 2, "--fps and --timeout: got 0 or less"),
    ],
)
def test_the_command_refuses_before_it_asks_a_server(tmp_path, monkeypatch, command, options, code, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "graph.json").write_text(json.dumps(graph()))
    got, _, err = command("farm", *options)
    assert got == code
    assert err[-1].startswith(said)
