"""The menu's "Convert to Frameloom": what becomes of the open workflow, and what is said."""

from __future__ import annotations

from frameloom.tests.host.test_convert_route import GRAPH
from playwright.sync_api import expect

CONVERT = '(app) => app.extensionManager.command.execute("Frameloom.Convert")'


def kinds(editor):
    return {node["type"] for node in editor.saved()["nodes"]}


def test_the_open_workflow_comes_back_with_our_nodes_and_a_report(editor):
    editor.load(GRAPH)
    editor.until(lambda: "ADE_AnimateDiffLoaderGen1" in kinds(editor))
    editor.js(CONVERT)
    dialog = editor.page.locator("dialog[open]", has_text="Converted to Frameloom: exact")
    expect(dialog).to_contain_text("exact: node 2 ")
    assert "Frameloom_ApplyMotionModule" in kinds(editor)
    assert not [kind for kind in kinds(editor) if kind.startswith("ADE")]
    dialog.get_by_text("Close").click()
    expect(dialog).to_have_count(0)


def test_a_workflow_without_such_nodes_stays_and_is_told_so(editor):
    editor.add("EmptyImage")
    before = editor.saved()["nodes"]
    editor.js(CONVERT)
    expect(editor.page.get_by_text("Nothing to convert", exact=True)).to_be_visible()
    assert editor.saved()["nodes"] == before
