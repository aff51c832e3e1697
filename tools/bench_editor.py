#!/usr/bin/env python3
"""Time ComfyUI's editor with our nodes in Chromium, and write docs/bench_editor.md.

usage: bench_editor.py [--rounds N] [--note TEXT] [--only PATTERN]

Needs a ComfyUI (tools/host.py) and Chromium. A graph of our nodes takes turns with one of core's nodes, which have as
many widgets each. The page is written anew behind each editor; of those that --only leaves out, it keeps the rows.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
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
MODES = ("classic", "vue")
DRAGS, MOVES = 5, 60
DRAGGED = {
    "Frameloom_MotionPath": {
        "kind": "keyframes",
        "frames": 256,
        "keyframes": "\n".join(f"{16 * key}: {key % 7 / 20} {key % 5 / 20}" for key in range(16)),
    },
    "Frameloom_LayoutFromText": {},
}
INTRODUCTION = f"""\
# Bench: ComfyUI's editor with our nodes

Written by `tools/bench_editor.py`, in Chromium without a GPU. Times are what the page's main thread works: other
work on the machine counts little. *own* is the editor that the newest ComfyUI comes with.

*Opening*: a graph of {NODES} of our nodes, those with an editor or a plan among them, takes turns with the same graph
without our scripts, and with one of as many core nodes, each with as many widgets; from the call to the second picture
after it. A ratio is the median of pairs with its 95 % bootstrap interval; 1.05 is aimed at. Core's nodes of the graph
have no texts of many lines, which are slow to open, and ours do: *without scripts* shows what that takes.

*Dragging*: a thing is dragged in an editor by {MOVES} moves of the mouse, one after the other; work for each of them,
median and range of {DRAGS} drags.
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
    await app.loadGraphData(workflow, true, true, null);
    await picture();
    await picture();
}"""
SCRIPTS = """(app, isOn) => {
    for (const each of app.extensions) {
        if (!each.name.startsWith("Frameloom.")) continue;
        each.whole ??= each.nodeCreated;
        each.nodeCreated = isOn ? each.whole : undefined;
    }
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


class Work:
    """What a page's main thread works, in milliseconds."""

    def __init__(self, editor: Editor) -> None:
        self.session = editor.page.context.new_cdp_session(editor.page)
        self.session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def done(self) -> float:
        """Return what it has worked so far."""
        metrics = self.session.send("Performance.getMetrics")["metrics"]
        return next(each["value"] * 1000 for each in metrics if each["name"] == "TaskDuration")


def opening(editor: Editor, rounds: int) -> dict[str, list[float]]:
    """Return milliseconds of each round, for our nodes, for these without our scripts, and for core's."""
    both = graphs(editor)
    turns = {"ours": both["ours"], "bare": both["ours"], "core": both["core"]}
    took: dict[str, list[float]] = {name: [] for name in turns}
    work = Work(editor)
    for turn in range(rounds + 1):
        for name in sorted(turns, reverse=bool(turn % 2)):
            editor.js(SCRIPTS, name != "bare")
            before = work.done()
            editor.js(OPEN, turns[name])
            if turn:  # the first opens what the second finds
                took[name].append(work.done() - before)
            editor.wait(1500)  # what it left to do
    editor.js(SCRIPTS, True)
    return took


def dragging(editor: Editor, kind: str) -> str:
    """Return milliseconds of each move while something is dragged in the middle of an editor."""
    editor.blank()
    node = editor.add(kind, **DRAGGED[kind])
    canvas = editor.companion(node).locator("canvas").first
    canvas.wait_for()
    work, mouse = Work(editor), editor.page.mouse
    took = []
    for _ in range(DRAGS):
        editor.wait(2000)  # what was left to do
        x, y = editor.point(canvas, (0.5, 0.5))
        mouse.move(x, y)
        mouse.down()
        before = work.done()
        for move in range(MOVES):
            mouse.move(x + move, y + move % 7)
            editor.js("() => new Promise(requestAnimationFrame)")
        took.append((work.done() - before) / MOVES)
        mouse.up()
        editor.undo()
    return f"{statistics.median(took):.1f} ({min(took):.1f} .. {max(took):.1f})"


@contextmanager
def editors(only: str) -> Iterator[Iterator[tuple[str, Editor]]]:
    """Yield the editor of each front end in each mode whose name fits, one after the other."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield _each(browser, only)
        browser.close()


def _each(browser: Any, only: str) -> Iterator[tuple[str, Editor]]:
    for version, folder in FRONT_ENDS.items():
        modes = [mode for mode in MODES if fnmatch(f"{version}, {mode}", only)]
        if not modes:
            continue
        options = front_end_options(folder)
        with (
            tempfile.TemporaryDirectory() as base,
            running_server(find_hosts()[0], Path(base), *options) as server,
        ):
            for mode in modes:
                with opened(browser, server, mode) as editor:
                    yield f"{version}, {mode}", editor


def _table(heads: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)]


def main() -> int:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--note", default="", help="what the page should say of the machine")
    parser.add_argument("--only", default="*", help="editors to measure, such as '1.58.1, vue'")
    given = parser.parse_args()
    opened, dragged = _kept() if given.only != "*" else ({}, {})
    with editors(given.only) as each:
        for name, editor in each:
            took = opening(editor, given.rounds)
            times = [f"{statistics.median(took[which]):.0f}" for which in ("ours", "bare", "core")]
            ratios = [ratio(took["ours"], took[which]) for which in ("bare", "core")]
            opened[name] = [name, *times, *ratios]
            dragged[name] = [name, *(dragging(editor, kind) for kind in DRAGGED)]
            print(*opened[name], *dragged[name][1:], flush=True)
            _write(opened, dragged, given.note)
    return 0


def _kept() -> list[dict[str, list[str]]]:
    """Return the rows of the page's tables, by editor."""
    tables = []
    for part in REPORT.read_text("utf-8").split("\n## ")[1:]:
        _, _, *rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| ")]
        tables.append({row[0]: row for row in rows})
    return tables


def _write(opened: dict[str, list[str]], dragged: dict[str, list[str]], note: str) -> None:
    heads = ["editor", "ours, ms", "without scripts, ms", "core's, ms", "ours / without", "ours / core's"]
    drags = ["editor", "path editor, ms a move", "box editor, ms a move"]
    names = [f"{version}, {mode}" for version in FRONT_ENDS for mode in MODES]
    rows = [[table[name] for name in names if name in table] for table in (opened, dragged)]
    tables = ["## Opening", "", *_table(heads, rows[0]), "", "## Dragging", "", *_table(drags, rows[1]), ""]
    REPORT.write_text("\n".join([INTRODUCTION, *([note, ""] if note else []), *tables]), "utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
