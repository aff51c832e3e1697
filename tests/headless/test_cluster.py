"""Jobs on a real Ray cluster of this machine: the same bits however they are shared, and what a lost worker costs."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest
import torch
from frameloom.headless import cluster, select_host
from frameloom.headless.cluster import Cluster
from frameloom.headless.port import HeadlessHost
from frameloom.host import api
from frameloom.host.bundled import BUNDLED
from frameloom.models.errors import HostError
from frameloom.models.long_video.nuwa_jobs import JobFolder, Recursion, run_jobs
from frameloom.models.long_video.nuwa_tree import Tree
from frameloom.tests.support.cluster_work import Unreadable, smooth
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

MODULES = "animatediff_models"
WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows" / "api"
TREE, SMALL = Tree(9, 3, {0: "a"}), Tree(4, 3, {0: "a"})  # 72 and 12 jobs behind the keyframes
# A head of its own, until its input ends.
HEAD = """
import sys, ray
started = ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
print("HEAD", started.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def host(tmp_path, monkeypatch):
    """This process as the command makes it; one thread, as a worker has."""
    monkeypatch.setattr(api, "_selected", {})
    port = HeadlessHost("cpu", tmp_path / "input", tmp_path / "output", tmp_path / "models")
    select_host(port)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield port
    torch.set_num_threads(threads)


@pytest.fixture
def notes(tmp_path):
    (tmp_path / "notes").mkdir()
    return tmp_path / "notes"


def keyframes(tree):
    return torch.randn(tree.length, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def nothing(*_):
    """Watch or check nothing."""


def alone(tree, work):
    """What one process makes of it without a cluster."""
    recursion = Recursion(tree, keyframes(tree))
    run_jobs(recursion, work, nothing, nothing)
    return recursion.frames


def share(tree, work, workers, folder=None, check=nothing, watch=nothing):
    recursion = Recursion(tree, keyframes(tree), folder)
    with Cluster("local", workers, "cpu") as shared:
        shared.run_jobs(recursion, work, watch, check)
    return recursion.frames


def is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().split(")")[1].split()[0] != "Z"


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers_gives_the_bits_of_one_process(tmp_path, notes, caplog, workers):
    work, shown = smooth(notes), []
    with caplog.at_level(logging.INFO):
        frames = share(TREE, work, workers, watch=lambda done, _: shown.append(done))
    processes = {work.tries(3, index)[0] for index in range(64)}
    assert len(processes) == workers
    assert os.getpid() not in processes
    assert torch.equal(frames, alone(TREE, work))
    assert shown == [work.steps * done for done in range(1, 73)]
    assert re.search(
        rf"72 jobs on {workers} workers took .* bound is .* of which were reached; overhead \d+ ms",
        caplog.text,
    )
    with Image.open(tmp_path / "output" / "frameloom" / "timeline_00001_.png") as picture:
        assert picture.width == 640


def test_a_job_starts_as_soon_as_its_ends_exist(notes):
    """With a worker free, jobs of level 3 run beside those of level 2."""
    recursion = Recursion(SMALL, keyframes(SMALL))
    with Cluster("local", 2, "cpu") as shared:
        shared.run_jobs(recursion, smooth(notes, seconds=0.3), nothing, nothing)
        spans = shared.spans
    ended = {(span.job.level, span.job.index): span.end for span in spans}
    begun = {(span.job.level, span.job.index): span.begin for span in spans}
    assert min(begun[3, index] for index in range(9)) < ended[2, 2]
    assert all(begun[3, index] >= ended[2, index // 3] for index in range(9))


def test_a_worker_that_is_killed_in_the_middle_of_a_job_changes_no_bit(notes, caplog):
    work = smooth(notes, at=(2, 1), kill=2)
    frames = share(SMALL, work, 2)
    assert len(set(work.tries(2, 1))) == 3
    assert caplog.text.count("level 2, job 2 (frames 9 to 18): its worker died; another one takes it.") == 2
    work_alone = smooth(notes)
    assert torch.equal(frames, alone(SMALL, work_alone))


def test_a_job_that_kills_every_worker_is_given_up_and_finished_ones_are_kept(tmp_path, notes):
    folder = JobFolder(tmp_path / "jobs", "key")
    work = smooth(notes, at=(3, 8), kill=100)
    with pytest.raises(
        HostError, match=r"level 3, job 9 .* its worker died 4 times.*expected one that lives"
    ):
        share(SMALL, work, 1, folder)
    assert len(work.tries(3, 8)) == 4
    again = Recursion(SMALL, keyframes(SMALL), folder)
    assert again.kept == 11
    assert torch.equal(share(SMALL, smooth(notes), 1, folder), alone(SMALL, smooth(notes)))


def test_what_a_job_raises_is_raised_as_it_is_and_not_tried_again(tmp_path, notes):
    folder = JobFolder(tmp_path / "jobs", "key")
    work = smooth(notes, at=(3, 0), error="a bad thing")
    with pytest.raises(ValueError, match=r"^a bad thing$"):
        share(SMALL, work, 1, folder)
    assert len(work.tries(3, 0)) == 1
    assert Recursion(SMALL, keyframes(SMALL), folder).kept == 3  # level 2


def test_a_model_that_workers_cannot_read_is_not_blamed_on_memory(notes):
    with pytest.raises(
        HostError, match=r"could not read the model: .*this torch has no such dtype; expected this ver"
    ):
        share(SMALL, Unreadable(), 1)


def test_an_interrupt_ends_the_workers_and_keeps_what_was_finished(tmp_path, notes):
    folder, work, calls = JobFolder(tmp_path / "jobs", "key"), smooth(notes, seconds=0.2), count()

    def check():
        if next(calls) == 4:
            raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        share(SMALL, work, 2, folder, check)
    assert signal.getsignal(signal.SIGTERM) == handler
    kept = Recursion(SMALL, keyframes(SMALL), folder).kept
    assert 0 < kept < SMALL.local_jobs
    processes = {int(line) for path in notes.iterdir() for line in path.read_text().split()}
    deadline = time.monotonic() + 20
    while any(map(is_alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(is_alive, processes))
    assert torch.equal(share(SMALL, smooth(notes), 2, folder), alone(SMALL, smooth(notes)))


def test_it_says_where_it_listens_and_that_a_token_guards_it(caplog):
    """Ray 2.60 listens to the network even where it is told the loopback address."""
    with caplog.at_level(logging.INFO), Cluster("local", 1, "cpu") as shared:
        said = shared._say_ports()
        listening = [place for process in cluster._processes() for place in cluster._listening(process)]
    assert listening
    outside = [place for place in listening if place.ip not in ("127.0.0.1", "::1")]
    assert all(f"{place.ip}:{place.port}" in said for place in outside)
    assert ("a token is needed to speak to it" in said) == bool(outside)
    assert re.search(r"Ray \S+ is there after [\d.]+ s; it listens ", caplog.text)


def test_a_cluster_that_is_there_is_joined_and_left_as_it_was(notes):
    head = subprocess.Popen(
        [sys.executable, "-c", HEAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        address = next(line.split()[1] for line in head.stdout if line.startswith("HEAD"))
        for _ in range(2):  # it outlives a command
            recursion = Recursion(SMALL, keyframes(SMALL))
            with Cluster(address, None, "cpu") as shared:
                assert shared.workers == 2
                shared.run_jobs(recursion, smooth(notes), nothing, nothing)
            assert torch.equal(recursion.frames, alone(SMALL, smooth(notes)))
        with (
            pytest.raises(HostError, match=r"--workers: got 3, and the cluster has 2 CPUs; expected"),
            Cluster(address, 3, "cpu"),
        ):
            pass
    finally:
        head.communicate(timeout=30)


@pytest.mark.parametrize("is_listening", [False, True])
def test_an_address_where_no_cluster_answers_is_refused_in_a_bounded_time(monkeypatch, is_listening):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 4)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if is_listening:
            silent.listen()
        address, begin = f"127.0.0.1:{silent.getsockname()[1]}", time.monotonic()
        with (
            pytest.raises(HostError, match=rf"--ray {address}: .*expected HOST:PORT .*`ray start --head`"),
            Cluster(address, 1, "cpu"),
        ):
            pass
        assert time.monotonic() - begin < 20


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(HostError, match=r"Ray is not installed.*pip install '\.\[cluster\]'"),
        Cluster("local", 1, "cpu"),
    ):
        pass


def test_a_gpu_that_a_worker_would_not_see_is_refused():
    with pytest.raises(HostError, match="got --device cuda:1; expected cuda"), Cluster("local", 1, "cuda:1"):
        pass


def command(tmp_path, name, *options):
    """Run a short nuwa_demo by the command; returns how that went and its jobs' files."""
    home = tmp_path / name
    home.mkdir(exist_ok=True)
    settings = ["8.steps=1", "12.steps=1", "3.length=3", "3.depth=3", "3.prompts=a red circle"]
    sets = [part for value in settings for part in ("--set", value)]
    workflow = str(WORKFLOWS / "nuwa_demo.json")
    call = [sys.executable, "-m", "frameloom.headless", "run", workflow, *sets, "--device=cpu", *options]
    environment = os.environ | {"HOME": str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(call, cwd=home, env=environment, capture_output=True, text=True, timeout=300)
    jobs = home.glob(".config/frameloom/nuwa/*/job-*.safetensors")
    return done, {path.name: load_file(path)["frames"] for path in jobs}


def float8_module(tmp_path):
    """A models folder with the bundled motion module in float8, and the command's options for it."""
    name = "frameloom_demo_motion.safetensors"
    state = {key: value.to(torch.float8_e4m3fn) for key, value in load_file(BUNDLED[MODULES][name]).items()}
    (tmp_path / MODULES).mkdir()
    with safe_open(BUNDLED[MODULES][name], framework="pt") as file:
        save_file(state, tmp_path / MODULES / "float8.safetensors", file.metadata())
    return [f"--models={tmp_path}", "--set=2.file=float8.safetensors"]


@pytest.mark.parametrize("dtype", ["as bundled", "float8"])
def test_the_command_shares_the_demos_jobs_bit_for_bit(tmp_path, dtype):
    options = float8_module(tmp_path) if dtype == "float8" else []
    done, jobs = command(tmp_path, "shared", "--ray", "--workers=2", *options)
    assert done.returncode == 0, done.stderr
    assert "6 jobs on 2 workers" in done.stderr
    assert "Ray" not in done.stdout
    assert len(jobs) == 6
    alone = command(tmp_path, "alone", *options)[1]
    assert alone.keys() == jobs.keys()
    assert all(torch.equal(alone[name], jobs[name]) for name in jobs)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workers=2"], "--workers is of --ray; expected both"),
        (["--ray", "--workers=0"], "--workers: got 0; expected 1 or more"),
        (["--ray=auto"], "--ray auto: Ray says: Could not find any running Ray instance"),
    ],
)
def test_the_command_refuses_before_anything_runs(tmp_path, options, said):
    done, jobs = command(tmp_path, "refused", *options)
    assert (done.returncode, done.stdout, jobs) == (2, "", {})
    assert said in done.stderr
    assert "[1/" not in done.stderr
