"""Workers on a Ray cluster, which share jobs: any one of them takes the next job, and that of one that is lost.

What a job is, and what is done with its answer, say ``Jobs``. Ray is imported by whoever makes a cluster.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..models.errors import HostError

logger = logging.getLogger(__name__)

RETRIES = 3  # of a job whose worker died
START_SECONDS = 300  # until a worker must be ready


class WorkerGoneError(HostError):
    """A worker can do no more. Another one takes its job, and none takes its place."""


class Jobs(Protocol):
    """Jobs that a crew does. A job can be a key of a dictionary, and its text names it."""

    @property
    def left(self) -> int:
        """How many are not finished."""
        ...

    def start(self) -> Any | None:
        """Return the next job that can be done; None: none for now."""
        ...

    def ask(self, job: Any) -> tuple[Any, ...]:
        """Return what a worker is given beside the job."""
        ...

    def finish(self, job: Any, answer: Any) -> None:
        """Take the answer to a job that was started."""
        ...

    def give_back(self, job: Any) -> None:
        """Let a job that was started, and not finished, be started again."""
        ...


@dataclass(frozen=True)
class Span:
    """What a worker did from when to when, in seconds since the first job began.

    Attributes:
        worker: number of the worker, from 0.
        job: job that it did; None: it became ready.
        begin, end: times on the clock of this process.
        own: seconds in which the worker says that it was at work.
    """

    worker: int
    job: Any | None
    begin: float
    end: float
    own: float


@dataclass(frozen=True)
class _Task:
    worker: int
    actor: Any
    job: Any | None
    begin: float


class Crew:
    """Workers, and what they are doing.

    Args:
        ray: Ray, which is part of a cluster.
        worker: class of a worker. ``is_ready()`` answers once it can work, ``do(job, ...)`` returns the answer to a
            job, both in a pair with the seconds it took. What they raise ends the crew, but for ``WorkerGoneError``.
        needs: resources of a worker, as Ray names them.
        arguments: function that returns what a worker is made of, by its number from 0.
        name: function that returns a worker's name, by its number.
    """

    def __init__(
        self,
        ray: Any,
        worker: type,
        needs: Mapping[str, int],
        arguments: Callable[[int], tuple[Any, ...]],
        name: Callable[[int], str] = lambda number: f"worker {number + 1}",
    ) -> None:
        self._ray, self._arguments, self._name = ray, arguments, name
        self._kind = ray.remote(**needs, max_restarts=0)(worker)
        self._idle: list[tuple[int, Any]] = []
        self._busy: dict[Any, _Task] = {}
        self._deaths: Counter[Any] = Counter()
        self._gone: dict[str, str] = {}  # workers that can do no more, and why
        self._zero = 0.0
        self.spans: list[Span] = []
        self.size = 0

    @property
    def running(self) -> list[tuple[int, Any]]:
        """Workers that are at a job, and that job."""
        return [(task.worker, task.job) for task in self._busy.values() if task.job is not None]

    def hire(self, size: int) -> None:
        """Start workers. Those that are ready take jobs while others are not."""
        self.size, self._zero = size, time.perf_counter()
        for number in range(size):
            self._hire(number)

    def hire_all(self, size: int) -> None:
        """Start workers, and wait until each is ready, or gone."""
        self.hire(size)
        while self._busy:
            self._await(lambda _task, error: _cannot_start(error), self._retire)
        self._zero = time.perf_counter()
        self.spans.clear()

    def do(self, jobs: Jobs, check_interrupt: Callable[[], None]) -> None:
        """Do all jobs that are left.

        Args:
            jobs: jobs.
            check_interrupt: function that raises to stop; it is called about once a second.

        Raises:
            HostError: no worker is left, or a job's worker died ``RETRIES`` times more.
            Exception: what a job raised.
        """

        def lost(task: _Task, error: Exception) -> None:
            if task.job is None:
                _cannot_start(error)
                return
            self._deaths[task.job] += 1
            if self._deaths[task.job] > RETRIES:
                raise HostError(
                    f"{task.job}: its worker died {RETRIES + 1} times, the last time: {brief(error)}; expected one "
                    "that lives, with memory for the model; take fewer workers and queue again: finished jobs are kept."
                ) from error
            logger.warning("%s: its worker died; another one takes it.", task.job)
            jobs.give_back(task.job)
            self._hire(task.worker)

        def gone(task: _Task, error: Exception) -> None:
            if task.job is not None:
                jobs.give_back(task.job)
            self._retire(task, error)

        while jobs.left:
            check_interrupt()
            while self._idle and (job := jobs.start()) is not None:
                number, actor = self._idle.pop(0)
                reference = actor.do.remote(job, *jobs.ask(job))
                self._busy[reference] = _Task(number, actor, job, self._now())
            for task, (answer, own) in self._await(lost, gone):
                if task.job is None:
                    continue
                jobs.finish(task.job, answer)
                logger.info(
                    "%s took %.1f s on %s; %d jobs are left.",
                    task.job,
                    own,
                    self._name(task.worker),
                    jobs.left,
                )

    def dismiss(self) -> None:
        """End all workers."""
        for _, actor in [*self._idle, *((task.worker, task.actor) for task in self._busy.values())]:
            self._ray.kill(actor, no_restart=True)

    def _hire(self, number: int) -> None:
        actor = self._kind.remote(*self._arguments(number))
        self._busy[actor.is_ready.remote()] = _Task(number, actor, None, self._now())

    def _retire(self, task: _Task, error: Exception) -> None:
        """Let a worker go that can do no more."""
        self._ray.kill(task.actor, no_restart=True)
        name = self._name(task.worker)
        self._gone[name] = str(error)
        logger.warning("%s is left out: %s", name, error)
        if not self._idle and not self._busy:
            reasons = "".join(f"\n{name}: {reason}" for name, reason in self._gone.items())
            raise HostError(
                f"no worker is left of {len(self._gone)}; expected one that can work to the end; finished jobs are "
                f"kept: mend what is wrong and start again.{reasons}"
            ) from error

    def _await(
        self, lost: Callable[[_Task, Exception], None], gone: Callable[[_Task, Exception], None]
    ) -> list[tuple[_Task, Any]]:
        """Wait about a second; return what was done meanwhile, and tell of workers that died or are gone."""
        if not self._busy:
            return []
        from ray.exceptions import RayError, RayTaskError

        answers = []
        ready, waiting = self._ray.wait(list(self._busy), timeout=1.0)
        for reference in ready:
            task = self._busy.pop(reference)
            try:
                answer = self._ray.get(reference)
            except RayTaskError as error:
                if not isinstance(error.cause, WorkerGoneError):
                    raise error.cause or error from error
                gone(task, error.cause)
                continue
            except RayError as error:
                lost(task, error)
                continue
            self._idle.append((task.worker, task.actor))
            self.spans.append(Span(task.worker, task.job, task.begin, self._now(), answer[1]))
            answers.append((task, answer))
        late = [self._busy[each] for each in waiting if self._busy[each].job is None]
        if late and len(late) == len(self._busy) and self._now() - late[0].begin > START_SECONDS:
            _cannot_start(TimeoutError(f"no worker was ready after {START_SECONDS} s"))
        return answers

    def _now(self) -> float:
        return time.perf_counter() - self._zero


def brief(error: Exception) -> str:
    """Return the first line and the last of what Ray says, which has many, and no more of either than says enough."""
    lines = [" ".join(line.split())[:300].rstrip(".") for line in str(error).splitlines() if line.strip()]
    return ": ".join(dict.fromkeys([*lines[:1], *lines[-1:]])) or type(error).__name__


def _cannot_start(error: Exception) -> None:
    if "creation task" in str(error):  # it lived, and raised what Ray's last line says
        raise HostError(
            f"a worker could not read the model: {brief(error)}; expected this version of "
            "frameloom[headless,cluster], of torch and of Python on every machine; update them and queue again: "
            "finished jobs are kept. Without --ray the jobs are done here."
        ) from error
    raise HostError(
        f"a worker could not start: {brief(error)}; expected one that lives, with memory for a model; take fewer "
        "workers and queue again: finished jobs are kept."
    ) from error
