"""One graph with an editor of each kind, drawn in, run and looked at: the part of these tests that `make test` runs."""

from __future__ import annotations

from frameloom.models.storyboard.scenes import parse_storyboard
from frameloom.tests.browser.test_editors import DRAWN, MIDDLE, canvas
from playwright.sync_api import expect

IS_EMPTY = """(canvas) => {
    const pen = canvas.getContext("2d");
    return !pen.getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean);
}"""


def test_what_is_drawn_in_the_editors_is_run_and_seen(editor):
    boxes, path = DRAWN["boxes"], DRAWN["path"]
    layout = editor.add(boxes.node, at=(60, 40), **{boxes.widget: boxes.text})
    motion = editor.add(path.node, at=(560, 40), **{path.widget: path.text}, **path.values)
    windows = editor.add("Frameloom_ContextWindows", at=(1000, 40))
    metrics = editor.add("Frameloom_VideoMetrics", at=(1000, 560))
    for origin, output, kind, name in (
        (layout, 1, "PreviewAny", "source"),
        (motion, 1, "PreviewImage", "images"),
    ):
        editor.link(origin, output, editor.add(kind, at=(60, 1000)), name)
    editor.link(
        editor.add("EmptyImage", at=(560, 1000), width=64, height=64, batch_size=4), 0, metrics, "images"
    )

    editor.zoom(0.8)
    expect(editor.companion(layout).get_by_label("scene 1")).to_be_visible()
    expect(editor.companion(motion).get_by_role("spinbutton", name="zoom")).to_have_value("1")
    expect(editor.companion(windows)).to_contain_text("32 frames: 3 windows")
    for node, kind in ((layout, boxes), (motion, path)):
        editor.until(lambda node=node: not canvas(editor, node).evaluate(IS_EMPTY))
        editor.drag(canvas(editor, node), [MIDDLE, (0.55, 0.54), (0.6, 0.58)])
        editor.until(lambda node=node, kind=kind: editor.value(node, kind.widget) != kind.text)

    drawn = {node: editor.value(node, kind.widget) for node, kind in ((layout, boxes), (motion, path))}
    entry = editor.run()
    assert entry["status"]["status_str"] == "success"
    ran = entry["prompt"][2]
    assert ran[str(layout)]["inputs"][boxes.widget] == drawn[layout]
    assert ran[str(motion)]["inputs"][path.widget] == drawn[motion]
    (shown,) = [output["text"][0] for output in entry["outputs"].values() if "text" in output]
    assert parse_storyboard(shown).scenes == parse_storyboard(drawn[layout]).scenes
    expect(editor.companion(metrics)).to_contain_text("0 / 3")
    editor.until(lambda: not canvas(editor, metrics).evaluate(IS_EMPTY))
