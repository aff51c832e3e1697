"""Plans on the nodes: what the editor shows of windows, prompts, trees and curves before a run."""

from __future__ import annotations

import pytest
from frameloom.models.long_video.free_noise import NoiseShuffle
from frameloom.models.long_video.nuwa_tree import count_frames
from frameloom.models.long_video.prompt_text import parse_prompts
from frameloom.models.long_video.prompt_travel import plan_travel
from frameloom.models.video.curve import frame_curve
from frameloom.models.video.windows import WindowPlan
from playwright.sync_api import expect

CAPTURE = "(app) => app.extensionManager.workflow.activeWorkflow.changeTracker.captureCanvasState()"


def see(editor, node, text):
    """Wait until a node's plan says something."""
    expect(editor.companion(node)).to_contain_text(text)


def read(editor, node, count):
    """Return what the plan says of each of the first frames, as the arrow key shows them."""
    editor.companion(node).focus()
    editor.page.keyboard.press("Home")
    said = []
    for frame in range(count):
        line = editor.companion(node).get_by_role("status").inner_text()
        assert line.startswith(f"frame {frame}: ")
        said.append(line.partition(": ")[2])
        editor.page.keyboard.press("ArrowRight")
    return said


def windows_at(plan, frames, frame):
    """Return the words for the windows that a frame is in."""
    said = []
    for number, window in enumerate(plan.windows(frames, 0), 1):
        if frame in window:
            weights = plan.weigh(window, frames)
            share = weights[window.index(frame)] / max(weights)
            said.append(f"window {number}" if share == 1 else f"window {number} ({share:.2f})")
    return ", ".join(said)


def test_windows_follow_the_widgets_and_have_the_models_weights(editor):
    node = editor.add("Frameloom_ContextWindows")
    see(
        editor,
        node,
        "32 frames: 3 windows of 16 in each step, a model call each; a frame is sampled 1.50 times",
    )
    editor.set(node, "length", 8)
    editor.set(node, "overlap", 3)
    editor.set(node, "weights", "overlap-linear")
    editor.set(node, "frames", 12)
    see(editor, node, "12 frames: 2 windows of 8")
    editor.wait(600)
    plan = WindowPlan(8, 3, weights="overlap-linear")
    assert read(editor, node, 12) == [windows_at(plan, 12, frame) for frame in range(12)]
    editor.set(node, "schedule", "looped")
    see(editor, node, "12 frames: 3 windows of 8")


def test_the_picture_is_drawn_and_the_mouse_reads_it(editor):
    node = editor.add("Frameloom_ContextWindows")
    see(editor, node, "32 frames")
    editor.wait(600)
    drawn = "(canvas) => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean)"
    canvas = editor.companion(node).locator("canvas")
    assert canvas.evaluate(drawn)
    for zoom in (1, 0.5, 2):
        editor.zoom(zoom)
        editor.page.mouse.move(*editor.point(canvas, (12.5 / 32, 0.3)))
        see(editor, node, "frame 12: window 1 (0.50), window 2 (0.13)")


def test_a_finger_reads_it(editor):
    node = editor.add("Frameloom_ContextWindows")
    see(editor, node, "32 frames")
    editor.wait(600)
    x, y = editor.point(editor.companion(node).locator("canvas"), (12.5 / 32, 0.3))
    editor.devices.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    see(editor, node, "frame 12: window 1 (0.50), window 2 (0.13)")
    editor.devices.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_prompts_have_the_weights_that_frames_are_mixed_with(editor):
    text = "0: a circle\n6: a cross"
    node = editor.add("Frameloom_PromptTravel", text=text, frames=7, interpolation="ease in-out")
    see(editor, node, "7 frames, 2 prompts")
    keys = parse_prompts(text, 7)
    expected = [
        f"{a}: {keys[a]}" if a == b else f"{a}: {keys[a]} ({1 - part:.2f}), {b}: {keys[b]} ({part:.2f})"
        for a, b, part in plan_travel(keys, 7, "ease in-out")
    ]
    assert read(editor, node, 7) == expected


def test_a_curve_and_a_tree_have_pythons_numbers(editor):
    node = editor.add("Frameloom_ControlSchedule", frames=5, strength="0: 1\n-1: 0.5", between="ease in")
    see(editor, node, "5 frames, factor 0.5 to 1")
    values = frame_curve("strength", "0: 1\n-1: 0.5", 5, "ease in").tolist()
    assert read(editor, node, 5) == [f"factor by frame {round(value, 4):g}" for value in values]
    tree = editor.add("Frameloom_NuwaPlan", at=(560, 60), length=5, depth=3)
    see(editor, tree, f"{count_frames(5, 3)} frames: 21 jobs of 5")
    assert read(editor, tree, 5)[1:] == ["level 3: 16"] * 3 + ["level 2: 4, level 3: 16"]


def test_free_noise_is_shown_for_the_clip_that_is_sampled_behind_it(editor):
    node = editor.add("Frameloom_FreeNoise")
    see(editor, node, "64 frames, noise of the first 16, 13 windows of attention")
    field = editor.companion(node).locator("input")
    field.fill("24")
    see(editor, node, "24 frames, noise of the first 16")
    sampler = editor.add("KSampler", at=(520, 60))
    latent = editor.add("EmptyLatentImage", at=(520, 500), batch_size=20)
    editor.link(node, 0, sampler, "model")
    editor.link(latent, 0, sampler, "latent_image")
    see(editor, node, "20 frames, noise of the first 16, 2 windows of attention")
    expect(field).to_be_hidden()
    sources = NoiseShuffle(16, 4, editor.value(node, "seed")).sources(range(20))
    noises = [said.partition(";")[0] for said in read(editor, node, 20)]
    assert noises == [f"frame whose noise it is {source}" for source in sources]
    editor.set(latent, "batch_size", 8)
    see(editor, node, "8 frames: sampled as without this node")


def test_few_steps_are_those_of_the_file_that_the_graph_loads(editor):
    few = "frameloom_demo_motion_few_steps.safetensors"
    node = editor.add("Frameloom_FewStepSettings", at=(900, 60))
    see(editor, node, "connect the model that comes out of Apply Motion Module")
    load = editor.add("Frameloom_MotionModuleLoader", file=few)
    apply = editor.add("Frameloom_ApplyMotionModule", at=(460, 60))
    editor.link(load, 0, apply, "motion")
    editor.link(apply, 0, node, "model")
    see(editor, node, "motion_few_steps.safetensors: euler, sgm_uniform, 4 steps, cfg 1")
    editor.set(node, "denoise", 0.5)
    see(editor, node, "2 of 4 steps")
    editor.companion(node).focus()
    editor.key("End")
    see(editor, node, "step 1: timestep 249")
    editor.set(node, "steps", 8)
    see(editor, node, "got steps=8 for motion_few_steps.safetensors; expected 4")
    editor.set(node, "steps", 0)
    editor.set(load, "file", "frameloom_demo_motion.safetensors")
    see(editor, node, "motion.safetensors does not say that it is a few-step module")
    assert set(editor.prompt()[str(node)]["inputs"]) == {"model", "steps", "denoise"}


def test_what_comes_over_a_link_is_read_where_a_node_just_holds_it(editor):
    node = editor.add("Frameloom_ContextWindows")
    number = editor.add("PrimitiveInt", at=(560, 60), value=40)
    editor.link(number, 0, node, "frames")
    see(editor, node, "40 frames: ")
    travel = editor.add("Frameloom_PromptTravel", at=(560, 300), text="0: a", frames=50)
    editor.link(travel, 2, node, "frames")
    see(editor, node, "50 frames: ")
    math = editor.add("Frameloom_SelectScene", at=(960, 60))
    output = editor.js(
        "(app, id) => app.graph.getNodeById(id).outputs.findIndex((each) => each.type === 'INT')", math
    )
    editor.link(math, output, node, "frames")
    see(editor, node, "frames comes over a link, so the plan is known when the graph runs.")


@pytest.mark.parametrize(
    ("kind", "widget", "text", "said", "better", "then"),
    [
        ("PromptTravel", "text", "0: a\nb", "prompts line 2, column 1: got 'b'", "0: a", "16 frames, 1 prompts"),
        ("ControlSchedule", "strength", "0: 1\n4 0", "strength line 2: got '4 0'", "0: 3", "factor 3"),
        ("MotionLoRASchedule", "strength", "0: 1\n4 0", "strength line 2: got '4 0'", "0: 3", "factor 3"),
        ("NuwaPlan", "prompts", "a\n\nb", "prompts line 2: got nothing", "a", "226 frames"),
        ("ContextWindows", "overlap", 16, "overlap=16 with windows of length=16", 8, "3 windows"),
    ],
)  # fmt: skip
def test_what_the_node_would_refuse_stands_on_it_in_its_words(editor, kind, widget, text, said, better, then):
    node = editor.add(f"Frameloom_{kind}")
    see(editor, node, "frames")
    editor.set(node, widget, text)
    see(editor, node, said)
    assert editor.value(node, widget) == text
    editor.set(node, widget, better)
    see(editor, node, then)
    expect(editor.companion(node)).not_to_contain_text(said)


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        (lambda route: route.abort(), "The server does not answer."),
        (lambda route: route.fulfill(status=502, body="<html>"), "The server answered 502."),
    ],
    ids=["silent", "502"],
)
def test_without_a_server_it_says_so_and_keeps_text_and_picture(editor, gone, said):
    node = editor.add("Frameloom_PromptTravel", text="0: a\n8: b")
    see(editor, node, "16 frames, 2 prompts")
    editor.page.route("**/frameloom/plan", gone)
    try:
        editor.set(node, "frames", 12)
        see(editor, node, f"{said} This is the plan of before")
        assert editor.value(node, "text") == "0: a\n8: b"
        see(editor, node, "16 frames, 2 prompts")
    finally:
        editor.page.unroute("**/frameloom/plan")
    editor.js("() => window.comfyAPI.api.api.dispatchEvent(new CustomEvent('reconnected'))")
    see(editor, node, "12 frames, 2 prompts")


def test_ten_thousand_frames_are_shown(editor):
    node = editor.add("Frameloom_PromptTravel", text="0: a\n9999: b", frames=10_000)
    see(editor, node, "10,000 frames, 2 prompts")
    editor.companion(node).focus()
    editor.key("End")
    see(editor, node, "frame 9999: 9999: b")
    editor.key("ArrowLeft")
    see(editor, node, "frame 9998: 0: a (0.00), 9999: b (1.00)")


def test_the_last_of_many_fast_changes_is_shown(editor):
    node = editor.add("Frameloom_ContextWindows")
    editor.js(
        """async (app, id) => {
            const widget = app.graph.getNodeById(id).widgets.find((each) => each.name === "frames");
            for (let frames = 33; frames <= 60; frames++) {
                widget.value = frames;
                await new Promise((then) => setTimeout(then, 40));
            }
        }""",
        node,
    )
    see(editor, node, "60 frames: ")


def test_it_is_in_no_file_and_makes_no_undo_step(editor):
    node = editor.add("Frameloom_ContextWindows", frames=20)
    see(editor, node, "20 frames")
    before = editor.undo_steps()
    editor.set(node, "frames", 24)
    editor.js(CAPTURE)
    see(editor, node, "24 frames")
    read(editor, node, 3)
    editor.click(editor.companion(node), (0.5, 0.5))
    assert editor.undo_steps() == before + 1
    values = [value for value in editor.saved()["nodes"][0]["widgets_values"] if value is not None]
    assert values[:6] == [16, 4, "static", 1, "pyramid", 24]
    given = editor.prompt()[str(node)]["inputs"]
    assert len(given) == len(values)
    assert "plan" not in given
    editor.undo()
    see(editor, node, "20 frames")
    editor.redo()
    see(editor, node, "24 frames")
    saved = editor.saved()
    editor.load(saved)
    see(editor, node, "24 frames")
    assert editor.value(node, "frames") == 24
