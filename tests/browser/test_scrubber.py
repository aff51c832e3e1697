"""The scrubber: the frame under the mouse is the one that is shown, and nothing of it is saved or undone."""

from __future__ import annotations

import pytest
from PIL import Image

FRAMES, WIDTH, HEIGHT = 9, 64, 48
COLOURS = [(20 * frame, 255 - 20 * frame, 70 * frame % 256) for frame in range(FRAMES)]
OTHERS = [(b, r, g) for r, g, b in COLOURS]


@pytest.fixture
def joined(editor):
    """A Join Scenes behind a clip: it shows frames and does next to nothing."""
    node = editor.add("Frameloom_JoinScenes", at=(460, 60))
    link_clip(editor, "clip.webp", COLOURS, node, "images")
    editor.link(node, 0, editor.add("PreviewImage", at=(860, 60)), "images")
    return node


@pytest.fixture
def looked(editor, joined):
    """The same after a run."""
    run(editor)
    return joined


def link_clip(editor, name, colours, node, slot):
    """Load a clip with a colour for each frame, and link it to a node."""
    first, *rest = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in colours]
    first.save(editor.server.base / "input" / name, save_all=True, append_images=rest, lossless=True)
    editor.link(editor.add("LoadImage", at=(60, 460), image=name), 0, node, slot)


def run(editor):
    assert editor.run()["status"]["status_str"] == "success"


def picture(editor, node):
    return editor.companion(node).locator("canvas").first


def colour(editor, node, x=0.5, y=0.5):
    """A pixel of the canvas, as bytes."""
    return picture(editor, node).evaluate(
        """(canvas, [x, y]) => [...canvas.getContext("2d").getImageData(
            Math.floor(canvas.width * x), Math.floor(canvas.height * y), 1, 1).data].slice(0, 3)""",
        [x, y],
    )


def wait_for(editor, node, wanted, x=0.5, y=0.5):
    """Wait until a pixel has a colour, but for what JPEG rounds."""
    editor.until(
        lambda: max(abs(a - b) for a, b in zip(colour(editor, node, x, y), wanted, strict=True)) <= 4
    )


def across(editor, node, share):
    """A share of the one picture's width as a place on the canvas, in whose middle it lies, as large as it fits."""
    box = picture(editor, node).bounding_box()
    wide = min(1, box["height"] * WIDTH / HEIGHT / box["width"])
    return 0.5 + (share - 0.5) * wide, 0.5


def over(editor, node, share):
    """Move the mouse to a share of the picture's width."""
    editor.page.mouse.move(*editor.point(picture(editor, node), across(editor, node, share)))
    editor.wait()


@pytest.mark.parametrize("scale", [0.5, 1, 2])
def test_the_frame_under_the_mouse_is_shown_at_every_zoom(editor, looked, scale):
    editor.js("(app) => { app.canvas.ds.offset = [-330, 0]; }")
    editor.zoom(scale)
    for frame in (0, 7, 3, FRAMES - 1):
        over(editor, looked, (frame + 0.5) / FRAMES)
        wait_for(editor, looked, COLOURS[frame])
        assert editor.companion(looked).get_by_text(f"{frame} / {FRAMES - 1}").is_visible()


@pytest.mark.parametrize("device", ["pen", "touch"])
def test_a_pen_and_a_finger_go_over_the_frames(editor, looked, device):
    places = [across(editor, looked, share) for share in (0.1, 0.5, 0.9)]
    editor.drag(picture(editor, looked), places, by=device)
    wait_for(editor, looked, COLOURS[int(0.9 * FRAMES)])


def test_keys_go_by_frames(editor, looked):
    editor.companion(looked).focus()
    keys = {"ArrowRight": 1, "End": FRAMES - 1, "ArrowLeft": FRAMES - 2, "Home": 0}
    for key, frame in keys.items():
        editor.key(key)
        wait_for(editor, looked, COLOURS[frame])
    assert len(editor.saved()["nodes"]) == 3


def test_it_plays_and_pauses(editor, looked):
    editor.companion(looked).focus()
    editor.key("End")
    editor.key(" ")
    wait_for(editor, looked, COLOURS[3])
    editor.key(" ")
    held = colour(editor, looked)
    editor.wait(500)
    assert colour(editor, looked) == held


def test_two_clips_go_in_step_and_the_curves_lead_to_their_frames(editor):
    node = editor.add("Frameloom_VideoMetrics", at=(460, 60))
    link_clip(editor, "clip.webp", COLOURS, node, "images")
    link_clip(editor, "other.webp", OTHERS, node, "compare")
    run(editor)
    curves = editor.companion(node).locator("canvas").nth(1)
    for frame in (6, 0, FRAMES - 1):
        editor.page.mouse.move(*editor.point(curves, ((frame + 0.5) / FRAMES, 0.5)))
        wait_for(editor, node, COLOURS[frame], x=0.25)
        wait_for(editor, node, OTHERS[frame], x=0.75)
    said = editor.companion(node).inner_text()
    assert "similarity to the next frame (SSIM): video -, compare -" in said  # no frame follows the last one
    apart = sum(abs(a - b) for a, b in zip(COLOURS[-1], OTHERS[-1], strict=True)) / 3 / 255
    assert f"difference of compare from video (mean |a - b|): difference {apart:.4g}" in said


def test_it_is_in_no_file_and_no_prompt_and_makes_no_undo_step(editor):
    """Of nodes on which core shows nothing: its previews grow by themselves, which is a step."""
    source = editor.add("EmptyImage", width=64, height=48, batch_size=4)
    node = editor.add("Frameloom_VideoMetrics", at=(460, 60))  # the last is on top: a click need not raise it
    editor.link(source, 0, node, "images")
    editor.js(
        "(app) => app.extensionManager.workflow.activeWorkflow.changeTracker.captureCanvasState()"
    )  # the link
    before = values_of(editor), editor.prompt(), editor.undo_steps()
    run(editor)
    for share in (0.2, 0.9):
        over(editor, node, share)
    editor.drag(picture(editor, node), [(0.3, 0.5), (0.6, 0.5)])
    assert (values_of(editor), editor.prompt(), editor.undo_steps()) == before


def values_of(editor):
    """The values that are saved, by node."""
    return {node["id"]: node.get("widgets_values") for node in editor.saved()["nodes"]}


def test_undo_keeps_the_frames(editor, looked):
    editor.add("Frameloom_VideoNoise", at=(60, 500))
    editor.undo()
    editor.companion(looked).focus()
    editor.key("End")
    wait_for(editor, looked, COLOURS[-1])


def test_frames_come_back_after_a_reload(editor, looked):
    saved = editor.saved()
    editor.load(saved)
    wait_for(editor, looked, COLOURS[0])
    saved["id"] = "00000000-0000-4000-8000-000000000000"  # another workflow, whose node has the same number
    editor.load(saved)
    editor.companion(looked).get_by_text("Run the node").wait_for()


def test_files_that_are_gone_are_said(editor, looked):
    """The server cleans its folder of previews when it starts."""
    wait_for(editor, looked, COLOURS[0])
    editor.js(
        """(app, id) => {
            const [clip] = app.nodeOutputs[id].frameloom_clips;
            const output = { frameloom_clips: [{ ...clip, sheets: ["gone.jpg"] }] };
            const detail = { node: `${id}`, display_node: `${id}`, prompt_id: "", output }; // as the server tells a run
            window.comfyAPI.api.api.dispatchEvent(new CustomEvent("executed", { detail }));
        }""",
        looked,
    )
    editor.companion(looked).get_by_text("run the node again").wait_for()


def test_one_frame_is_said(editor):
    image = editor.add("EmptyImage", width=64, height=64)
    node = editor.add("Frameloom_JoinScenes", at=(460, 60))
    editor.link(image, 0, node, "images")
    editor.link(node, 0, editor.add("PreviewImage", at=(860, 60)), "images")
    editor.companion(node).get_by_text("Run the node").wait_for()
    run(editor)
    editor.companion(node).get_by_text("One frame: nothing moves").wait_for()


def test_of_ten_thousand_frames_some_are_shown_and_it_is_said(editor):
    layout = editor.add("Frameloom_LayoutFromText", frames=10_000)  # the example: a circle goes to the right
    masks = editor.add("Frameloom_LayoutToMasks", at=(460, 60), width=64, height=64)
    editor.link(layout, 0, masks, "storyboard")
    editor.link(masks, 0, editor.add("PreviewAny", at=(860, 60)), "source")
    run(editor)
    editor.companion(masks).focus()
    editor.key("End")
    editor.companion(masks).get_by_text("Frame 9,999 of 10,000; one in 2 is shown.").wait_for()
    files = list((editor.server.base / "temp" / "frameloom").iterdir())
    assert sum(path.stat().st_size for path in files) < 64e6


def test_a_preview_of_core_leaves_room_for_the_frames(editor):
    node = editor.add("Frameloom_LayoutPreview", at=(460, 60))
    editor.link(editor.add("Frameloom_LayoutFromText", at=(60, 60)), 0, node, "storyboard")
    run(editor)
    editor.companion(node).get_by_text("0 / 15").wait_for()
    editor.wait(1000)
    assert picture(editor, node).bounding_box()["height"] > 100
