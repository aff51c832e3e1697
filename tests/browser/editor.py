"""ComfyUI's editor in a real browser, as a user has it: a mouse, keys, and what the graph says of it."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from frameloom.tests.host.server import PACK_FOLDER, Server
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, expect

EXTENSION = f"/extensions/{PACK_FOLDER}"
VIEW = {"width": 1440, "height": 900}
READY = "() => window.comfyAPI?.app?.app?.graph && window.comfyAPI.app.app.extensionManager?.workflow?.activeWorkflow"
TICK = 150  # milliseconds in which a companion has looked at its widgets again, at ten looks a second
ROUTES = "/api/frameloom/"  # what our scripts ask the server
# The page's own clock: where others work, too, it may do nothing for as long as a test sleeps.
PASSED = """(milliseconds) => new Promise((done) => {
    setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), milliseconds);
})"""
PATIENCE = 180_000  # milliseconds that anything may take; where others work, too, much does
BLANK = {
    "last_node_id": 0,
    "last_link_id": 0,
    "nodes": [],
    "links": [],
    "groups": [],
    "config": {},
    "version": 0.4,
}


_BOARD = """{
  "version": 1,
  "fps": 8,
  "size": [512, 512],
  "scenes": [
    {
      "id": 1,
      "prompt": "a ball",
      "frames": 16,
      "entities": [{"id": "ball", "text": "ball", "track": [{"f": 0, "box": [BOX]}], "hold": true}]
    }
  ]
}"""


expect.set_options(timeout=PATIENCE)


def board_of(*box: float) -> str:
    """Return the text of a storyboard of a ball that stands still."""
    return _BOARD.replace("BOX", ", ".join(map(str, box)))


class Editor:
    """One page of the editor. Places are fractions of an element, so that they hold at every zoom."""

    def __init__(self, page: Page, server: Server, mode: str) -> None:
        self.page, self.server, self.mode = page, server, mode
        self.devices = page.context.new_cdp_session(page)  # a pen, a finger, and what a screen reader hears
        self.errors: list[str] = []
        self.asked: set[Request] = set()  # questions of our scripts that the server has not answered yet
        page.on("request", lambda sent: self.asked.add(sent) if ROUTES in sent.url else None)
        page.on("requestfinished", lambda sent: self.asked.discard(sent))
        page.on("requestfailed", lambda sent: self.asked.discard(sent))

    def js(self, code: str, given: Any = None) -> Any:
        """Return what a function of JavaScript returns, called with the editor's app and what is given."""
        return self.page.evaluate(f"(given) => ({code})(window.comfyAPI.app.app, given)", given)

    def blank(self) -> None:
        """Begin with an empty workflow of its own, in the middle of the screen."""
        self.load(BLANK)
        self.errors.clear()

    def add(self, kind: str, /, *, at: Sequence[float] = (60, 60), **values: Any) -> int | str:
        """Add a node, with values of its widgets, and return its number."""
        number = self.js(
            """(app, { kind, at, values }) => {
                const node = LiteGraph.createNode(kind);
                node.pos = at;
                app.graph.add(node);
                for (const [name, value] of Object.entries(values)) {
                    node.widgets.find((each) => each.name === name).value = value;
                }
                app.extensionManager.workflow.activeWorkflow.changeTracker.captureCanvasState?.();
                return node.id;
            }""",
            {"kind": kind, "at": list(at), "values": values},
        )
        self.wait()
        return number

    def link(self, origin: int | str, output: int, target: int | str, name: str) -> None:
        """Link an output to an input, or to a widget's input, by its name."""
        self.js(
            """(app, [origin, output, target, name]) => {
                const to = app.graph.getNodeById(target);
                app.graph.getNodeById(origin).connect(output, to, to.findInputSlot(name));
            }""",
            [origin, output, target, name],
        )
        self.wait()

    def link_all(self, made: Mapping[str, int | str], links: Iterable[tuple[str, int, str, str]]) -> None:
        """Link nodes by what they are called: from, its output, to, the input's name."""
        for origin, output, target, name in links:
            self.link(made[origin], output, made[target], name)

    def value(self, node: int | str, widget: str) -> Any:
        """Return what a widget holds."""
        found = "(app, [id, name]) => app.canvas.graph.getNodeById(id).widgets.find((each) => each.name === name).value"
        return self.js(found, [node, widget])

    def set(self, node: int | str, widget: str, value: Any) -> None:
        """Set a widget's value, as another extension would."""
        self.js(
            """(app, [id, name, value]) => {
                app.canvas.graph.getNodeById(id).widgets.find((each) => each.name === name).value = value;
            }""",
            [node, widget, value],
        )
        self.wait()

    def wrap(self, *nodes: int | str) -> int | str:
        """Make nodes a subgraph, go into it, and return the number of the node that it is outside."""
        number = self.js(
            """(app, ids) => {
                const { node } = app.graph.convertToSubgraph(new Set(ids.map((id) => app.graph.getNodeById(id))));
                app.canvas.openSubgraph(node.subgraph, node);
                return node.id;
            }""",
            nodes,
        )
        self.wait(5 * TICK)
        return number

    def copy(self, node: int | str, place: tuple[float, float]) -> int | str:
        """Copy a node by the keyboard to a place on the screen, and return the copy's number."""
        before = {each["id"] for each in self.saved()["nodes"]}
        self.js("(app, id) => { app.canvas.selectNode(app.graph.getNodeById(id)); }", node)
        self._with_graph("Control+c")
        self.page.mouse.move(*place)
        self._with_graph("Control+v")
        self.wait(2 * TICK)
        (copy,) = {each["id"] for each in self.saved()["nodes"]} - before
        return copy

    def tab(self, place: int) -> None:
        """Go to a tab by a click; -1 is the newest."""
        tabs = self.page.locator(".workflow-tab")
        tabs.nth(tabs.count() + place).click()
        self.page.mouse.move(VIEW["width"] / 2, VIEW["height"] - 5)  # the tab's card would cover nodes
        self.wait(5 * TICK)

    def companion(self, node: int | str) -> Locator:
        """Return the root of a node's companion."""
        return self.page.locator(f'[data-frameloom][data-node="{node}"]')

    def drag(
        self, element: Locator, places: Sequence[tuple[float, float]], button: Any = "left", by: str = "mouse"
    ) -> None:
        """Drag from the first place to the last, with the mouse, a pen or a finger (``touch``)."""
        self.settle(element)
        points = [self.point(element, place) for place in places]
        {"mouse": self._mouse, "pen": self._pen, "touch": self._finger}[by](points, button)
        self.wait()

    def _mouse(self, points: Sequence[tuple[float, float]], button: Any) -> None:
        mouse = self.page.mouse
        mouse.move(*points[0])
        mouse.down(button=button)
        for point in points[1:]:
            mouse.move(*point, steps=4)
        mouse.up(button=button)

    def _pen(self, points: Sequence[tuple[float, float]], button: str) -> None:
        def send(kind: str, point: tuple[float, float], buttons: int) -> None:
            given = {"type": kind, "x": point[0], "y": point[1], "buttons": buttons, "clickCount": 1}
            self.devices.send("Input.dispatchMouseEvent", given | {"button": button, "pointerType": "pen"})

        send("mouseMoved", points[0], 0)
        send("mousePressed", points[0], 1)
        for point in points[1:]:
            send("mouseMoved", point, 1)
        send("mouseReleased", points[-1], 0)

    def _finger(self, points: Sequence[tuple[float, float]], button: str) -> None:
        for place, (x, y) in enumerate(points):
            kind = "touchMove" if place else "touchStart"
            self.devices.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        self.devices.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def click(self, element: Locator, place: tuple[float, float], **options: Any) -> None:
        """Click with the mouse."""
        self.settle(element)
        self.page.mouse.click(*self.point(element, place), **options)
        self.wait()

    def settle(self, element: Locator) -> None:
        """Wait until an element stays where it is: the page lays nodes out some time after it has them."""
        before, place = None, element.bounding_box()
        while place is None or place != before:
            self.wait()
            before, place = place, element.bounding_box()

    def point(self, element: Locator, place: tuple[float, float]) -> tuple[float, float]:
        """Return where a place in an element is on the screen."""
        box = element.bounding_box()
        assert box is not None
        return box["x"] + place[0] * box["width"], box["y"] + place[1] * box["height"]

    def key(self, name: str) -> None:
        """Press a key."""
        self.page.keyboard.press(name)
        self.wait()

    def undo(self) -> None:
        """Undo by the keyboard, with the graph in focus."""
        self._with_graph("Control+z")

    def redo(self) -> None:
        """Redo by the keyboard, with the graph in focus."""
        self._with_graph("Control+y")

    def undo_steps(self) -> int:
        """Return how many steps can be undone."""
        return self.js("(app) => app.extensionManager.workflow.activeWorkflow.changeTracker.undoQueue.length")

    def zoom(self, scale: float) -> None:
        """Zoom the graph, with its left upper corner in place."""
        self.js("(app, scale) => { app.canvas.ds.scale = scale; app.canvas.setDirty(true, true); }", scale)
        self.wait(3 * TICK)

    def prompt(self) -> dict[str, Any]:
        """Return the prompt that Run would send, by the number of its node."""
        return self.js("async (app) => (await app.graphToPrompt()).output")

    def saved(self) -> dict[str, Any]:
        """Return the workflow as it would be saved."""
        return self.js("(app) => JSON.parse(JSON.stringify(app.graph.serialize()))")

    def load(self, workflow: dict[str, Any]) -> None:
        """Open a workflow in a tab of its own."""
        self.js("async (app, workflow) => { await app.loadGraphData(workflow, true, true, null); }", workflow)
        self.js(
            "(app) => { app.canvas.ds.offset = [0, 0]; app.canvas.ds.scale = 1; app.canvas.setDirty(true, true); }"
        )
        self.wait(3 * TICK)

    def run(self, seconds: float = PATIENCE / 1000) -> dict[str, Any]:
        """Press Run, wait for its end, and return what the history says of it."""
        before = set(self.server.get("/history"))
        self.page.mouse.move(
            VIEW["width"] / 2, VIEW["height"] - 5
        )  # off the tabs, whose card covers the button
        self.page.get_by_test_id("queue-button").first.click()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.wait(300)
            for name, entry in self.server.get("/history").items():
                if name not in before and entry["status"]["completed"] is not None:
                    return entry
        raise AssertionError(
            f"nothing ran within {seconds} seconds; the log: {self.server.log.read_text()[-2000:]}"
        )

    def until(self, met: Callable[[], bool], seconds: float = PATIENCE / 1000) -> None:
        """Let the page work until a condition is met; where others work, too, that takes its time."""
        deadline = time.monotonic() + seconds
        while not met():
            assert time.monotonic() < deadline, f"not met within {seconds} seconds"
            self.wait()

    def wait(self, milliseconds: float = TICK) -> None:
        """Let the page work so long, and on until our scripts have their answers of the server and have drawn them."""
        self.page.evaluate(PASSED, milliseconds)
        while self.asked:
            self.page.wait_for_timeout(10)
            if not self.asked:
                self.page.evaluate(PASSED, TICK)

    def _with_graph(self, keys: str) -> None:
        self.js("(app) => { document.activeElement?.blur(); app.canvas.canvas.focus(); }")
        self.page.keyboard.press(keys)
        self.wait(2 * TICK)


@contextmanager
def opened(browser: Browser, server: Server, mode: str) -> Iterator[Editor]:
    """Open the editor in a mode, classic or vue, in a browser that knows nothing of it yet."""
    for name, value in {"Comfy.VueNodes.Enabled": mode == "vue", "Comfy.TutorialCompleted": True}.items():
        request = urllib.request.Request(
            f"{server.url}/api/settings/{name}",
            json.dumps(value).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=60).close()
    context = browser.new_context(viewport=VIEW)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    editor = Editor(page, server, mode)

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error" and EXTENSION in message.text + message.location.get("url", ""):
            editor.errors.append(message.text)

    page.on("console", heard)
    page.on("pageerror", lambda error: editor.errors.append(f"{error.message}\n{error.stack}"))
    page.goto(server.url)
    page.wait_for_function(READY)
    page.get_by_test_id("queue-button").first.wait_for()
    editor.wait(3000)
    assert editor.js("() => Boolean(LiteGraph.vueNodesMode)") == (mode == "vue")
    try:
        yield editor
    finally:
        context.close()


def front_end_options(folder: Path | None) -> tuple[str, ...]:
    """Return ComfyUI's options for a front end; None is the one that it comes with."""
    return () if folder is None else ("--front-end-root", str(folder))
