"""A recursion's jobs on a Ray cluster: actors hold the model, and a job starts as soon as its two ends exist.

One actor a device, each with one thread on a CPU, so that a job's bits depend on nothing but the job: not on how many
workers there are, nor on which one does it, nor on whether another one died while it tried. Frames, order and files are
``models/nuwa_jobs``'; Ray is imported when a cluster is asked for.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch

from ..host import api
from ..models.errors import HostError
from ..models.long_video.nuwa_jobs import Recursion, Watch, Work
from ..models.long_video.nuwa_tree import Job, find_makespan
from .crew import Crew, Span, brief
from .parcel import pack
from .weights.device import pick_device

logger = logging.getLogger(__name__)

LOCAL = "local"
CONNECT_SECONDS = 20  # to hear from a cluster
_LOOPBACK = ("127.0.0.1", "::1")


class Cluster:
    """A Ray cluster as long as the context lasts: an embedded one, which ends with it, or one that is there.

    Args:
        address: host and port of a cluster's head, ``auto`` for the one this machine belongs to, or ``local``.
        workers: number of workers; None: as many as there are GPUs, or CPU cores where the command computes on the CPU.
        device: the command's, by name; None: the first GPU, else the CPU.

    Raises:
        HostError: on entering, Ray is not installed, nothing answers in time, or there are fewer devices than workers.
    """

    def __init__(self, address: str, workers: int | None, device: str | None) -> None:
        self._address, self._asked = address, workers
        self._device = pick_device(device)
        self._resource = "GPU" if self._device.type == "cuda" else "CPU"
        self.ray: Any = None
        self.workers = 0
        self.model_seconds = 0.0  # until each of a recursion's workers had the model
        self.spans: list[Span] = []

    def __enter__(self) -> Cluster:
        if self._asked is not None and self._asked < 1:
            raise HostError(
                f"--workers: got {self._asked}; expected 1 or more; leave it out for as many as there can be."
            )
        try:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            os.environ.setdefault("RAY_AUTH_MODE", "token")
            import ray
        except ImportError as error:
            raise HostError(
                "Ray is not installed; expected it beside this command; pip install '.[cluster]' in "
                "Frameloom's folder."
            ) from error
        if self._device.index:
            raise HostError(
                f"--ray: got --device {self._device}; expected cuda, since a worker sees no GPU but its own; take "
                "CUDA_VISIBLE_DEVICES to choose another."
            )
        started, handler = time.perf_counter(), signal.getsignal(signal.SIGTERM)
        if self._address not in (LOCAL, "auto"):
            _check_answer(self._address)
        try:
            self.ray = self._connect(ray)
        except Exception as error:
            advice = (
                "expected it to start here; Ray's session folder has its logs"
                if self._address == LOCAL
                else "expected a cluster that this machine is part of: `ray start --address=HEAD:6379` here, with "
                "Ray and Python of the head's versions"
            )
            raise HostError(f"--ray {self._address}: Ray says: {brief(error)}; {advice}.") from error
        signal.signal(signal.SIGTERM, handler)  # Ray put its own in place
        try:
            self.workers = self._count_workers()
        except BaseException:
            ray.shutdown()
            raise
        logger.info(
            "Ray %s is there after %.1f s; %s.",
            ray.__version__,
            time.perf_counter() - started,
            self._say_ports(),
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ray.shutdown()

    def run_jobs(
        self, recursion: Recursion, work: Work, watch: Watch, check_interrupt: Callable[[], None]
    ) -> None:
        """Do a recursion's jobs on the cluster; ``nuwa_jobs.run_jobs`` does them here.

        Args:
            recursion: recursion that the jobs belong to.
            work: function that does a job; it goes to the workers as a pickle.
            watch: function that is told how many steps of all jobs are done.
            check_interrupt: function that raises to stop; it is called about once a second.

        Raises:
            HostError: a worker can't start, or died ``RETRIES`` times more at the same job.
            Exception: what a job raised. Jobs that were finished are kept, whatever happens.
        """
        tree, kept = recursion.tree, recursion.done
        if recursion.done == tree.local_jobs:
            return
        needs = {"num_cpus": 1, "num_gpus": 1} if self._resource == "GPU" else {"num_cpus": 1}
        given = self.ray.put(pack(work)), _host_settings()
        crew = Crew(self.ray, _Worker, needs, lambda _number: given)
        begin = time.perf_counter()
        try:
            crew.hire_all(min(self.workers, (tree.length - 1) ** (tree.depth - 1)))
            self.model_seconds = time.perf_counter() - begin
            logger.info("%d workers have the model after %.1f s.", crew.size, self.model_seconds)
            shared = _SharedJobs(recursion, lambda: watch(recursion.done * work.steps, None))
            crew.do(shared, check_interrupt)
        finally:
            crew.dismiss()
            self.spans = crew.spans
        self._report(recursion, crew, whole=kept == 0)

    def _connect(self, ray: Any) -> Any:
        options: dict[str, Any] = {
            "log_to_driver": False,
            "logging_level": "ERROR",
            "configure_logging": False,
        }
        if self._address != LOCAL:
            ray.init(self._address, **options)
            return ray
        cores = {"num_cpus": self._asked} if self._asked and self._resource == "CPU" else {}
        ray.init(include_dashboard=False, _node_ip_address="127.0.0.1", **cores, **options)
        return ray

    def _count_workers(self) -> int:
        there = int(self.ray.cluster_resources().get(self._resource, 0))
        wanted = self._asked or there
        if not 1 <= wanted <= there:
            raise HostError(
                f"--workers: got {wanted}, and the cluster has {there} {self._resource}s; expected one of them for "
                "each worker; change --workers, or --device."
            )
        return wanted

    def _say_ports(self) -> str:
        """Say which addresses the embedded cluster's processes listen on, as the system has them."""
        if self._address != LOCAL:
            return f"joined {self._address}; who may reach it is its owner's to say"
        open_ports = sorted(
            f"{process.name()} {place.ip}:{place.port}"
            for process in _processes()
            for place in _listening(process)
            if place.ip not in _LOOPBACK
        )
        if not open_ports:
            return "it listens on this machine alone"
        guard = (
            "a token is needed to speak to it"
            if os.environ["RAY_AUTH_MODE"] == "token"
            else "ANYONE WHO REACHES THEM CAN RUN CODE AS YOU, since RAY_AUTH_MODE is off"
        )
        return f"it listens to the network, too, at {', '.join(open_ports)}: {guard}"

    def _report(self, recursion: Recursion, crew: Crew, *, whole: bool) -> None:
        from ..nodes.drawing.plot import draw_timeline
        from .v3.ui import write_png

        figures = Figures.of(crew.spans, recursion, crew.size, whole=whole)
        logger.info("%s", figures)
        path = api.port().output_path("frameloom/timeline", "png")
        bars = [(span.worker, span.job, span.begin, span.end) for span in crew.spans]
        write_png(path, draw_timeline(bars, figures.bound))
        logger.info("Timeline: %s", path)


@dataclass(frozen=True)
class Figures:
    """How well a crew was used.

    Attributes:
        jobs: number of jobs that were done.
        workers: number of workers that shared them.
        seconds: time from the first job's begin to the last one's end.
        bound: seconds that the tree's schedule takes at least with as many workers, at the jobs' mean duration; None:
            some jobs were done before.
        overhead: mean seconds a job that are not the worker's own.
    """

    jobs: int
    workers: int
    seconds: float
    bound: float | None
    overhead: float

    @classmethod
    def of(cls, spans: list[Span], recursion: Recursion, workers: int, *, whole: bool) -> Figures:
        """Measure what a crew did; ``whole``: all of the tree."""
        done = [span for span in spans if span.job is not None]
        own = sum(span.own for span in done) / len(done)
        units = find_makespan(recursion.tree, workers) - 1  # keyframes are there
        return cls(
            jobs=len(done),
            workers=workers,
            seconds=max(span.end for span in done) - min(span.begin for span in done),
            bound=own * units if whole else None,
            overhead=sum(span.end - span.begin for span in done) / len(done) - own,
        )

    def __str__(self) -> str:
        text = f"{self.jobs} jobs on {self.workers} workers took {self.seconds:.1f} s"
        if self.bound is not None:
            share = self.bound / self.seconds
            text += f"; the schedule's bound is {self.bound:.1f} s, {share:.0%} of which were reached"
        return f"{text}; overhead {self.overhead * 1000:.0f} ms a job."


@dataclass(frozen=True)
class _SharedJobs:
    """A recursion's jobs, as a crew does them."""

    recursion: Recursion
    show: Callable[[], None]

    @property
    def left(self) -> int:
        return self.recursion.tree.local_jobs - self.recursion.done

    def start(self) -> Job | None:
        return self.recursion.start()

    def ask(self, job: Job) -> tuple[Any, ...]:
        return (self.recursion.ends(job).cpu().numpy(),)

    def finish(self, job: Job, answer: Any) -> None:
        self.recursion.finish(job, torch.from_numpy(answer.copy()))
        self.show()

    def give_back(self, job: Job) -> None:
        self.recursion.give_back(job)


class _Worker:
    """What an actor is: a process that has the model and does jobs."""

    def __init__(self, work: bytes, settings: Mapping[str, Any]) -> None:
        torch.set_num_threads(1)
        from . import select_host
        from .port import HeadlessHost

        # Before the pickle is read, which imports nodes.
        select_host(HeadlessHost(**settings))
        self._work: Work = pickle.loads(work)

    def is_ready(self) -> tuple[None, float]:
        """Answer once the model is there."""
        return None, 0.0

    def do(self, job: Job, ends: Any) -> tuple[Any, float]:
        """Do a job. ``ends``: [2, C, H, W]. Returns its frames, [L, C, H, W], and the seconds it took."""
        begin = time.perf_counter()
        with torch.inference_mode():
            frames = self._work(job, torch.from_numpy(ends.copy()), lambda _done, _preview: None)
        return frames.cpu().numpy(), time.perf_counter() - begin


def find_workers() -> list[int]:
    """Return the processes on this machine, of an embedded cluster of this process, that do jobs."""
    return [each.pid for each in _processes() if each.name().startswith(f"ray::{_Worker.__name__}")]


def _check_answer(address: str) -> None:
    """Ask an address, for a bounded time, whether it is a cluster's; Ray itself asks for a quarter of an hour."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=CONNECT_SECONDS)
    except subprocess.TimeoutExpired:
        fault = f"nothing answered within {CONNECT_SECONDS} s"
    else:
        if said.returncode == 0:
            return
        fault = " ".join(said.stderr.split())[-400:] or "it says that it is not healthy"
    raise HostError(
        f"--ray {address}: {fault}; expected HOST:PORT of a Ray cluster's head, 6379 by default; start one there by "
        "`ray start --head`, or leave the address out for an embedded cluster."
    )


def _host_settings() -> dict[str, str]:
    port: Any = api.port()
    folders = {"input_dir": port.input_dir, "output_dir": port.output_dir, "models_dir": port.models_dir}
    return {"device": port.device.type, **{name: str(folder) for name, folder in folders.items()}}


def _processes() -> list[Any]:
    import psutil  # Ray brings it

    return psutil.Process().children(recursive=True)


def _listening(process: Any) -> list[Any]:
    import psutil

    try:
        return [each.laddr for each in process.net_connections("inet") if each.status == psutil.CONN_LISTEN]
    except psutil.Error:
        return []
