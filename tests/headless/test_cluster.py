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
from frameloom.headless import cluster, crew
from frameloom.headless.cluster import Cluster
from frameloom.host.bundled import BUNDLED
from frameloom.models.errors import HostError
from frameloom.models.long_video.job_folder import JobFolder
from frameloom.models.long_video.nuwa_jobs import Recursion, run_jobs
from frameloom.models.long_video.nuwa_tree import Tree
from frameloom.tests.support.cluster_work import Unreadable, smooth
from frameloom.tests.support.workflows import SHORT_NUWA, WORKFLOWS
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

MODULES = "animatediff_models"
TREE, SMALL = Tree(9, 3, {0: "a"}), Tree(4, 3, {0: "a"})  # 72 and 12 jobs behind the keyframes
# A head of its own, until its input ends.
HEAD = """
import sys, ray
started = ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
print("HEAD", started.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def host(port):
    """This process as the command makes it; one thread, as a worker has."""
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


@pytest.fixture(scope="module")
def two():
    """A cluster of two workers; a process is in one at a time, so tests of others come before it."""
    handler = signal.getsignal(signal.SIGTERM)
    with Cluster("local", 2, "cpu") as two:
        assert signal.getsignal(signal.SIGTERM) == handler
        yield two


def share(cluster, tree, work, folder=None, check=nothing, watch=nothing):
    recursion = Recursion(tree, keyframes(tree), folder)
    cluster.run_jobs(recursion, work, watch, check)
    return recursion.frames


def is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().split(")")[1].split()[0] != "Z"


def test_a_cluster_that_is_there_is_joined_and_left_as_it_was(notes, caplog):
    call = [sys.executable, "-c", HEAD]
    head = subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        address = next(line.split()[1] for line in head.stdout if line.startswith("HEAD"))
        for _ in range(2):  # it outlives a command
            with caplog.at_level(logging.INFO), Cluster(address, 1, "cpu") as joined:
                frames = share(joined, SMALL, smooth(notes))
            assert torch.equal(frames, alone(SMALL, smooth(notes)))
        assert re.search(r"Ray \S+ is there after [\d.]+ s; joined .* its owner's to say", caplog.text)
        said = r"--workers: got 3, and the cluster has 2 CPUs; expected"
        with pytest.raises(HostError, match=said), Cluster(address, 3, "cpu"):
            pass
        with Cluster(address, None, "cpu") as joined:
            assert joined.workers == 2
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
        said = rf"--ray {address}: .*expected HOST:PORT .*`ray start --head`"
        with pytest.raises(HostError, match=said), Cluster(address, 1, "cpu"):
            pass
        assert time.monotonic() - begin < 20


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    said = r"Ray is not installed.*pip install '\.\[cluster\]'"
    with pytest.raises(HostError, match=said), Cluster("local", 1, "cpu"):
        pass


def test_a_gpu_that_a_worker_would_not_see_is_refused():
    with pytest.raises(HostError, match="got --device cuda:1; expected cuda"), Cluster("local", 1, "cuda:1"):
        pass


def run_nuwa(*options):
    """Return the command's arguments that run a short nuwa_demo of 6 jobs."""
    sets = (f"--set={value}" for value in SHORT_NUWA)
    return ["run", str(WORKFLOWS / "nuwa_demo.json"), *sets, "--device=cpu", *options]


def in_a_process(home, *options):
    """Run the command for a user; returns how that went."""
    home.mkdir()
    environment = os.environ | {"HOME": str(home), "OMP_NUM_THREADS": "1"}
    call = [sys.executable, "-m", "frameloom.headless", *run_nuwa(*options)]
    return subprocess.run(call, cwd=home, env=environment, capture_output=True, text=True, timeout=300)


def jobs_of(home):
    jobs = home.glob(".config/frameloom/nuwa/*/job-*.safetensors")
    return {path.name: load_file(path)["frames"] for path in jobs}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workers=2"], "--workers is of --ray; expected both"),
        (["--ray", "--workers=0"], "--workers: got 0; expected 1 or more"),
    ],
)
def test_the_command_refuses_before_anything_runs(tmp_path, command, options, said):
    code, out, err = command(*run_nuwa(*options))
    assert (code, out, jobs_of(tmp_path)) == (2, [], {})
    assert err[-1].startswith(said)
    assert not any(line.startswith("[1/") for line in err)


def test_the_command_refuses_a_cluster_that_is_not_there(tmp_path):
    done = in_a_process(tmp_path / "user", "--ray=auto")  # Ray may end a process that it cannot connect
    assert (done.returncode, done.stdout, jobs_of(tmp_path / "user")) == (2, "", {})
    # That none was found, or of another program's on this machine that it may not be spoken to.
    assert "--ray auto: Ray says: " in done.stderr


def test_the_command_shares_the_jobs_of_a_module_in_float8_bit_for_bit(tmp_path, command):
    name, folder = "frameloom_demo_motion.safetensors", tmp_path / "models" / MODULES
    folder.mkdir(parents=True)
    state = {key: value.to(torch.float8_e4m3fn) for key, value in load_file(BUNDLED[MODULES][name]).items()}
    with safe_open(BUNDLED[MODULES][name], framework="pt") as file:
        save_file(state, folder / "float8.safetensors", file.metadata())
    options = f"--models={folder.parent}", "--set=2.file=float8.safetensors", f"--output={tmp_path / 'out'}"
    done = in_a_process(tmp_path / "shared", "--ray", "--workers=2", *options)
    assert done.returncode == 0, done.stderr
    assert "6 jobs on 2 workers" in done.stderr
    assert "Ray" not in done.stdout
    jobs = jobs_of(tmp_path / "shared")
    assert len(jobs) == 6
    assert command(*run_nuwa(*options))[0] == 0
    alone = jobs_of(tmp_path)
    assert alone.keys() == jobs.keys()
    assert all(torch.equal(alone[name], jobs[name]) for name in jobs)


def test_shared_jobs_have_the_bits_of_one_process(host, notes, caplog, two):
    work, shown = smooth(notes), []
    with caplog.at_level(logging.INFO):
        frames = share(two, TREE, work, watch=lambda done, _: shown.append(done))
    processes = {work.tries(3, index)[0] for index in range(64)}
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert torch.equal(frames, alone(TREE, work))
    assert shown == [work.steps * done for done in range(1, 73)]
    said = r"72 jobs on 2 workers took .* bound is .* of which were reached; overhead \d+ ms"
    assert re.search(said, caplog.text)
    with Image.open(host.output_dir / "frameloom" / "timeline_00001_.png") as picture:
        assert picture.width == 640


def test_it_says_where_it_listens_and_that_a_token_guards_it(two):
    """Ray 2.60 listens to the network even where it is told the loopback address."""
    said = two._say_ports()
    listening = [place for process in cluster._processes() for place in cluster._listening(process)]
    assert listening
    outside = [place for place in listening if place.ip not in ("127.0.0.1", "::1")]
    assert all(f"{place.ip}:{place.port}" in said for place in outside)
    assert ("a token is needed to speak to it" in said) == bool(outside)


def test_a_job_starts_as_soon_as_its_ends_exist(notes, two):
    """With a worker free, jobs of level 3 run beside those of level 2."""
    share(two, SMALL, smooth(notes, seconds=0.3))
    ended = {(span.job.level, span.job.index): span.end for span in two.spans}
    begun = {(span.job.level, span.job.index): span.begin for span in two.spans}
    assert min(begun[3, index] for index in range(9)) < ended[2, 2]
    assert all(begun[3, index] >= ended[2, index // 3] for index in range(9))


def test_a_worker_that_is_killed_in_the_middle_of_a_job_changes_no_bit(notes, caplog, two):
    work = smooth(notes, at=(2, 1), kill=1)
    frames = share(two, SMALL, work)
    assert len(set(work.tries(2, 1))) == 2
    assert caplog.text.count("level 2, job 2 (frames 9 to 18): its worker died; another one takes it.") == 1
    assert torch.equal(frames, alone(SMALL, smooth(notes)))


def test_a_job_that_kills_every_worker_is_given_up_and_finished_ones_are_kept(
    tmp_path, notes, two, monkeypatch
):
    monkeypatch.setattr(crew, "RETRIES", 1)
    folder, work = JobFolder(tmp_path / "jobs", "key"), smooth(notes, at=(3, 8), kill=100)
    with pytest.raises(
        HostError, match=r"level 3, job 9 .* its worker died 2 times.*expected one that lives"
    ):
        share(two, SMALL, work, folder)
    assert len(work.tries(3, 8)) == 2
    assert Recursion(SMALL, keyframes(SMALL), folder).kept == 11
    assert torch.equal(share(two, SMALL, smooth(notes), folder), alone(SMALL, smooth(notes)))


def test_what_a_job_raises_is_raised_as_it_is_and_not_tried_again(notes, two):
    work = smooth(notes, at=(3, 0), error="a bad thing")
    with pytest.raises(ValueError, match=r"^a bad thing$"):
        share(two, SMALL, work)
    assert len(work.tries(3, 0)) == 1


def test_a_model_that_workers_cannot_read_is_not_blamed_on_memory(two):
    said = r"could not read the model: .*this torch has no such dtype; expected this ver"
    with pytest.raises(HostError, match=said):
        share(two, SMALL, Unreadable())


def test_an_interrupt_ends_the_workers_and_keeps_what_was_finished(tmp_path, notes, two):
    folder, work, calls = JobFolder(tmp_path / "jobs", "key"), smooth(notes, seconds=0.2), count()

    def check():
        if next(calls) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        share(two, SMALL, work, folder, check)
    assert 0 < Recursion(SMALL, keyframes(SMALL), folder).kept < SMALL.local_jobs
    processes = {int(line) for path in notes.iterdir() for line in path.read_text().split()}
    deadline = time.monotonic() + 20
    while any(map(is_alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(is_alive, processes))
