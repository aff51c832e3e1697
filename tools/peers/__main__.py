"""Time a step of a clip with Frameloom, AnimateDiff-Evolved and diffusers, and measure its memory: docs/bench_peers.md.

usage: python -m frameloom.tools.peers [--rounds N] [--only 'PATTERN' ...] [--beside-work]

SD1.5's sizes with random weights, float32, on the CPU. Arms take turns. Ours, plain and AnimateDiff-Evolved's are in
one process of ComfyUI, share the base model's weights, and are asked by their nodes; diffusers' is in another. Cases
of families need Advanced-ControlNet, too. A step's memory is the peak of what is resident over what was before it. What
was measured is kept in docs/bench_peers.json, so that cases can be measured one at a time: --only replaces those that
match, such as '16 x 256*'. --beside-work is for a machine that does other work, too.
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

from frameloom.tools.bench import ratio
from frameloom.tools.host import Host, find_hosts, peers_folder
from frameloom.tools.peers.families import CAMERA, CONTROL, I2V, PIA, RAVE, SPARSE, TWO, VIDTOME
from frameloom.tools.peers.weights import write_weights

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, FIGURES = DOCS / "bench_peers.md", DOCS / "bench_peers.json"
HERE = Path(__file__).parent
PEERS = ("ComfyUI-AnimateDiff-Evolved", "ComfyUI-Advanced-ControlNet")
OURS, THEIRS, CONTROLS = "Frameloom", "AnimateDiff-Evolved", "Advanced-ControlNet"
SHORT = 16  # frames of a clip beside which a longer one of ours stands
BESIDE = (THEIRS, CONTROLS, f"{OURS}, {SHORT} frames")  # arms that the others of a case are held against
Figures = dict[str, list[dict[str, float]]]  # what each arm's steps took
INTRODUCTION = """\
# Bench: a step beside AnimateDiff-Evolved and diffusers

Written by `make bench-peers`, which needs a ComfyUI (`tools/host.py`), AnimateDiff-Evolved, and for families
Advanced-ControlNet; see `tools/peers`.
SD1.5's sizes with random weights, one step of Euler's, on a CPU, float32. Arms take turns, each with as many threads
as a case's *cores*. *Peer* is AnimateDiff-Evolved: times over its are medians of pairs, with their 95 % bootstrap
intervals. A peak is what was resident in a step over what was so before it; at 64 px a step fits into what the
allocator kept, so peaks say nothing there. *Pictures at once* are what the network was asked about in one call:
ComfyUI asks the two sides of guidance together where its estimate fits into what is free, else one by one. All arms
of a case find the same memory *free*: what is more is held by a ballast. ComfyUI's attention on a CPU works in slices
as large as what is free allows, so peaks grow with it: a whole clip of 16 x 384 had 5,398 MiB with all memory free, and
1,808 with 4 frames at once. *Apart* is how far latents are from ours, by the norm; with a v1 module the peer takes the
norms of transformers over the clip, too, which the original does not. So it does with PIA's, and with AnimateLCM's,
which it takes for v1's. For these it chooses another schedule, too; AnimateLCM-I2V is sampled on the base model's own.
ComfyUI's arms take its own attention, by parts, as it does on a CPU; diffusers' takes torch's, in another build of
torch (ours). Times of another machine, or of one that does other work, are not comparable; ratios are. The arm that
goes first in a series pays for memory that the process fetches anew: at 8 x 512 ours, whole, was behind by 8 and 9 in
100 as the first of its round, and ahead by 5 as the last. So a single round says little of an arm that is not in parts.
Cases that end in a family's name have its picture or control, by our nodes and by the peer's. Controls stand alone,
without a motion module, and *Advanced-ControlNet* is their peer. RAVE and VidToMe have none: 64 frames stand over 16.
*Beside other work* (a load of 2 to 31 on two cores) seconds are those that the process ran, and peaks are of its own
memory, without its weights, which lay in mapped files of float32.
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
        free: GiB that every arm finds free; 0: what there is.
        family: picture, control or edit of a video, of ``families``; empty: none.
        longer: True for no arms but ours, and ours of a clip of 16 frames.
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
    family: str = ""
    longer: bool = False

    @property
    def name(self) -> str:
        """Its name in tables and for ``--only``."""
        more = [f"cfg {self.cfg:g}", *([self.module] if self.module else [])]
        more += [f"windows of {self.window}"] if self.window else []
        more += ["motion LoRA"] if self.lora else []
        more += ["FreeNoise"] if self.free_noise else []
        more += [self.family] if self.family else []
        return ", ".join([f"{self.frames} x {self.pixels} px", *more])

    def arms(self) -> dict[str, dict[str, Any]]:
        """Return the request of each arm, by its name."""
        asked = {
            "frames": self.frames, "pixels": self.pixels, "cfg": self.cfg, "window": self.window, "lora": self.lora,
            "free_noise": self.free_noise, "free": self.free, "module": f"{self.module}.safetensors",
            "family": self.family,
        }  # fmt: skip
        if self.longer:
            both = {f"{OURS}, {frames} frames": frames for frames in (self.frames, SHORT)}
            return {name: {**asked, "arm": "ours", "frames": frames} for name, frames in both.items()}
        chunks = {
            f"{OURS}, {most} at once": {**asked, "arm": "ours", "at_once": most} for most in self.at_once
        }
        if self.alone:
            return chunks
        theirs = CONTROLS if self.family in (SPARSE, CONTROL) else THEIRS
        arms = {OURS: {**asked, "arm": "ours"}, **chunks, theirs: {**asked, "arm": "evolved"}}
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
    Case(32, 256, cfg=1.0, window=16, at_once=(4,), few=True),
    Case(64, 256, at_once=(4, 2), free_noise=True, alone=True),
    *(Case(16, 64, module=module) for module in ("v1", "v2", "animatelcm")),
    Case(16, 64, lora=True),
    *(
        Case(16, 256, cfg=1.0, module=module, few=True, free=0, family=family)
        for module, family in (
            ("pia", PIA), ("animatelcm_i2v", I2V), ("v3", CAMERA), ("v3", TWO), ("", SPARSE), ("", CONTROL),
        )
    ),
    *(Case(64, 128, cfg=1.0, module="", free=0, family=family, longer=True) for family in (RAVE, VIDTOME)),
]  # fmt: skip


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
            code = self._process.wait()
            raise RuntimeError(f"a worker ended with {code}: {Path(self._log.name).read_text()[-4000:]}")
        return json.loads(line)

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._log.close()


@contextmanager
def workers(host: Host, cases: Sequence[Case]) -> Iterator[Any]:
    """Yield a function that returns the process of a request, which is started when it is first asked for."""
    families = {case.family for case in cases} - {""}
    peers = [peers_folder() / name for name in (PEERS if families else PEERS[:1])]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        modules = {case.module for case in cases} - {""}
        with ProcessPoolExecutor(1) as other:  # whose memory is free again when it has ended
            other.submit(write_weights, folder, modules, families).result()
        for peer in peers:
            if (peer / "__init__.py").exists():  # it may write beside its files
                shutil.copytree(peer, folder / peer.name, ignore=shutil.ignore_patterns(".git"))
        started: dict[tuple[str, str], Worker] = {}

        def worker(request: Mapping[str, Any]) -> Worker:
            is_diffusers = request["arm"] == "diffusers"
            kind, of = ("diffusers", "module") if is_diffusers else ("comfyui", "family")
            key = kind, request[of]
            if key not in started:
                for other in [each for each in started if each[0] == kind]:
                    started.pop(other).end()  # two of them have no room
                unet = folder / "models" / "diffusion_models" / "sd15.safetensors"
                motion = folder / "models" / "animatediff_models" / request["module"]
                command: list[str | Path] = (
                    [sys.executable, "-m", "frameloom.tools.peers.in_diffusers", unet, motion]
                    if is_diffusers
                    else [host.python, HERE / "in_comfyui.py", host.tree, folder]
                )
                if not is_diffusers:
                    command += [folder / peer.name for peer in peers]
                started[key] = Worker(command, folder)
            return started[key]

        try:
            yield worker
        finally:
            for each in started.values():
                each.end()


def measure(case: Case, worker: Any, rounds: int, *, beside_work: bool = False) -> Figures:
    """Let the arms take turns, after a step each of two small pictures."""
    arms = [(name, {**request, "beside_work": beside_work}) for name, request in case.arms().items()]
    for _, request in arms:
        worker(request).ask({**request, "frames": 2, "pixels": 64})
    figures: Figures = {name: [] for name, _ in arms}
    about = {"free": case.free, "beside_work": beside_work}
    for turn in range(rounds):
        shift = turn % len(arms)
        for name, request in arms[shift:] + arms[:shift]:
            found = worker(request).ask({**request, "first": name == OURS})
            print(f"{case.name}: round {turn + 1}/{rounds} {name}: {found}", flush=True)
            figures[name].append({key: float(f"{value:.4g}") for key, value in {**found, **about}.items()})
    return figures


def table(case: str, figures: Figures) -> list[str]:
    """Render a case's figures as Markdown."""
    theirs = next((figures[name] for name in BESIDE if name in figures), [])
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
    free = f"{given['free']:.0f} GiB" if given.get("free") else "what there was"
    lines = [f"| {' | '.join(row)} |" for row in (HEADS, ["---"] * len(HEADS), *rows)]
    beside = " Beside other work." if given.get("beside_work") else ""
    return [f"## {case}", "", f"Cores: {given['cores']:.0f}. Free: {free}.{beside}", "", *lines, ""]


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
    parser.add_argument("--beside-work", action="store_true", help="count the process's own time and memory")
    arguments = parser.parse_args()
    hosts = find_hosts()
    if not hosts:
        print("bench-peers: found no ComfyUI; python tools/host.py install --from PATH_OR_URL")
        return 1
    kept: dict[str, Any] = json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}
    chosen = [case for case in CASES if any(fnmatch(case.name, pattern) for pattern in arguments.only)]
    with workers(hosts[0], chosen) as worker:
        for case in chosen:
            kept[case.name] = measure(case, worker, arguments.rounds, beside_work=arguments.beside_work)
            FIGURES.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
            PAGE.write_text(page(kept), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
