"""A companion on a node: what each front end, in each of its modes, does with a widget that is not saved."""

from __future__ import annotations

import pytest
from frameloom.tests.browser.editor import EXTENSION


@pytest.fixture
def node(editor):
    """A node of core's with a companion that counts its text, and writes where it is clicked."""
    number = editor.add("CLIPTextEncode", text="0: a")
    editor.js(
        """async (app, [id, path]) => {
            const { Companion } = await import(`${path}/js/companion.js`);
            const { Surface } = await import(`${path}/js/surface.js`);
            const node = app.graph.getNodeById(id);
            new Companion(node, "trial", 120, { watch: ["text"], label: "a trial", build(c) {
                const s = new Surface(c.root, "dots");
                window.trial = { changed: 0, drawn: 0, keys: [] };
                s.canvas.onpointerdown = (event) => {
                    if (event.button !== 0) return;
                    s.canvas.setPointerCapture(event.pointerId);
                    s.canvas.onpointermove = (moved) => c.write("text", `${(s.at(moved)[0] / s.width).toFixed(2)}: a`);
                };
                s.canvas.onpointerup = () => (s.canvas.onpointermove = null);
                return {
                    changed: () => { window.trial.changed += 1; s.canvas.onpointermove = null; },
                    draw: () => { s.begin(); window.trial.drawn += 1; },
                    key: (event) => event.key === "Delete" && window.trial.keys.push(event.key) > 0,
                };
            } });
            app.canvas.setDirty(true, true); // as adding the node does, where a widget of ours is made before
        }""",
        [number, EXTENSION],
    )
    editor.wait(600)
    return number


@pytest.mark.parametrize("scale", [0.5, 1, 2])
def test_a_drag_writes_the_place_under_the_mouse_at_every_zoom_in_one_undo_step(editor, node, scale):
    editor.zoom(scale)
    before = editor.undo_steps()
    editor.drag(editor.companion(node).locator("canvas"), [(0.2, 0.5), (0.75, 0.5)])
    assert editor.value(node, "text") == "0.75: a"
    assert editor.undo_steps() == before + 1
    assert editor.prompt()[str(node)]["inputs"]["text"] == "0.75: a"


def test_it_is_in_no_file_and_in_no_prompt(editor, node):
    saved = editor.saved()["nodes"][0]["widgets_values"]
    plain = editor.add("CLIPTextEncode", text="0: a")
    without = next(each for each in editor.saved()["nodes"] if str(each["id"]) == str(plain))[
        "widgets_values"
    ]
    assert [value for value in saved if value is not None] == [
        value for value in without if value is not None
    ]
    assert editor.prompt()[str(node)]["inputs"].keys() == editor.prompt()[str(plain)]["inputs"].keys()


def test_a_value_that_somebody_else_sets_in_a_drag_stays(editor, node):
    canvas = editor.companion(node).locator("canvas")
    mouse = editor.page.mouse
    mouse.move(*editor.point(canvas, (0.2, 0.5)))
    mouse.down()
    mouse.move(*editor.point(canvas, (0.4, 0.5)))
    editor.js(
        "(app, id) => { app.graph.getNodeById(id).widgets.find((w) => w.name === 'text').value = '7: b'; }",
        node,
    )
    mouse.move(*editor.point(canvas, (0.6, 0.5)))
    mouse.up()
    assert editor.value(node, "text") == "7: b"


def test_keys_of_use_do_not_reach_the_graph(editor, node):
    editor.click(editor.companion(node), (0.5, 0.5))
    editor.companion(node).focus()
    editor.key("Delete")
    assert editor.page.evaluate("window.trial.keys") == ["Delete"]
    assert len(editor.saved()["nodes"]) == 1


def test_the_wheel_over_it_zooms_the_graph(editor, node):
    scale = editor.js("(app) => app.canvas.ds.scale")
    editor.page.mouse.move(*editor.point(editor.companion(node), (0.5, 0.5)))
    editor.page.mouse.wheel(0, -100)
    editor.wait(600)
    assert editor.js("(app) => app.canvas.ds.scale") > scale


def test_the_middle_button_over_it_pans(editor, node):
    before = editor.js("(app) => [...app.canvas.ds.offset]")
    editor.drag(editor.companion(node), [(0.2, 0.5), (0.8, 0.5)], button="middle")
    editor.wait(600)
    after = editor.js("(app) => [...app.canvas.ds.offset]")
    assert after[0] > before[0] + 50


def test_a_removed_node_leaves_nothing_that_looks_at_it(editor, node):
    changed = editor.page.evaluate("window.trial.changed")
    editor.js(
        """(app, id) => {
            window.gone = app.graph.getNodeById(id);
            app.graph.remove(window.gone);
            window.gone.widgets.find((each) => each.name === "text").value = "9: c";
        }""",
        node,
    )
    editor.wait(600)
    assert editor.page.evaluate("window.trial.changed") == changed
