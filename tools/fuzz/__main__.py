"""Try mutated workflows and damaged files on the headless runner.

    python -m frameloom.tools.fuzz                       2,000 workflows and 1,000 files, the same ones every time
    python -m frameloom.tools.fuzz --graphs 100 --files 0
    python -m frameloom.tools.fuzz --case graph-17       one of them again, shown

Each case is the command itself in a process of its own, with folders of its own. It may run, or be refused in words. It
must not end in an exception that is not ours, hang, pass on NaN or nothing, or leave half a file. What does is kept
below build/fuzz: case.json, the workflow or file, and all that was said. Exit code 1: there was one.

Not for Windows: a case is a fork. No ComfyUI is needed.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from frameloom.tools.fuzz import damage, files, graphs
from frameloom.tools.fuzz.case import Case, Outcome, Run
from frameloom.tools.fuzz.verdict import BAD, GOOD, Verdict, judge
from frameloom.tools.schemas import schemas

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "fuzz"
SEED = 2026
UNCHANGED, GRAPHS, FILES = 38, 2000, 1000
LIMIT, GRACE = 40.0, 20.0
SHOWN = 4  # cases of one fault that are named
# A run of these makes what is spoiled later: a clip in three forms, jobs of a recursion, a checkpoint of training.
CLIP_NODES = {
    "w": files._node("SaveAnimatedWEBP", images=["8", 0], filename_prefix="clip", fps=8.0, lossless=False, quality=80,
                     method="default"),
    "l": files._node("SaveLatent", samples=["7", 0], filename_prefix="clip"),
}  # fmt: skip


class Maker:
    """Makes cases by their names."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._graphs = graphs.cheap_graphs()
        # Those that want a user's files are refused for that alone, so they come less often.
        bundled = [name for name in sorted(self._graphs) if not name.endswith(("_sd15", "_llm"))]
        self._bases = bundled * 3 + sorted(set(self._graphs) - set(bundled))
        self._subjects = files.subjects(self._graphs, _make_good_files(self._graphs))
        self._others = {name: each.good[0] for name, each in self._subjects.items()}
        self._turns = [name for name, each in self._subjects.items() for _ in range(each.share)]

    def make(self, name: str, folder: Path) -> Case:
        """Put a case's files into a folder, and return the case."""
        kind, _, number = name.partition("-")
        rng = random.Random(f"{self._seed} {name}")
        for each in ("input", "output", "models", "home"):
            (folder / each).mkdir(parents=True)
        return (self._file if kind == "file" else self._graph)(name, int(number), rng, folder)

    def _graph(self, name: str, number: int, rng: random.Random, folder: Path) -> Case:
        bases = sorted(self._graphs) if name.startswith("unchanged") else self._bases
        base = bases[number % len(bases)]
        text, what, settings = json.dumps(self._graphs[base]), "unchanged", []
        if name.startswith("graph"):
            text, what = graphs.mutate(rng, self._graphs[base])
            settings = list(graphs.settings(rng, self._graphs[base]))
        shutil.copy(files.PICTURE, folder / "input")
        path = folder / "workflow.json"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        shown = " ".join(settings)[:80]
        return Case(name, f"{base}: {what} {shown}".rstrip(), ["run", str(path), *settings])

    def _file(self, name: str, number: int, rng: random.Random, folder: Path) -> Case:
        subject = self._turns[number % len(self._turns)]
        data, what = damage.spoil(rng, rng.choice(self._subjects[subject].good), self._others)
        reading = self._subjects[subject].place(rng, folder, data)
        return Case(name, f"{subject}: {what}", reading.command, reading.bundled)


def _make_good_files(cheap: dict[str, graphs.Graph]) -> Path:
    """Run the command on right input, and return the folder of what it made."""
    made = BUILD / "good"
    shutil.rmtree(made, ignore_errors=True)
    (made / "home").mkdir(parents=True)
    (made / "config.toml").write_text(files.CONFIG, "utf-8")
    for name, graph in (("clip", cheap["animatediff_demo"] | CLIP_NODES), ("jobs", cheap["nuwa_demo"])):
        _run_good(Case(name, "good", files._run(made, graph)), made)
    _run_good(Case("training", "good", ["train", str(made / "config.toml")]), made)
    output = made / "output"
    for ending in ("webp", "latent", "mp4"):
        next(output.rglob(f"*.{ending}")).rename(made / f"clip.{ending}")
    (output / "run").rename(made / "run")
    return made


def _run_good(case: Case, folder: Path) -> None:
    outcome = next(finished([(case, folder)], 1))[2]
    if outcome.code:
        sys.exit(f"fuzz: right input ({case.name}) fails:\n{(folder / 'err.txt').read_text('utf-8')}")


def finished(cases: Iterator[tuple[Case, Path]] | list, workers: int) -> Iterator[tuple[Case, Path, Outcome]]:
    """Run cases, some at a time, and yield each when it has ended."""
    waiting, running = iter(cases), []
    while True:
        while len(running) < workers and (following := next(waiting, None)):
            running.append(Run(*following))
        if not running:
            return
        for run in list(running):
            outcome = run.poll(LIMIT, GRACE)
            if outcome is not None:
                running.remove(run)
                yield run.case, run.folder, outcome
        time.sleep(0.005)


def fuzz(names: list[str], maker: Maker, workers: int) -> int:
    """Run cases by name, keep what fails, print a table, and return the exit code."""
    work = BUILD / "work"
    shutil.rmtree(work, ignore_errors=True)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    faults: dict[tuple[str, str], list[Case]] = defaultdict(list)
    started, slowest = time.monotonic(), (0.0, "")
    made = ((maker.make(name, work / name), work / name) for name in names)
    for case, folder, outcome in finished(made, workers):
        verdict = judge(folder, outcome)
        counts[case.name.partition("-")[0]][verdict.kind] += 1
        slowest = max(slowest, (outcome.seconds, case.name))
        if verdict.kind in BAD:
            faults[verdict.kind, verdict.where].append(case)
            _keep(case, folder, verdict)
            print(f"{case.name}: {verdict.kind}: {verdict.where}: {case.what}", flush=True)
        shutil.rmtree(folder)
    print(f"\n{_table(counts)}\n")
    print(f"{time.monotonic() - started:.0f} seconds, the longest case {slowest[0]:.1f} ({slowest[1]})")
    for (kind, where), cases in sorted(faults.items(), key=lambda item: -len(item[1])):
        print(f"{len(cases):4} {kind}: {where}: {', '.join(each.name for each in cases[:SHOWN])}")
    return int(bool(faults))


def _keep(case: Case, folder: Path, verdict: Verdict) -> None:
    kept = BUILD / case.name
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(folder, kept, symlinks=True)
    facts = {"case": case.name, "what": case.what, "command": case.command} | asdict(verdict)
    (kept / "case.json").write_text(json.dumps(facts, indent=1), "utf-8")


def _table(counts: dict[str, Counter[str]]) -> str:
    kinds = [kind for kind in (*GOOD, *BAD) if any(kind in each for each in counts.values()) or kind in BAD]
    rows = [("", *counts)] + [(kind, *(str(each[kind]) for each in counts.values())) for kind in kinds]
    return "\n".join(f"{row[0]:24}" + "".join(f"{cell:>8}" for cell in row[1:]) for row in rows)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--unchanged", type=int, default=UNCHANGED, help=f"right workflows, first ({UNCHANGED})"
    )
    parser.add_argument("--graphs", type=int, default=GRAPHS, help=f"mutated workflows ({GRAPHS})")
    parser.add_argument("--files", type=int, default=FILES, help=f"damaged files ({FILES})")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of everything that is chosen ({SEED})")
    parser.add_argument("--workers", type=int, default=1, help="cases at a time (1)")
    parser.add_argument("--case", help="one case alone, by its name; what it leaves is kept")
    options = parser.parse_args()
    schemas()  # imports every node here, so that no case does it again
    maker = Maker(options.seed)
    if options.case:
        return _again(maker, options.case)
    numbers = {"unchanged": options.unchanged, "graph": options.graphs, "file": options.files}
    names = [f"{kind}-{number}" for kind, count in numbers.items() for number in range(count)]
    return fuzz(names, maker, options.workers)


def _again(maker: Maker, name: str) -> int:
    folder = BUILD / "again"
    shutil.rmtree(folder, ignore_errors=True)
    case = maker.make(name, folder)
    outcome = next(finished([(case, folder)], 1))[2]
    verdict = judge(folder, outcome)
    said = [(folder / name).read_text("utf-8", "replace") for name in ("out.txt", "err.txt")]
    print(case.what, *said, sep="\n")
    print(
        f"{verdict.kind} {verdict.where}, exit code {outcome.code}, {outcome.seconds:.1f} seconds; it lies in {folder}"
    )
    return int(verdict.kind in BAD)


if __name__ == "__main__":
    sys.exit(main())
