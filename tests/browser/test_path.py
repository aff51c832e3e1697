"""The path editor on Motion Path: what a hand draws is what the text says, and what the node makes of it."""

from __future__ import annotations

import io
import json
import urllib.parse
import urllib.request

import numpy as np
import pytest
from frameloom.models.zero_shot.motion_path import interpolate, parse_keyframes
from frameloom.tests.browser.editor import EXTENSION
from frameloom.tests.support.path_table import TABLE
from PIL import Image

START = "0: 0 0\n7: 0.25 0 1.2"
MODEL = f"{EXTENSION}/js/path.js"


@pytest.fixture
def node(editor):
    """A Motion Path of 8 frames, 512 x 512, that reads its keyframes."""
    number = editor.add("Frameloom_MotionPath", kind="keyframes", keyframes=START)
    editor.wait(600)
    # nodes of Vue grow to their widgets after they were added; that is no step of what a test does
    editor.js("(app) => app.extensionManager.workflow.activeWorkflow.changeTracker.captureCanvasState()")
    return number


def text(editor, node):
    return editor.value(node, "keyframes")


def keys(editor, node):
    """Return the keys that the node's own Python reads in the text."""
    return parse_keyframes(text(editor, node))


def canvas(editor, node):
    return editor.companion(node).locator("canvas")


def go(editor, node, frame):
    """Choose a frame by the keyboard, as a user without a mouse does."""
    bar = editor.companion(node).locator("input[type=range]")
    bar.focus()
    editor.key("Home")
    for _ in range(frame):
        editor.page.keyboard.press("ArrowRight")
    editor.wait()


def place(editor, node, right, down, span=2.0):
    """Return where a point, in shares of the picture from its middle, is on the canvas, as fractions of it."""
    box = canvas(editor, node).bounding_box()
    side = min(box["width"], box["height"]) / span
    return 0.5 + right * side / box["width"], 0.5 + down * side / box["height"]


def grab(editor, node, start, end, **options):
    """Drag from one point of the picture's plane to another."""
    editor.drag(canvas(editor, node), [place(editor, node, *start), place(editor, node, *end)], **options)


def test_numbers_and_errors_are_those_of_the_table(editor):
    wrong = editor.js(
        """async (app, [where, table]) => {
            const path = await import(where);
            const wrong = [];
            const compare = (name, got, expected) => {
                const same = got.every((value, index) => Math.abs(value - expected[index]) < 1e-9);
                if (!same || got.length !== expected.length) wrong.push([name, got, expected]);
            };
            for (const { text, places, size, corners } of table.texts) {
                const { keys } = path.readPath(text);
                for (const [frame, place] of places) compare(text, path.placeAt(keys, frame), place);
                const last = path.placeAt(keys, places.at(-1)[0]);
                const half = size.map((side) => (side * last[2]) / 2);
                corners.forEach(([x, y], number) => {
                    const point = [(x - 0.5) * size[0], (y - 0.5) * size[1]];
                    const ways = [[-1, -1], [1, -1], [1, 1], [-1, 1]][number];
                    compare(text, path.seen(last, size, point), [ways[0] * half[0], ways[1] * half[1]]);
                });
            }
            for (const { text, problem } of table.wrong) {
                const got = path.readPath(text).problem;
                if (got !== problem) wrong.push([text, got, problem]);
            }
            return wrong;
        }""",
        [MODEL, json.loads(TABLE.read_text("utf-8"))],
    )
    assert wrong == []


def test_a_drag_inside_moves_the_picture_by_as_much_and_makes_a_key(editor, node):
    go(editor, node, 3)
    before = editor.undo_steps()
    grab(editor, node, (0.1, 0), (0.3, -0.15))
    lines = text(editor, node).splitlines()
    assert [line.split(":")[0] for line in lines] == ["0", "3", "7"]
    right, down, zoom, angle = keys(editor, node)[3]
    middle = interpolate(8, parse_keyframes(START))
    assert right == pytest.approx(float(middle.move[3, 0]) + 0.2, abs=0.01)
    assert down == pytest.approx(-0.15, abs=0.01)
    assert (zoom, angle) == (pytest.approx(float(middle.zoom[3]), abs=1e-4), 0)
    assert editor.undo_steps() == before + 1
    assert editor.prompt()[str(node)]["inputs"]["keyframes"] == text(editor, node)


@pytest.mark.parametrize("scale", [0.5, 1, 2])
def test_a_corner_zooms_about_the_middle_at_every_zoom_of_the_graph(editor, node, scale):
    editor.zoom(scale)
    editor.js("(app, up) => { app.canvas.ds.offset[1] -= up; app.canvas.setDirty(true, true); }", 300)
    editor.wait(600)
    grab(editor, node, (0.5, 0.5), (0.75, 0.75))
    assert keys(editor, node)[0] == pytest.approx((0, 0, 1.5, 0), abs=0.04)


def test_the_handle_turns_clockwise_and_on_behind_a_full_turn(editor, node):
    arm = 0.5 + 24 * 2 / canvas(editor, node).bounding_box()["height"]
    ring = [(0, -arm), (arm, 0), (0, arm), (-arm, 0), (0, -arm), (arm, 0)]
    editor.drag(canvas(editor, node), [place(editor, node, *point) for point in ring])
    assert keys(editor, node)[0] == pytest.approx((0, 0, 1, 450), abs=2)


def test_a_wide_picture_moves_by_shares_of_its_own_sides(editor, node):
    editor.set(node, "width", 1024)
    box = canvas(editor, node).bounding_box()
    scale = min(box["width"] / 1024, box["height"] / 512) / 2
    share = 1024 * scale / box["width"], 512 * scale / box["height"]
    editor.drag(canvas(editor, node), [(0.5, 0.5), (0.5 + 0.2 * share[0], 0.5 - 0.3 * share[1])])
    assert keys(editor, node)[0] == pytest.approx((0.2, -0.3, 1, 0), abs=0.02)


def test_a_drag_elsewhere_changes_nothing(editor, node):
    before = editor.undo_steps()
    grab(editor, node, (0.8, 0), (0.9, 0.2))
    assert text(editor, node) == START
    assert editor.undo_steps() == before


def test_keys_are_removed_by_delete_and_by_the_button(editor, node):
    go(editor, node, 7)
    editor.companion(node).focus()
    editor.key("Delete")
    assert text(editor, node) == "0: 0 0"
    assert len(editor.saved()["nodes"]) == 1
    go(editor, node, 0)
    editor.companion(node).get_by_role("button", name="Delete key 0").click()
    editor.wait()
    assert text(editor, node) == ""
    assert "there are none" in editor.companion(node).get_by_role("status").inner_text()
    grab(editor, node, (0, 0), (0.25, 0))
    assert list(keys(editor, node)) == [0]


def test_the_keyboard_moves_zooms_turns_and_goes_from_key_to_key(editor, node):
    editor.companion(node).focus()
    for key in ("ArrowRight", "ArrowDown", "Shift+ArrowUp", "+", "]", "]"):
        editor.key(key)
    assert text(editor, node).splitlines()[0] == "0: 0.01 -0.09 1.01 2"
    editor.key(".")
    editor.key("ArrowLeft")
    assert text(editor, node).splitlines()[1] == "7: 0.24 0 1.2"
    editor.key(",")
    editor.key("-")
    assert text(editor, node).splitlines()[0] == "0: 0.01 -0.09 1 2"


def test_numbers_are_typed(editor, node):
    before = editor.undo_steps()
    zoom = editor.companion(node).get_by_role("spinbutton", name="zoom")
    zoom.fill("2.5")
    zoom.press("Tab")
    editor.wait()
    assert text(editor, node) == "0: 0 0 2.5\n7: 0.25 0 1.2"
    assert editor.undo_steps() == before + 1


def test_a_number_that_is_typed_is_there_when_a_drag_begins(editor, node):
    editor.companion(node).get_by_role("spinbutton", name="zoom").fill("1.5")
    grab(editor, node, (0.1, 0), (0.3, 0))
    assert keys(editor, node)[0] == pytest.approx((0.2, 0, 1.5, 0), abs=0.02)


def test_every_preset_is_a_path_that_the_node_reads(editor, node):
    presets = editor.companion(node).get_by_role("combobox")
    made = {}
    for name in presets.locator("option").all_inner_texts()[1:]:
        before = editor.undo_steps()
        presets.select_option(name)
        editor.wait()
        made[name] = interpolate(8, keys(editor, node))
        assert editor.undo_steps() == before + 1, name
    assert float(made["move right (camera pans left)"].move[-1, 0]) > 0
    assert float(made["move up (camera pans down)"].move[-1, 1]) < 0
    assert float(made["zoom in"].zoom[-1] / made["zoom in"].zoom[0]) > 1
    assert float(made["zoom out"].zoom[-1] / made["zoom out"].zoom[0]) < 1
    assert float(made["turn clockwise"].angle[-1]) > 0
    assert len(set(made["shake"].move[:, 0].tolist())) == 8


def test_undo_and_redo_are_a_step_a_drag(editor, node):
    states = [text(editor, node)]
    for end in ((0.2, 0), (0.2, 0.2)):
        grab(editor, node, (0.1, 0.1), end)
        states.append(text(editor, node))
    assert len(set(states)) == 3
    for state in (states[1], states[0]):
        editor.undo()
        assert text(editor, node) == state
    for state in (states[1], states[2]):
        editor.redo()
        assert text(editor, node) == state


def test_undo_stays_at_the_frame_that_was_shown(editor, node):
    go(editor, node, 5)
    grab(editor, node, (0.1, 0.1), (0.2, 0.2))
    editor.undo()
    assert editor.companion(node).locator("input[type=range]").input_value() == "5"


def test_typing_is_drawn_and_drawing_keeps_remarks_and_other_lines(editor, node):
    editor.set(node, "keyframes", "# my path\n\n0: 0 0   # begin\n6: 0.5 0, 2 # far\n")
    go(editor, node, 6)
    assert editor.companion(node).get_by_role("spinbutton", name="right").input_value() == "0.5"
    editor.companion(node).focus()
    editor.key("ArrowDown")
    assert text(editor, node) == "# my path\n\n0: 0 0   # begin\n6: 0.5 0.01 2 # far\n"
    go(editor, node, 3)
    editor.companion(node).focus()
    editor.key("]")
    assert text(editor, node).splitlines()[3].startswith("3: 0.25 0.005 1.4142 1")


def test_text_that_does_not_read_is_shown_with_its_line_and_never_overwritten(editor, node):
    bad = "0: 0 0\n4 oops # left"
    editor.set(node, "keyframes", bad)
    says = editor.companion(node).get_by_role("status").inner_text()
    assert says.startswith("keyframes line 2: got '4 oops # left'; expected")
    grab(editor, node, (0.1, 0), (0.3, 0))
    editor.companion(node).focus()
    for key in ("ArrowRight", "+", "Delete"):
        editor.key(key)
    assert editor.companion(node).get_by_role("combobox").is_disabled()
    assert text(editor, node) == bad
    editor.set(node, "keyframes", "0: 0 0\n4: 0.1 0")
    assert editor.companion(node).get_by_role("status").inner_text() == ""
    grab(editor, node, (0.1, 0), (0.3, 0))
    assert list(keys(editor, node)) == [0, 4]


def test_a_value_from_outside_ends_a_drag_and_stays(editor, node):
    mouse, target = editor.page.mouse, canvas(editor, node)
    mouse.move(*editor.point(target, place(editor, node, 0.1, 0)))
    mouse.down()
    mouse.move(*editor.point(target, place(editor, node, 0.2, 0)))
    editor.set(node, "keyframes", "0: 0 0\n5: 1 1")
    mouse.move(*editor.point(target, place(editor, node, 0.4, 0)), steps=4)
    mouse.up()
    editor.wait()
    assert text(editor, node) == "0: 0 0\n5: 1 1"


def test_the_other_widgets_are_followed(editor, node):
    companion = editor.companion(node)
    editor.set(node, "frames", 20)
    assert companion.locator("input[type=range]").get_attribute("max") == "19"
    editor.set(node, "frames", 4)
    assert "Keys behind the last frame: 1." in companion.get_by_role("status").inner_text()
    editor.set(node, "kind", "camera")
    assert "The kind is camera" in companion.get_by_role("status").inner_text()
    grab(editor, node, (0.1, 0), (0.3, 0))
    assert text(editor, node) == START
    companion.get_by_role("button", name="Draw keyframes").click()
    editor.wait()
    assert editor.value(node, "kind") == "keyframes"
    editor.undo()
    assert editor.value(node, "kind") == "camera"


def test_a_linked_text_is_not_drawn_over(editor, node):
    source = editor.add("PrimitiveStringMultiline", at=(600, 60), value="0: 0 0")
    editor.link(source, 0, node, "keyframes")
    assert "A link sets keyframes" in editor.companion(node).get_by_role("status").inner_text()
    grab(editor, node, (0.1, 0), (0.3, 0))
    assert text(editor, node) == START


def test_a_copy_and_a_saved_file_hold_the_path(editor, node):
    grab(editor, node, (0.1, 0), (0.3, 0.1))
    drawn, saved = text(editor, node), editor.saved()
    editor.js("(app, id) => { app.canvas.selectNode?.(app.graph.getNodeById(id)); app.canvas.copyToClipboard(); "
              "app.canvas.pasteFromClipboard(); }", node)  # fmt: skip
    editor.wait(600)
    copies = [each["id"] for each in editor.saved()["nodes"]]
    assert len(copies) == 2
    assert [text(editor, copy) for copy in copies] == [drawn, drawn]
    editor.load(saved)
    assert text(editor, node) == drawn
    assert editor.saved()["nodes"][0]["widgets_values"] == saved["nodes"][0]["widgets_values"]
    assert (
        editor.companion(node).get_by_role("spinbutton", name="down").input_value()
        == f"{keys(editor, node)[0][1]:g}"
    )


def test_10000_frames_with_many_keys_are_drawn(editor, node):
    lines = [f"{frame}: {frame % 7 / 10} {frame % 5 / 10}" for frame in range(0, 10_000, 40)]
    editor.set(node, "frames", 10_000)
    editor.set(node, "keyframes", "\n".join(lines))
    editor.companion(node).focus()
    for _ in range(3):
        editor.key(".")
    editor.key("ArrowRight")
    lines[3] = "120: 0.11 0"
    assert text(editor, node) == "\n".join(lines)


def test_both_themes_are_legible(editor, node):
    for theme in ("dark", "light"):
        editor.js(
            "async (app, id) => { await app.extensionManager.setting.set('Comfy.ColorPalette', id); }", theme
        )
        editor.wait(600)
        editor.companion(node).focus()
        editor.key("ArrowRight")
        contrast = editor.js(
            """() => {
                const style = getComputedStyle(document.documentElement);
                const pen = document.createElement("canvas").getContext("2d");
                const light = (name) => {
                    pen.fillStyle = style.getPropertyValue(name);
                    pen.fillRect(0, 0, 1, 1);
                    const [r, g, b] = pen.getImageData(0, 0, 1, 1).data;
                    return 0.3 * r + 0.6 * g + 0.1 * b;
                };
                return Math.abs(light("--input-text") - light("--comfy-input-bg"));
            }"""
        )
        assert contrast > 80, theme


def test_the_node_moves_a_picture_the_way_it_was_dragged(editor, node):
    """The node runs for real: a white square on black follows the path by Noise Warp, which here adds no noise."""
    editor.set(node, "keyframes", "0: 0 0")
    go(editor, node, 7)
    grab(editor, node, (0.1, 0.1), (0.35, 0.225))
    made = {
        "demo": editor.add("Frameloom_DemoModelLoader"),
        "black": editor.add("EmptyImage", width=128, height=128, color=0),
        "white": editor.add("EmptyImage", width=32, height=32, color=0xFFFFFF),
        "both": editor.add("ImageCompositeMasked", x=32, y=32),
        "encode": editor.add("VAEEncode"),
        "steps": editor.add("BasicScheduler", steps=1),
        "none": editor.add("SetFirstSigma", sigma=0.0),
        "path": node,
        "warp": editor.add("Frameloom_NoiseWarp"),
        "decode": editor.add("VAEDecode"),
        "show": editor.add("PreviewImage"),
    }
    links = (
        ("black", 0, "both", "destination"), ("white", 0, "both", "source"), ("both", 0, "encode", "pixels"),
        ("demo", 2, "encode", "vae"), ("demo", 0, "steps", "model"), ("steps", 0, "none", "sigmas"),
        ("demo", 0, "warp", "model"), ("encode", 0, "warp", "latent"), ("path", 0, "warp", "path"),
        ("none", 0, "warp", "sigmas"), ("warp", 0, "decode", "samples"), ("demo", 2, "decode", "vae"),
        ("decode", 0, "show", "images"),
    )  # fmt: skip
    editor.link_all(made, links)
    entry = editor.run()
    assert entry["status"]["status_str"] == "success"
    assert entry["prompt"][2][str(node)]["inputs"]["keyframes"] == text(editor, node)
    frames = [bright_middle(editor, image) for image in entry["outputs"][str(made["show"])]["images"]]
    assert len(frames) == 8
    # cells of 8 pixels are picked, so a picture is at most half a cell from where it was drawn
    assert frames[-1][0] - frames[0][0] == pytest.approx(0.25 * 128, abs=5)
    assert frames[-1][1] - frames[0][1] == pytest.approx(0.125 * 128, abs=5)


def bright_middle(editor, image):
    """Return the middle of what is bright in a picture of the server's, in pixels to the right and down."""
    with urllib.request.urlopen(
        f"{editor.server.url}/view?{urllib.parse.urlencode(image)}", timeout=60
    ) as reply:
        light = np.asarray(Image.open(io.BytesIO(reply.read())).convert("L"))
    rows, columns = (light > 128).nonzero()
    return columns.mean(), rows.mean()
