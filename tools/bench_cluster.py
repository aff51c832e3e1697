#!/usr/bin/env python3
"""Share a recursion's jobs among workers of a Ray cluster, and write docs/bench_cluster.md.

usage: bench_cluster.py [--steps N]

The demo model fills a tree of L 9 and depth 3: 73 jobs, the keyframes' among them, 513 frames. Once in this process,
once on each number of workers, once with a worker killed in the middle of a job; bits are compared. Then the peak of
memory of whole commands for 65 and for 513 frames. Wants as many idle cores as the larger number of workers counts.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from frameloom.headless import select_host
from frameloom.headless.cluster import Cluster, Figures, find_workers
from frameloom.headless.port import HeadlessHost
from frameloom.models.long_video.nuwa_fill import Filling
from frameloom.models.long_video.nuwa_jobs import Recursion, Work, run_jobs
from frameloom.models.long_video.nuwa_tree import Tree, find_makespan
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.models.motion.edit import motion_edit
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "docs" / "bench_cluster.md"
PROMPT = "a big red circle on a navy background, left"
TREE = Tree(9, 3, {0: PROMPT})
LONG = Tree(16, 3, {0: PROMPT})
WORKERS, MANY = (1, 2, 4), 16
SMALL = ("3.length=9", "8.steps=1", "12.steps=1", "13.frames_per_chunk=32")  # inputs of its workflow
KILL_AFTER = 20  # jobs
PAPERS_SAVING = 0.94  # NUWA-XL, table 3: 7.55 min to 26 s for 1,024 frames


@dataclass(frozen=True)
class Shared:
    """One run on a cluster.

    Attributes:
        name: name of the run.
        start: seconds until Ray was there, and until every worker had the model.
        figures: figures of the jobs.
        same: the frames are those of one process, bit for bit.
    """

    name: str
    start: tuple[float, float]
    figures: Figures
    same: bool


def prepare(folder: str, steps: int) -> tuple[Work, Tensor]:
    """Return what the jobs do, and the keyframes."""
    port = HeadlessHost("cpu", folder, folder, folder)
    select_host(port)
    from frameloom.nodes.long_video.nuwa import LocalWork, NuwaKeyframes, ask  # they need a selected host

    model, clip, _ = port.load_demo()
    weights = read_motion_weights(ROOT / "assets" / "demo" / "motion.safetensors")
    moving = port.install(model, motion_edit("bench", port.load_motion(weights), weights.beta_schedule))
    asked: dict[str, Any] = {
        "clip": clip, "tree": TREE, "negative": port.encode_text(clip, "")[0], "steps": steps, "cfg": 3.0,
        "scheduler": "normal",
    }  # fmt: skip
    keyframes = NuwaKeyframes.execute(
        model=model, latent={"samples": torch.zeros(1, 4, 16, 16)}, seed=1, sampler_name="euler", shared_noise=0.4,
        shared_attention=1.0, **asked,
    )[0]["samples"]  # fmt: skip
    return LocalWork(ask(model=moving, controls=None, sampler="euler", **asked), Filling(), 1), keyframes


def share(
    name: str, workers: int, work: Work, keyframes: Tensor, wanted: Tensor, *, kill: bool = False
) -> Shared:
    """Do the jobs on workers; ``kill``: one of them, in the middle of a job."""
    recursion, begin = Recursion(TREE, keyframes), time.perf_counter()

    def watch(_done: int, _preview: Tensor | None) -> None:
        if kill and recursion.done == KILL_AFTER:
            os.kill(find_workers()[0], signal.SIGKILL)

    with Cluster("local", workers, "cpu") as cluster:
        ray_seconds = time.perf_counter() - begin
        cluster.run_jobs(recursion, work, watch, lambda: None)
        figures = Figures.of(cluster.spans, recursion, workers, whole=True)
        model_seconds = cluster.model_seconds
    print(f"{name}: {figures}", flush=True)
    return Shared(name, (ray_seconds, model_seconds), figures, torch.equal(recursion.frames, wanted))


def peak_memory(depth: int, folder: Path) -> float:
    """Return the peak of memory, in MiB, of a command that makes a video of L 9 and some depth, its file included."""
    home = folder / str(depth)
    home.mkdir()
    sets = [f"3.depth={depth}", f"3.prompts={PROMPT}", *SMALL]
    workflow = ROOT / "workflows" / "api" / "nuwa_demo.json"
    call = [
        sys.executable,
        "-m",
        "frameloom.headless",
        "run",
        str(workflow),
        "--device=cpu",
        f"--output={home}",
    ]
    call += [part for each in sets for part in ("--set", each)]
    process = subprocess.Popen(call, env=os.environ | {"HOME": str(home)}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(
            f"the command of depth {depth} failed with {status}; expected a video; run it by hand."
        )
    print(f"depth {depth}: {usage.ru_maxrss / 1024:.0f} MiB", flush=True)
    return usage.ru_maxrss / 1024


def report(alone: float, runs: list[Shared], peaks: dict[int, float]) -> str:
    """Render the figures as Markdown."""
    columns = "jobs, s|bound, s|of it reached|overhead a job, ms|Ray's start, s|model's start, s|same bits"
    lines = [
        "# Bench: a recursion on a Ray cluster",
        "",
        f"Written by `make bench` (`tools/bench_cluster.py`). Demo model, {TREE.frames} frames of 128 px: L "
        f"{TREE.length}, depth {TREE.depth}, {TREE.local_jobs} jobs behind the keyframes' own. CPU with "
        f"{os.cpu_count()} cores, one thread a worker. In one process without Ray, jobs take {alone:.1f} s. The bound "
        "is what the tree's schedule takes with as many workers, at the jobs' own mean duration.",
        "",
        f"| run | {columns.replace('|', ' | ')} |",
        "|---" * 8 + "|",
    ]
    for run in runs:
        figures, bound, same = run.figures, run.figures.bound or 0.0, "yes" if run.same else "**no**"
        lines.append(
            f"| {run.name} | {figures.seconds:.1f} | {bound:.1f} | {bound / figures.seconds:.2f} | "
            f"{figures.overhead * 1000:.0f} | {run.start[0]:.1f} | {run.start[1]:.1f} | {same} |"
        )
    two = next(run.figures for run in runs if run.figures.workers == 2)
    share_reached = (two.bound or 0.0) / two.seconds
    lines += [
        "",
        f"- Two workers reach {share_reached:.2f} of the bound (target >= 0.9).",
        "- Critical path against the sum of jobs, L 9, in jobs: "
        + "; ".join(
            f"depth {depth}: {depth} against {Tree(9, depth, TREE.prompts).local_jobs + 1}"
            for depth in (1, 2, 3)
        )
        + ".",
    ]
    jobs, span = LONG.local_jobs + 1, find_makespan(LONG, MANY)
    lines += [
        f"- Projection, not measured: {LONG.frames:,} frames (L {LONG.length}, depth {LONG.depth}) are {jobs} jobs, "
        f"{span} jobs' time on {MANY} workers: {1 - span / jobs:.0%} less than one after the other by the bound alone, "
        f"{1 - span / jobs / share_reached:.0%} at the share of it that two workers reached here. NUWA-XL reports "
        f"{PAPERS_SAVING:.0%}, on GPUs, for 1,024 frames.",
        f"- Peak of memory of the whole command, {Tree(9, 3, TREE.prompts).frames} frames over "
        f"{Tree(9, 2, TREE.prompts).frames}: {peaks[3]:.0f} MiB over {peaks[2]:.0f} MiB, {peaks[3] / peaks[2]:.3f} "
        "(target <= 1.2), 32 of them decoded at a time.",
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=6, help="of a job, before some are taken again")
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        work, keyframes = prepare(folder, steps)
        recursion, begin = Recursion(TREE, keyframes), time.perf_counter()
        run_jobs(recursion, work, lambda *_: None, lambda: None)
        alone = time.perf_counter() - begin
        wanted = recursion.frames
        runs = [
            share(f"{count} worker" + "s" * (count > 1), count, work, keyframes, wanted) for count in WORKERS
        ]
        runs.append(share("2 workers, one killed", 2, work, keyframes, wanted, kill=True))
        peaks = {depth: peak_memory(depth, Path(folder)) for depth in (2, 3)}
    text = report(alone, runs, peaks)
    print(text)
    REPORT.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
