"""What every editor on a node has in common: pens and fingers, copies, tabs, subgraphs, files of later versions."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from frameloom.tests.browser.editor import Editor, board_of
from playwright.sync_api import expect

BOARD = board_of(0.3, 0.3, 0.7, 0.7)


@dataclass(frozen=True)
class Kind:
    """A node with an editor, in whose middle there is something to drag."""

    node: str
    widget: str
    text: str
    values: dict[str, str]

    def add(self, editor: Editor) -> int | str:
        number = editor.add(self.node, **{self.widget: self.text}, **self.values)
        editor.wait(600)
        editor.js("(app) => app.extensionManager.workflow.activeWorkflow.changeTracker.captureCanvasState()")
        return number


DRAWN = {
    "boxes": Kind("Frameloom_LayoutFromText", "text", BOARD, {}),
    "path": Kind("Frameloom_MotionPath", "keyframes", "0: 0 0\n7: 0.25 0 1.2", {"kind": "keyframes"}),
}
MIDDLE, BESIDE, FURTHER = (0.5, 0.5), (0.53, 0.52), (0.58, 0.55)


@pytest.fixture(params=DRAWN)
def kind(request):
    return DRAWN[request.param]


def canvas(editor, node):
    return editor.companion(node).locator("canvas").first


def drag(editor, node, **options):
    """Drag what is in the middle, and wait until the editor has drawn it."""
    editor.drag(canvas(editor, node), [MIDDLE, BESIDE, FURTHER], **options)
    editor.wait(300)


@pytest.mark.parametrize("device", ["pen", "touch"])
def test_a_pen_and_a_finger_drag_as_a_mouse_does_in_one_undo_step(editor, kind, device):
    node = kind.add(editor)
    drag(editor, node)
    by_mouse = editor.value(node, kind.widget)
    assert by_mouse != kind.text
    editor.undo()
    assert editor.value(node, kind.widget) == kind.text
    before = editor.undo_steps()
    drag(editor, node, by=device)
    assert editor.value(node, kind.widget) == by_mouse
    assert editor.undo_steps() == before + 1
    assert editor.prompt()[str(node)]["inputs"][kind.widget] == by_mouse


@pytest.mark.parametrize("device", ["mouse", "pen", "touch"])
def test_a_mouse_a_pen_and_a_finger_move_the_frame_bar(editor, kind, device):
    node = kind.add(editor)
    bar = editor.companion(node).locator("input[type=range]")
    last = int(bar.get_attribute("max"))
    editor.drag(bar, [(0.03, 0.5), (0.2, 0.5), (0.98, 0.5)], by=device)
    expect(bar).to_have_value(str(last))
    editor.drag(bar, [(0.97, 0.5), (0.6, 0.5), (0.02, 0.5)], by=device)
    expect(bar).to_have_value("0")
    assert editor.value(node, kind.widget) == kind.text


def test_a_copy_has_the_value_and_an_editor_of_its_own(editor, kind):
    node = kind.add(editor)
    drag(editor, node)
    drawn = editor.value(node, kind.widget)
    copy = editor.copy(node, (800, 120))
    assert editor.value(copy, kind.widget) == drawn != kind.text
    drag(editor, copy)
    assert editor.value(copy, kind.widget) != drawn
    assert editor.value(node, kind.widget) == drawn
    drag(editor, node)
    assert editor.value(node, kind.widget) == editor.value(copy, kind.widget)  # the same drag twice


def test_two_tabs_keep_values_and_editors_apart(editor, kind):
    node = kind.add(editor)
    drag(editor, node)
    first, shown = (
        editor.value(node, kind.widget),
        editor.page.locator("[data-frameloom]").filter(visible=True),
    )
    editor.load(editor.saved())  # in a tab of its own, where the node has the same number
    drag(editor, node)
    second = editor.value(node, kind.widget)
    assert second != first
    editor.tab(-2)
    assert editor.value(node, kind.widget) == first
    expect(shown).to_have_count(1)
    drag(editor, node)
    assert editor.value(node, kind.widget) == second  # the same drag, from the same state
    drag(editor, node)
    third = editor.value(node, kind.widget)
    editor.tab(-1)
    assert editor.value(node, kind.widget) == second != third
    expect(shown).to_have_count(1)
    drag(editor, node)
    assert editor.value(node, kind.widget) == third


def test_it_works_inside_a_subgraph(editor, kind):
    outer = editor.wrap(kind.add(editor))
    (node,) = editor.js("(app) => app.canvas.graph.nodes.map((node) => node.id)")
    before = editor.undo_steps()
    drag(editor, node)
    drawn = editor.value(node, kind.widget)
    assert drawn != kind.text
    assert editor.undo_steps() == before + 1
    assert editor.prompt()[f"{outer}:{node}"]["inputs"][kind.widget] == drawn
    editor.js("(app) => app.canvas.setGraph(app.graph)")
    expect(editor.companion(node).filter(visible=True)).to_have_count(0)


def test_a_file_of_a_later_version_keeps_its_value_and_can_be_edited(editor, kind):
    node = kind.add(editor)
    before, saved = editor.prompt()[str(node)], editor.saved()
    (entry,) = saved["nodes"]
    entry["inputs"] += [
        {"name": "later", "type": "FRAMELOOM_LATER", "link": None},
        {"name": "later_number", "type": "INT", "widget": {"name": "later_number"}, "link": None},
    ]
    entry["outputs"].append({"name": "later", "type": "FRAMELOOM_LATER", "links": []})
    entry["widgets_values"] += [7, "later"]
    entry["properties"] |= {
        "frameloom_view": "elsewhere",
        "frameloom_behind": {"later": 1},
        "frameloom_later": [1],
    }
    editor.load(saved)
    assert editor.prompt()[str(node)]["inputs"] == before["inputs"]
    drag(editor, node)
    assert editor.value(node, kind.widget) != kind.text
    assert {**before["inputs"], kind.widget: editor.value(node, kind.widget)} == editor.prompt()[str(node)][
        "inputs"
    ]
