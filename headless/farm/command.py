"""``frameloom farm``: the clips of one Keyframed Video over several ComfyUI servers."""

from __future__ import annotations

import argparse
import json
import logging
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

from ...models.errors import HostError
from ...models.long_video.keyframed import check_number
from ..cluster import LOCAL, Cluster
from ..crew import Crew
from .joined import join_clips, write_video
from .kept import KeptClips
from .server import JobRefusedError, Patience, Server, ServerWorker, read_picture
from .split import FarmJob, SplitGraph

logger = logging.getLogger(__name__)

FOLDER = Path("frameloom", "farm")  # of finished clips, in the output folder


class FarmJobs:
    """Jobs of a farm, as a crew does them.

    Attributes:
        answers: PNG files of a job that is not a clip; clips are in the folder.
        prompt_ids: the servers' names of jobs, by job.
    """

    def __init__(self, jobs: Sequence[FarmJob], kept: KeptClips) -> None:
        self._ready, self._kept = list(jobs), kept
        self.left = len(jobs)
        self.answers: list[bytes] = []
        self.prompt_ids: dict[FarmJob, str] = {}

    def start(self) -> FarmJob | None:
        """Return the next job that is not finished, also not by another farm meanwhile."""
        while self._ready:
            job = self._ready.pop(0)
            if job.index is None or not self._kept.has(job):
                return job
            self.left -= 1
        return None

    def ask(self, job: FarmJob) -> tuple[str]:
        """Give a job a new name for its server."""
        self.prompt_ids[job] = str(uuid.uuid4())
        return (self.prompt_ids[job],)

    def finish(self, job: FarmJob, answer: list[bytes]) -> None:
        """Keep a clip."""
        if job.index is None:
            self.answers = answer
        else:
            self._kept.save(job, answer)
        self.left -= 1

    def give_back(self, job: FarmJob) -> None:
        """Let a job be started again, before the others."""
        self._ready.insert(0, job)


class Farm:
    """Servers that draw clips, as long as the context lasts.

    Args:
        ray: Ray, which is part of a cluster.
        servers: addresses of the servers.
        patience: seconds that each may take.
    """

    def __init__(self, ray: Any, servers: Sequence[str], patience: Patience) -> None:
        self._servers, self._patience = servers, patience
        self._crew = Crew(
            ray,
            ServerWorker,
            {"num_cpus": 0},
            lambda number: (servers[number], patience),
            lambda n: servers[n],
        )
        self._prompt_ids: dict[FarmJob, str] = {}

    def __enter__(self) -> Farm:
        self._crew.hire(len(self._servers))
        return self

    def __exit__(self, *_: object) -> None:
        running = self._crew.running
        self._crew.dismiss()
        if running:
            with ThreadPoolExecutor(len(running)) as threads:
                list(threads.map(self._cancel, running))

    def draw(self, graph: SplitGraph, kept: KeptClips) -> list[FarmJob]:
        """Draw all clips that are not finished; return them all in order.

        Raises:
            ValueError: there are fewer than two keyframes.
            HostError: no server is left.
            JobRefusedError: a job failed on a server as it would on any.
            OSError: a clip can't be kept.
        """
        shown = self._do([graph.keyframes()], kept)
        hashes = [read_picture(picture)[1] for picture in shown.answers]
        check_number(len(hashes))
        jobs = [graph.clip(index, ends) for index, ends in enumerate(pairwise(hashes))]
        left = [job for job in jobs if not kept.has(job)]
        logger.info("%d clips, of which %d are finished already.", len(jobs), len(jobs) - len(left))
        self._do(left, kept)
        return jobs

    def _do(self, jobs: Sequence[FarmJob], kept: KeptClips) -> FarmJobs:
        shared = FarmJobs(jobs, kept)
        self._prompt_ids = shared.prompt_ids
        self._crew.do(shared, lambda: None)
        return shared

    def _cancel(self, running: tuple[int, FarmJob]) -> None:
        number, job = running
        Server(self._servers[number], self._patience).cancel(self._prompt_ids[job])


def farm(
    options: argparse.Namespace, graph: SplitGraph, prompt: dict[str, Any], servers: Sequence[str]
) -> tuple[Path, Path]:
    """Draw a video; return the folder of its frames, and its file.

    Raises:
        HostError, JobRefusedError, OSError, ValueError: says what, and what to do; finished clips are kept.
    """
    started, kept = time.perf_counter(), KeptClips(options.output / FOLDER)
    if graph.left_out:
        logger.info(
            "Not run on any server, since they are no part of the clips: %s.", ", ".join(graph.left_out)
        )
    try:
        with (
            Cluster(LOCAL, 1, "cpu") as cluster,
            Farm(cluster.ray, servers, Patience(job=options.timeout)) as crew,
        ):
            jobs = crew.draw(graph, kept)
    except KeyboardInterrupt:
        logger.info("Stopped; finished clips are kept in %s.", kept.folder)
        raise
    logger.info("All clips are there after %.1f s.", time.perf_counter() - started)
    frames = join_clips(kept.load(job) for job in jobs)
    texts = {"prompt": json.dumps(prompt)}
    return write_video(frames, options.output, options.workflow.stem, options.fps, texts)


def read_servers(given: Sequence[str]) -> list[str]:
    """Return servers' addresses in full.

    Raises:
        ValueError: one is named twice, or is no address.

    Examples:
        >>> read_servers(["127.0.0.1:8188", "https://render.example/"])
        ['http://127.0.0.1:8188', 'https://render.example']
    """
    servers = [(each if "://" in each else f"http://{each}").rstrip("/") for each in given]
    for place, server in enumerate(servers):
        if not server.startswith(("http://", "https://")) or not server.partition("://")[2]:
            raise ValueError(f"server {given[place]!r}; expected an address such as http://127.0.0.1:8188.")
        if server in servers[:place]:
            raise ValueError(
                f"server {server} is named twice; expected each once, since it draws one clip at a time."
            )
    return servers


ERRORS = (HostError, JobRefusedError, OSError, ValueError)
