"""The box editor, by mouse and keyboard: what it writes, what it leaves alone, and what a run gets."""

from __future__ import annotations

import pytest
from frameloom.models.storyboard.scenes import parse_storyboard
from frameloom.tests.browser.editor import board_of
from frameloom.tests.support.layouts import boxes, ids, sample
from PIL import Image
from playwright.sync_api import expect

KIND = "Frameloom_LayoutFromText"
BOARD = board_of(0.2, 0.2, 0.5, 0.5)


class Drawn:
    """A node with a storyboard, and places of its picture on the screen."""

    def __init__(self, editor, text=BOARD, **values):
        self.editor = editor
        self.node = editor.add(KIND, text=text, **values)
        editor.wait(600)

    @property
    def root(self):
        return self.editor.companion(self.node)

    @property
    def canvas(self):
        return self.root.locator("canvas").first

    @property
    def text(self):
        return self.editor.value(self.node, "text")

    @property
    def board(self):
        return parse_storyboard(self.text)

    @property
    def scene(self):
        return self.board.scenes[0]

    def at(self, x, y, size=(512, 512)):
        """A place of the picture as a part of the canvas."""
        wide, tall = self.canvas.evaluate("(canvas) => [canvas.clientWidth, canvas.clientHeight]")
        scale = min((wide - 24) / size[0], (tall - 24) / size[1])
        return (
            0.5 + (x - 0.5) * size[0] * scale / wide,
            0.5 + (y - 0.5) * size[1] * scale / tall,
        )

    def drag(self, *places):
        self.editor.drag(self.canvas, [self.at(*place) for place in places])

    def click(self, *place, **options):
        self.editor.click(self.canvas, self.at(*place), **options)

    def colour(self, *place):
        """What the canvas shows at a place of the picture."""
        pick = """(canvas, [x, y]) => {
            const [left, top] = [Math.round(x * canvas.width), Math.round(y * canvas.height)];
            return [...canvas.getContext("2d").getImageData(left, top, 1, 1).data];
        }"""
        return self.canvas.evaluate(pick, list(self.at(*place)))

    def go(self, frame):
        """Move the slider to a frame."""
        self.root.locator("input[type=range]").fill(str(frame))
        self.editor.wait()


@pytest.fixture
def drawn(editor):
    return Drawn(editor)


def keys(drawn, thing=0):
    """Frames and boxes of a thing's keys."""
    return [(key.f, key.box) for key in drawn.scene.entities[thing].track]


def near(*box):
    return pytest.approx(box, abs=0.012)  # a screen pixel or two


def test_a_drag_on_empty_ground_draws_a_thing(drawn):
    drawn.drag((0.9, 0.6), (0.6, 0.8))
    assert ids(drawn.scene) == ["ball", "thing_2"]
    assert boxes(drawn.scene, "thing_2", [0, 9]) == [near(0.6, 0.6, 0.9, 0.8)] * 2


@pytest.mark.parametrize("zoom", [0.5, 1, 2])
def test_a_drag_inside_moves_and_at_a_handle_resizes_at_every_zoom(editor, zoom):
    drawn = Drawn(editor)
    editor.zoom(zoom)
    below = -300 + 50 / zoom  # the editor's own buttons
    editor.js("(app, y) => { app.canvas.ds.offset = [0, y]; app.canvas.setDirty(true, true); }", below)
    editor.wait(400)
    drawn.drag((0.35, 0.35), (0.55, 0.45))
    assert keys(drawn) == [(0, near(0.4, 0.3, 0.7, 0.6))]
    drawn.drag((0.7, 0.6), (0.9, 0.8))
    assert keys(drawn) == [(0, near(0.4, 0.3, 0.9, 0.8))]
    drawn.drag((0.4, 0.55), (0.2, 0.9))
    assert keys(drawn) == [(0, near(0.2, 0.3, 0.9, 0.8))]


def test_a_drag_at_a_frame_without_a_key_makes_one_where_the_run_has_the_thing(drawn):
    drawn.go(8)
    drawn.drag((0.35, 0.35), (0.55, 0.35))
    assert keys(drawn) == [(0, (0.2, 0.2, 0.5, 0.5)), (8, near(0.4, 0.2, 0.7, 0.5))]
    drawn.go(4)
    drawn.drag((0.45, 0.35), (0.45, 0.65))  # where it is between the two
    assert keys(drawn)[1] == (4, near(0.3, 0.5, 0.6, 0.8))


def test_right_click_and_delete_take_a_key_away_and_the_thing_with_its_last_one(drawn):
    drawn.go(8)
    drawn.drag((0.35, 0.35), (0.55, 0.35))
    drawn.click(0.55, 0.35, button="right")
    assert [frame for frame, _ in keys(drawn)] == [0]
    drawn.editor.key("Delete")  # no key at this frame
    assert [frame for frame, _ in keys(drawn)] == [0]
    drawn.go(0)
    drawn.click(0.35, 0.35)
    drawn.editor.key("Delete")
    assert ids(drawn.scene) == []
    assert drawn.root.count() == 1  # the node is there


def test_arrows_move_by_a_pixel_and_numbers_can_be_typed(drawn):
    editor = drawn.editor
    drawn.click(0.35, 0.35)
    steps = editor.undo_steps()
    editor.key("ArrowRight")
    editor.key("Shift+ArrowDown")
    assert keys(drawn) == [(0, pytest.approx((0.202, 0.2195, 0.502, 0.5195), abs=2e-4))]
    assert editor.undo_steps() == steps + 2
    drawn.root.get_by_label("right edge").fill("0.75")
    editor.key("Enter")
    assert keys(drawn)[0][1][2] == 0.75
    assert editor.undo_steps() == steps + 3


def test_a_double_click_renames(drawn):
    x, y = drawn.editor.point(drawn.canvas, drawn.at(0.35, 0.35))
    drawn.editor.page.mouse.dblclick(x, y)
    drawn.editor.page.keyboard.type('a "red" ball')
    drawn.editor.key("Enter")
    assert [(each.id, each.text) for each in drawn.scene.entities] == [("ball", 'a "red" ball')]


def test_every_edit_is_one_step_of_undo_and_of_redo(drawn):
    editor, texts = drawn.editor, [drawn.text]
    steps = editor.undo_steps()
    for places in [((0.6, 0.6), (0.9, 0.9)), ((0.75, 0.75), (0.7, 0.7)), ((0.35, 0.35), (0.4, 0.3))]:
        drawn.drag(*places)
        texts.append(drawn.text)
    assert len(set(texts)) == 4
    assert editor.undo_steps() == steps + 3
    for text in reversed(texts[:-1]):
        editor.undo()
        assert drawn.text == text
    for text in texts[1:]:
        editor.redo()
        assert drawn.text == text
    editor.undo()
    drawn.drag((0.35, 0.35), (0.4, 0.3))  # what came back can be edited
    assert keys(drawn) == [(0, near(0.25, 0.15, 0.55, 0.45))]


def test_a_text_of_another_format_is_shown_and_written_anew_by_an_edit_that_one_undo_takes_back(editor):
    drawn = Drawn(editor, sample("lvd.txt"), format="LVD frames")
    assert "writes it anew as Frameloom JSON" in drawn.root.inner_text()
    drawn.drag((0.02, 0.97), (0.2, 0.8))
    assert ids(drawn.scene)[-2:] == ["brown_dog_2", "thing_4"]
    assert editor.value(drawn.node, "format") == "Frameloom JSON"
    editor.undo()
    assert (drawn.text, editor.value(drawn.node, "format")) == (sample("lvd.txt"), "LVD frames")


def test_a_text_that_cannot_be_read_stays_and_its_error_names_the_line(drawn):
    editor, broken = drawn.editor, drawn.text.replace("0.2, 0.2", "0.2, 2")
    editor.set(drawn.node, "text", broken)
    editor.wait(600)
    assert "line 10: storyboard $.scenes[0].entities[0].track[0].box" in drawn.root.inner_text()
    drawn.drag((0.35, 0.35), (0.6, 0.6))
    drawn.drag((0.7, 0.7), (0.9, 0.9))
    editor.key("Delete")
    assert drawn.text == broken
    editor.set(drawn.node, "text", BOARD)
    editor.wait(600)
    drawn.drag((0.35, 0.35), (0.55, 0.45))
    assert keys(drawn) == [(0, near(0.4, 0.3, 0.7, 0.6))]


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        (lambda route: route.abort(), "The server does not answer"),
        (lambda route: route.fulfill(status=502, body="<html>"), "The server answered 502"),
    ],
)
def test_without_the_server_the_text_stays_and_what_was_read_can_be_edited(drawn, gone, said):
    editor, other = drawn.editor, BOARD.replace('"f": 0', '"f": 3')
    path = "**/frameloom/storyboard"
    editor.page.route(path, gone)
    try:
        editor.set(drawn.node, "text", other)
        editor.wait(400)
        assert said in drawn.root.inner_text()
        drawn.drag((0.35, 0.35), (0.55, 0.45))
        assert drawn.text == other
        editor.set(drawn.node, "text", BOARD)
        editor.wait(400)
        drawn.drag((0.35, 0.35), (0.55, 0.45))
        assert keys(drawn) == [(0, near(0.4, 0.3, 0.7, 0.6))]
    finally:
        editor.page.unroute(path)


def test_a_value_that_another_sets_during_a_drag_stays(drawn):
    other = BOARD.replace('"f": 0', '"f": 3')
    mouse, editor = drawn.editor.page.mouse, drawn.editor
    mouse.move(*editor.point(drawn.canvas, drawn.at(0.35, 0.35)))
    mouse.down()
    mouse.move(*editor.point(drawn.canvas, drawn.at(0.5, 0.5)), steps=3)
    editor.set(drawn.node, "text", other)
    mouse.move(*editor.point(drawn.canvas, drawn.at(0.6, 0.6)), steps=3)
    mouse.up()
    editor.wait(400)
    assert drawn.text == other


def test_scenes_have_tabs(drawn):
    drawn.root.get_by_label("add a scene").click()
    drawn.editor.wait()
    drawn.drag((0.2, 0.2), (0.6, 0.6))
    first, second = drawn.board.scenes
    assert (second.id, second.frames, ids(second)) == (2, 16, ["thing_1"])
    assert ids(first) == ["ball"]
    drawn.root.get_by_label("scene 1").click()
    drawn.root.get_by_label("frames of the scene").fill("32")
    drawn.editor.key("Enter")
    assert [scene.frames for scene in drawn.board.scenes] == [32, 16]


def test_a_file_and_another_tab_and_a_copy_keep_what_was_drawn(drawn):
    editor = drawn.editor
    drawn.drag((0.6, 0.6), (0.9, 0.8))
    text, saved = drawn.text, editor.saved()
    editor.load(saved)
    assert drawn.text == text
    drawn.drag((0.35, 0.35), (0.4, 0.3))
    assert drawn.text != text
    number = editor.js(
        """(app, id) => {
            const copy = app.graph.getNodeById(id).clone();
            copy.pos = [700, 60];
            app.graph.add(copy);
            return copy.id;
        }""",
        drawn.node,
    )
    editor.wait(600)
    assert editor.value(number, "text") == drawn.text
    before, drawn.node = drawn.text, number
    drawn.drag((0.75, 0.7), (0.7, 0.6))
    assert drawn.text != before
    drawn.node = next(each["id"] for each in saved["nodes"])
    assert drawn.text == before


def test_what_is_drawn_arrives_in_a_run_and_in_the_preview(drawn):
    editor = drawn.editor
    drawn.drag((0.6, 0.6), (0.9, 0.8))
    preview = editor.add("Frameloom_LayoutPreview", at=(700, 60))
    editor.link(drawn.node, 0, preview, "storyboard")
    show = editor.add("PreviewAny", at=(700, 700))
    editor.link(drawn.node, 1, show, "source")
    video = editor.add("SaveAnimatedWEBP", at=(1100, 60))
    editor.link(preview, 0, video, "images")
    expect(editor.companion(preview).get_by_label("scene 1")).to_have_count(1)
    before = drawn.colour(0.9, 0.1)
    assert editor.prompt()[str(drawn.node)]["inputs"]["text"] == drawn.text
    entry = editor.run()
    assert entry["status"]["status_str"] == "success"
    ran = parse_storyboard(entry["outputs"][str(show)]["text"][0])
    assert ran.scenes == drawn.board.scenes
    assert parse_storyboard(entry["outputs"][str(preview)]["frameloom_storyboard"][0]) == ran
    editor.until(lambda: drawn.colour(0.9, 0.1) != before)  # the run's frames lie behind the boxes


def test_three_things_over_32_frames_are_drawn_by_the_mouse_alone_and_become_a_video(editor):
    drawn = Drawn(editor, "", frames=32, width=128, height=128)
    first = [(0.1, 0.1, 0.3, 0.3), (0.6, 0.1, 0.8, 0.3), (0.1, 0.6, 0.3, 0.8)]
    ways = [(0.3, 0.3), (0.1, 0.4), (0.5, 0.1)]
    for box in first:
        drawn.drag(box[:2], box[2:])
    editor.drag(drawn.root.locator("input[type=range]"), [(0.03, 0.5), (0.5, 0.5), (0.98, 0.5)])
    for box, (right, down) in zip(first, ways, strict=True):
        middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        drawn.drag(middle, (middle[0] + right, middle[1] + down))
    assert ids(drawn.scene) == ["thing_1", "thing_2", "thing_3"]
    for thing, (box, (right, down)) in enumerate(zip(first, ways, strict=True)):
        end = box[0] + right, box[1] + down, box[2] + right, box[3] + down
        assert keys(drawn, thing) == [(0, near(*box)), (31, near(*end))]
    kinds = {
        "demo": ("Frameloom_DemoModelLoader", {}),
        "start": ("Frameloom_SceneStart", {}),
        "layout": ("Frameloom_LayoutConditioning", {"method": "bias"}),
        "negative": ("CLIPTextEncode", {}),
        "sample": ("KSampler", {"steps": 2, "cfg": 3.0, "sampler_name": "ddim"}),
        "decode": ("VAEDecode", {}),
        "save": ("SaveAnimatedWEBP", {"filename_prefix": "three_things"}),
    }
    made = {name: editor.add(kind, at=(60, 1200), **values) for name, (kind, values) in kinds.items()}
    made["boxes"] = drawn.node
    links = (
        ("boxes", 0, "start", "storyboard"), ("start", 0, "layout", "storyboard"), ("demo", 0, "layout", "model"),
        ("demo", 1, "layout", "clip"), ("demo", 1, "negative", "clip"), ("layout", 0, "sample", "model"),
        ("layout", 1, "sample", "positive"), ("negative", 0, "sample", "negative"),
        ("start", 1, "sample", "latent_image"), ("sample", 0, "decode", "samples"), ("demo", 2, "decode", "vae"),
        ("decode", 0, "save", "images"),
    )  # fmt: skip
    editor.link_all(made, links)
    entry = editor.run()
    assert entry["status"]["status_str"] == "success"
    (video,) = entry["outputs"][str(made["save"])]["images"]
    with Image.open(editor.server.base / "output" / video["filename"]) as frames:
        assert frames.n_frames == 32
