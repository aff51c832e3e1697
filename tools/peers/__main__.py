"""Time a step of a clip with Frameloom, AnimateDiff-Evolved and diffusers, and measure its memory: docs/bench_peers.md.

usage: python -m frameloom.tools.peers [--rounds N] [--only 'PATTERN' ...]

SD1.5's sizes with random weights, float32, on the CPU. Arms take turns. Ours, plain and AnimateDiff-Evolved's are in
one process of ComfyUI, share the base model's weights, and are asked by their nodes; diffusers' is in another. A
step's memory is the peak of what is resident over what was before it. What was measured is kept in
docs/bench_peers.json, so that cases can be measured one at a time: --only replaces those that match, such as
'16 x 256*'.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from frameloom.headless.weights.networks import build_unet
from frameloom.models.motion.checkpoint import MotionWeights, pack_motion
from frameloom.models.motion.module import MotionModel, motion_size
from frameloom.models.network.sizes import SD15
from frameloom.models.video.schedules import ANIMATEDIFF
from frameloom.tools.bench import ratio
from frameloom.tools.host import Host, find_hosts, peers_folder
from safetensors.torch import save_file
from torch import nn

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, FIGURES = DOCS / "bench_peers.md", DOCS / "bench_peers.json"
HERE = Path(__file__).parent
PEER = "ComfyUI-AnimateDiff-Evolved"
OURS, THEIRS = "Frameloom", "AnimateDiff-Evolved"
Figures = dict[str, list[dict[str, float]]]  # what each arm's steps took
INTRODUCTION = """\
# Bench: a step beside AnimateDiff-Evolved and diffusers

Written by `make bench-peers`, which needs a ComfyUI (`tools/host.py`) and AnimateDiff-Evolved; see `tools/peers`.
SD1.5's sizes with random weights, one step of Euler's, on a CPU, float32. Arms take turns, each with as many threads
as a case's *cores*. *Peer* is AnimateDiff-Evolved: times over its are medians of pairs, with their 95 % bootstrap
intervals. A peak is what was resident in a step over what was so before it; at 64 px a step fits into what the
allocator kept, so peaks say nothing there. *Pictures at once* are what the network was asked about in one call:
ComfyUI asks the two sides of guidance together where its estimate fits into what is free, else one by one. All arms
of a case find the same memory *free*: what is more is held by a ballast. ComfyUI's attention on a CPU works in slices
as large as what is free allows, so peaks grow with it: a whole clip of 16 x 384 had 5,398 MiB with all memory free, and
1,808 with 4 frames at once. *Apart* is how far latents are from ours, by the norm; with a v1 module the peer takes the
norms of transformers over the clip, too, which the original does not, and for AnimateLCM's it chooses another schedule.
ComfyUI's arms take its own attention, by parts, as it does on a CPU; diffusers' takes torch's, in another build of
torch (ours). Times of another machine, or of one that does other work, are not comparable; ratios are. The arm that
goes first in a series pays for memory that the process fetches anew: at 8 x 512 ours, whole, was behind by 8 and 9 in
100 as the first of its round, and ahead by 5 as the last. So a single round says little of an arm that is not in parts.
"""
HEADS = [
    "arm",
    "rounds",
    "s, median (least .. most)",
    "over the peer's",
    "peak, MiB",
    "over the peer's",
    "pictures at once",
    "apart",
]
# With these an allocator keeps what is freed, which would hide the memory of the next step.
_MALLOC = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


@dataclass(frozen=True)
class Case:
    """One size.

    Attributes:
        frames: frames of the clip.
        pixels: side of the picture.
        cfg: guidance; at 1 one condition is asked, else two.
        module: kind of motion module.
        window: frames of a context window; 0: there are none.
        at_once: numbers of frames at once, of further arms of ours.
        lora: True for a motion LoRA on the module.
        free_noise: True for FreeNoise, which peers don't have in one piece.
        alone: True for no arms but ours in parts.
        few: True for no arms but ours and AnimateDiff-Evolved's.
        free: GiB that every arm finds free.
    """

    frames: int
    pixels: int
    cfg: float = 7.0
    module: str = "v3"
    window: int = 0
    at_once: tuple[int, ...] = ()
    lora: bool = False
    free_noise: bool = False
    alone: bool = False
    few: bool = False
    free: int = 5

    @property
    def name(self) -> str:
        """Its name in tables and for ``--only``."""
        more = [f"cfg {self.cfg:g}", self.module]
        more += [f"windows of {self.window}"] if self.window else []
        more += ["motion LoRA"] if self.lora else []
        more += ["FreeNoise"] if self.free_noise else []
        return ", ".join([f"{self.frames} x {self.pixels} px", *more])

    def arms(self) -> dict[str, dict[str, Any]]:
        """Return the request of each arm, by its name."""
        asked = {
            "frames": self.frames, "pixels": self.pixels, "cfg": self.cfg, "window": self.window, "lora": self.lora,
            "free_noise": self.free_noise, "free": self.free, "module": f"{self.module}.safetensors",
        }  # fmt: skip
        chunks = {
            f"{OURS}, {most} at once": {**asked, "arm": "ours", "at_once": most} for most in self.at_once
        }
        if self.alone:
            return chunks
        arms = {OURS: {**asked, "arm": "ours"}, **chunks, THEIRS: {**asked, "arm": "evolved"}}
        if not self.few:
            arms["plain"] = {**asked, "arm": "plain"}
        if not self.few and not self.window and not self.lora:  # of which diffusers has no equal
            arms["diffusers"] = {**asked, "arm": "diffusers"}
        return arms


CASES = [
    *(
        Case(frames, pixels, at_once=(4, 2) if frames == 16 else (4,))
        for pixels in (64, 256)
        for frames in (8, 16, 32)
    ),
    *(Case(frames, 384, at_once=(4,), few=True, free=8) for frames in (8, 16)),
    *(
        Case(frames, pixels, cfg=1.0, at_once=(4,), few=True, free=8)  # both sides would take twice the hours
        for frames, pixels in ((32, 384), (8, 512), (16, 512))
    ),
    Case(32, 512, cfg=1.0, at_once=(4,), alone=True),  # whole, it asks for more than 16 GiB
    Case(16, 256, cfg=1.0),
    Case(32, 256, window=16, at_once=(4,)),
    Case(64, 256, at_once=(4, 2), free_noise=True, alone=True),
    *(Case(16, 64, module=module) for module in ("v1", "v2", "animatelcm")),
    Case(16, 64, lora=True),
]


class Worker:
    """A process that makes steps when asked."""

    def __init__(self, command: Sequence[str | Path], folder: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in _MALLOC}
        self._log = (folder / f"{Path(str(command[1])).stem}.log").open("w")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
        )

    def ask(self, request: Mapping[str, Any]) -> dict[str, float]:
        """Return what a step took.

        Raises:
            RuntimeError: it failed.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            said = Path(self._log.name).read_text()[-4000:]
            raise RuntimeError(f"a worker ended with {self._process.wait()}: {said}")
        return json.loads(line)

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._log.close()


def write_weights(folder: Path) -> None:
    """Write random weights of SD1.5's sizes as a base directory of ComfyUI; float16, as people's files are."""
    torch.manual_seed(0)
    _save(build_unet(SD15.unet).state_dict(), folder / "models" / "diffusion_models" / "sd15.safetensors")
    for name in ("v1", "v2", "v3", "animatelcm"):
        size = motion_size(SD15.unet, middle=name == "v2")
        motion = MotionModel(size)
        for transformer in motion.modules():
            if isinstance(projection := getattr(transformer, "proj_out", None), nn.Linear):
                nn.init.normal_(projection.weight, std=0.02)  # else it starts as nothing
        weights = MotionWeights(f"{name}.safetensors", name, size, motion.state_dict(), ANIMATEDIFF)
        state, _ = pack_motion(weights)
        if name == "v1":  # known by its shorter encoding
            state = {key: value[:, :24] if key.endswith(".pe") else value for key, value in state.items()}
        if name == "animatelcm":  # known by none
            state = {key: value for key, value in state.items() if not key.endswith(".pe")}
        _save(state, folder / "models" / "animatediff_models" / weights.name)
    _save(random_lora(state), folder / "models" / "animatediff_motion_lora" / "lora.safetensors")


def random_lora(state: Mapping[str, torch.Tensor], rank: int = 32) -> dict[str, torch.Tensor]:
    """Return a motion LoRA for a module's attention, in AnimateDiff's keys."""
    lora = {}
    for key, weight in state.items():
        layer, _, name = key.removesuffix(".weight").rpartition(".attention_blocks.")
        number, _, projection = name.partition(".")
        if projection not in ("to_q", "to_k", "to_v", "to_out.0"):
            continue
        stem = f"{layer}.attention_blocks.{number}.processor.{projection.removesuffix('.0')}_lora"
        lora[f"{stem}.down.weight"] = torch.randn(rank, weight.shape[1]) / weight.shape[1] ** 0.5
        lora[f"{stem}.up.weight"] = torch.randn(weight.shape[0], rank) * 0.01
    return lora


def _save(state: Mapping[str, torch.Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.half().contiguous() for key, value in state.items()}, path)


@contextmanager
def workers(host: Host) -> Iterator[Any]:
    """Yield a function that returns the process of an arm, which is started when it is first asked for."""
    peer = peers_folder() / PEER
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ProcessPoolExecutor(1) as other:  # whose memory is free again when it has ended
            other.submit(write_weights, folder).result()
        if (peer / "__init__.py").exists():  # it may write beside its files
            shutil.copytree(peer, folder / PEER, ignore=shutil.ignore_patterns(".git"))
        started: dict[tuple[str, str], Worker] = {}

        def worker(arm: str, module: str) -> Worker:
            is_diffusers = arm == "diffusers"
            key = ("diffusers", module) if is_diffusers else ("comfyui", "")
            if key not in started:
                for other in [each for each in started if is_diffusers and each[0] == "diffusers"]:
                    started.pop(other).end()  # two of them have no room
                unet = folder / "models" / "diffusion_models" / "sd15.safetensors"
                motion = folder / "models" / "animatediff_models" / module
                command = (
                    [sys.executable, "-m", "frameloom.tools.peers.in_diffusers", unet, motion]
                    if is_diffusers
                    else [host.python, HERE / "in_comfyui.py", host.tree, folder, folder / PEER]
                )
                started[key] = Worker(command, folder)
            return started[key]

        try:
            yield worker
        finally:
            for each in started.values():
                each.end()


def measure(case: Case, worker: Any, rounds: int) -> Figures:
    """Let the arms take turns, after a step each of one small picture."""
    arms = list(case.arms().items())
    for _, request in arms:
        worker(request["arm"], request["module"]).ask({**request, "frames": 1, "pixels": 64})
    figures: Figures = {name: [] for name, _ in arms}
    for turn in range(rounds):
        shift = turn % len(arms)
        for name, request in arms[shift:] + arms[:shift]:
            found = worker(request["arm"], request["module"]).ask({**request, "first": name == OURS})
            print(f"{case.name}: round {turn + 1}/{rounds} {name}: {found}", flush=True)
            figures[name].append(
                {key: float(f"{value:.4g}") for key, value in {**found, "free": case.free}.items()}
            )
    return figures


def table(case: str, figures: Figures) -> list[str]:
    """Render a case's figures as Markdown."""
    theirs = figures.get(THEIRS, [])
    base = statistics.median(each["peak"] for each in theirs) if theirs else 0
    rows = []
    for name, steps in figures.items():
        seconds = [each["seconds"] for each in steps]
        peak = statistics.median(each["peak"] for each in steps)
        apart = [each["apart"] for each in steps if "apart" in each and name != "plain"]
        at_once = sorted({int(each["at_once"]) for each in steps if "at_once" in each})
        rows.append(
            [
                name,
                str(len(steps)),
                f"{statistics.median(seconds):.2f} ({min(seconds):.2f} .. {max(seconds):.2f})",
                ratio(seconds, [each["seconds"] for each in theirs]) if theirs else "",
                f"{peak:.0f}",
                f"{peak / base:.2f}" if theirs else "",
                " or ".join(map(str, at_once)),
                f"{max(apart):.0e}" if apart else "",
            ]
        )
    given = next(iter(figures.values()))[0]
    free = f"{given['free']:.0f} GiB" if "free" in given else "what there was"
    lines = [f"| {' | '.join(row)} |" for row in (HEADS, ["---"] * len(HEADS), *rows)]
    return [f"## {case}", "", f"Cores: {given['cores']:.0f}. Free: {free}.", "", *lines, ""]


def page(kept: Mapping[str, Figures]) -> str:
    """Render all that was measured."""
    names = [case.name for case in CASES]
    missing = [name for name in names if name not in kept]
    return "\n".join(
        [
            INTRODUCTION,
            *(line for name in names if name in kept for line in table(name, kept[name])),
            *([f"Not measured yet: {'; '.join(missing)}.", ""] if missing else []),
        ]
    )


def main() -> int:
    """Measure, keep the figures and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=["*"], help="patterns of cases")
    arguments = parser.parse_args()
    hosts = find_hosts()
    if not hosts:
        print("bench-peers: found no ComfyUI; python tools/host.py install --from PATH_OR_URL")
        return 1
    kept: dict[str, Any] = json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}
    chosen = [case for case in CASES if any(fnmatch(case.name, pattern) for pattern in arguments.only)]
    with workers(hosts[0]) as worker:
        for case in chosen:
            kept[case.name] = measure(case, worker, arguments.rounds)
            FIGURES.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
            PAGE.write_text(page(kept), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
