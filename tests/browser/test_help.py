"""Help pages as the editor shows them in a side panel of 270 pixels: nothing on a page is wider than that."""

from __future__ import annotations

from pathlib import Path

PAGES = sorted(path.stem for path in (Path(__file__).resolve().parents[2] / "web" / "docs").glob("*.md"))
SHOWN = """async (app, kind) => {
    const node = LiteGraph.createNode(kind);
    node.pos = [200, 200];
    app.graph.add(node);
    app.canvas.deselectAll();
    app.canvas.selectNode(node);
    for (const other of [...app.graph.nodes]) if (other !== node) app.graph.remove(other);
    return node.title;
}"""
# An element that is wider than its place, or has a text that is, by how much.
WIDER = """(panel) => {
    const right = panel.getBoundingClientRect().right + 0.5;
    return [...panel.querySelectorAll("*"), panel]
        .filter((each) => getComputedStyle(each).display !== "inline")
        .filter((each) => each.scrollWidth > each.clientWidth || each.getBoundingClientRect().right > right)
        .map((each) => [each.tagName, each.textContent.slice(0, 60), each.scrollWidth, each.clientWidth]);
}"""


def test_no_help_page_is_wider_than_the_panel(editor):
    wide = {}
    panel = editor.page.locator(".node-help-content")
    for kind in PAGES:
        title = editor.js(SHOWN, kind)
        if kind == PAGES[0]:
            editor.page.get_by_test_id("info-button").first.click()
        panel.get_by_role("heading", level=1, name=title, exact=True).wait_for()
        panel.get_by_text("Also found as").wait_for()  # the end of our own page
        if found := panel.evaluate(WIDER):
            wide[kind] = found
    # the editor looks for a page in the user's language first, which we have none of
    editor.errors[:] = [error for error in editor.errors if "404" not in error]
    assert panel.bounding_box()["width"] <= 270
    assert wide == {}
