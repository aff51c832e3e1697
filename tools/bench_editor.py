#!/usr/bin/env python3
"""Time ComfyUI's editor with our nodes in Chromium, and write docs/bench_editor.md.

usage: bench_editor.py [--rounds N]

Needs a ComfyUI (tools/host.py) and Chromium. A graph of our nodes takes turns with one of core's nodes, which have as
many widgets each.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from frameloom.tests.browser.conftest import CHROMIUM, FLAGS, FRONT_ENDS
from frameloom.tests.browser.editor import Editor, front_end_options, opened
from frameloom.tests.host.server import running_server
from frameloom.tools.bench import ratio
from frameloom.tools.host import find_hosts
from playwright.sync_api import sync_playwright

REPORT = Path(__file__).resolve().parent.parent / "docs" / "bench_editor.md"
NODES, APART = 40, 420  # of a graph; pixels from one node to the next
COLUMNS = 8
INTRODUCTION = f"""\
# Bench: ComfyUI's editor with our nodes

Written by `tools/bench_editor.py`, in Chromium without a GPU. *Opening*: a graph of {NODES} of our nodes, those with
an editor or a plan among them, takes turns with one of as many core nodes, each with as many widgets; from the call to
the second picture after it. The ratio is the median of pairs with its 95 % bootstrap interval; 1.05 is aimed at. *own*
is the editor that the newest ComfyUI comes with.
"""
BUILD = """(app, { kinds, apart, columns }) => {
    const graph = new app.graph.constructor();
    kinds.forEach((kind, place) => {
        const node = LiteGraph.createNode(kind);
        node.pos = [(place % columns) * apart, Math.floor(place / columns) * apart];
        graph.add(node);
    });
    return JSON.parse(JSON.stringify(graph.serialize()));
}"""
OPEN = """async (app, workflow) => {
    const picture = () => new Promise(requestAnimationFrame);
    const started = performance.now();
    await app.loadGraphData(workflow, true, true, null);
    await picture();
    await picture();
    return performance.now() - started;
}"""
COUNTS = """() => Object.fromEntries(Object.entries(LiteGraph.registered_node_types).map(([kind, type]) => {
    try { return [kind, LiteGraph.createNode(kind).widgets?.filter((each) => each.serialize !== false).length ?? 0]; }
    catch { return [kind, -1]; }
}))"""


def graphs(editor: Editor) -> dict[str, Any]:
    """Return a workflow of our nodes and one of core's that have as many widgets."""
    about = editor.server.get("/object_info")
    counts = {kind: count for kind, count in editor.js(COUNTS).items() if kind in about and count >= 0}
    ours = sorted(kind for kind in counts if kind.startswith("Frameloom_"))[:NODES]
    core = sorted(kind for kind in counts if about[kind]["python_module"] == "nodes")
    like = [min(core, key=lambda kind: (abs(counts[kind] - counts[mine]), kind)) for mine in ours]
    given = {"apart": APART, "columns": COLUMNS}
    return {
        name: editor.js(BUILD, {"kinds": kinds, **given}) for name, kinds in (("ours", ours), ("core", like))
    }


def opening(editor: Editor, rounds: int) -> tuple[list[float], list[float]]:
    """Return milliseconds of each round, for our nodes and for core's."""
    both = graphs(editor)
    took: dict[str, list[float]] = {name: [] for name in both}
    for turn in range(rounds + 1):
        for name in sorted(both, reverse=bool(turn % 2)):
            milliseconds = editor.js(OPEN, both[name])
            editor.wait(1500)  # what it left to do
            if turn:  # the first opens what the second finds
                took[name].append(milliseconds)
    return took["ours"], took["core"]


@contextmanager
def editors() -> Iterator[Iterator[tuple[str, Editor]]]:
    """Yield the editor of each front end in each mode, one after the other."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield _each(browser)
        browser.close()


def _each(browser: Any) -> Iterator[tuple[str, Editor]]:
    for version, folder in FRONT_ENDS.items():
        options = front_end_options(folder)
        with (
            tempfile.TemporaryDirectory() as base,
            running_server(find_hosts()[0], Path(base), *options) as server,
        ):
            for mode in ("classic", "vue"):
                with opened(browser, server, mode) as editor:
                    yield f"{version}, {mode}", editor


def main() -> int:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    rows = []
    with editors() as each:
        for name, editor in each:
            ours, core = opening(editor, rounds)
            row = [
                name,
                f"{statistics.median(ours):.0f}",
                f"{statistics.median(core):.0f}",
                ratio(ours, core),
            ]
            print(*row, flush=True)
            rows.append(f"| {' | '.join(row)} |")
    heads = ["| editor | ours, ms | core's, ms | ratio |", "| --- | --- | --- | --- |"]
    REPORT.write_text("\n".join([INTRODUCTION, "## Opening", "", *heads, *rows, ""]), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
