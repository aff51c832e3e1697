"""Every editor without a mouse, by a screen reader, and on dark and on light ground."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

# Nodes with an editor of each kind, and what they begin with.
NODES = {
    "Frameloom_LayoutFromText": {"text": ""},
    "Frameloom_LayoutPreview": {},
    "Frameloom_MotionPath": {"kind": "keyframes", "keyframes": "0: 0 0\n7: 0.25 0 1.2"},
    "Frameloom_FreeNoise": {},
    "Frameloom_PromptTravel": {"text": "0: a\n8: b"},
    "Frameloom_VideoMetrics": {},
}
# Texts that cannot be read as a storyboard, as a path and as prompts.
WRONG = {
    "Frameloom_LayoutFromText": {"text": "{ nothing"},
    "Frameloom_MotionPath": {"kind": "keyframes", "keyframes": "7 x"},
    "Frameloom_PromptTravel": {"text": "0: a\nb"},
}
CONTROLS = "button, input, select, textarea, [tabindex]"
# The controls of a companion that a hand could use now, by a number that they get.
NUMBERED = """(root, controls) => [...root.querySelectorAll(controls)]
    .filter((each) => !each.disabled && each.checkVisibility({ visibilityProperty: true }))
    .map((each, number) => (each.dataset.number = number))"""
FOCUSED = (
    "(root) => root.contains(document.activeElement) ? document.activeElement.dataset.number ?? '' : null"
)
NAMELESS = re.compile(
    r"^\s*- (button|checkbox|combobox|group|img|slider|spinbutton|textbox)(?! \\?[\"'])", re.MULTILINE
)
# Texts that are seen, and how far their colour is from the ground's, as WCAG 2 has it.
CONTRASTS = """(root) => {
    const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const pixel = (...colours) => {
        pen.clearRect(0, 0, 1, 1);
        for (const colour of colours) {
            pen.fillStyle = colour;
            pen.fillRect(0, 0, 1, 1);
        }
        return [...pen.getImageData(0, 0, 1, 1).data];
    };
    const light = (rgb) => {
        const [r, g, b] = rgb.slice(0, 3).map((each) => each / 255)
            .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
    };
    const ground = (element) => {
        const colours = [];
        for (let each = element; each; each = each.parentElement) {
            colours.unshift(getComputedStyle(each).backgroundColor);
            if (pixel(colours[0])[3] === 255) return colours;
            if (each === root && !LiteGraph.vueNodesMode) break; // below classic nodes, the canvas shows their ground
        }
        return [LiteGraph.NODE_DEFAULT_BGCOLOR, ...colours];
    };
    const found = {};
    for (const each of root.querySelectorAll("*")) {
        const texts = [...each.childNodes].filter((child) => child.nodeType === Node.TEXT_NODE);
        const typed = each.matches("input[type=text], input[type=number], select") ? each.value : "";
        const text = texts.map((child) => child.textContent.trim()).join("") || typed;
        const isSeen = each.checkVisibility({ visibilityProperty: true }) && !each.disabled && !each.matches("option");
        if (!text || !isSeen) continue;
        const under = ground(each);
        const [one, other] = [light(pixel(...under, getComputedStyle(each).color)), light(pixel(...under))];
        found[text.slice(0, 40)] = Math.max(one, other) / Math.min(one, other);
    }
    return found;
}"""


@pytest.fixture(params=NODES)
def root(editor, request):
    """The companion of a node of each kind; the frames of one that has run are there."""
    node = editor.add(request.param, at=(60, 60), **NODES[request.param])
    if request.param == "Frameloom_VideoMetrics":
        editor.link(
            editor.add("EmptyImage", at=(560, 60), width=64, height=64, batch_size=4), 0, node, "images"
        )
        assert editor.run()["status"]["status_str"] == "success"
    editor.wait(900)
    return editor.companion(node)


def test_the_tab_key_reaches_every_control_and_each_has_a_name(editor, root):
    controls = root.evaluate(NUMBERED, CONTROLS)
    root.focus()
    reached = []
    while (at := root.evaluate(FOCUSED)) is not None and len(reached) <= len(controls):
        reached.append(at)
        editor.page.keyboard.press("Tab")
    assert reached == ["", *map(str, controls)]
    snapshot = root.aria_snapshot()
    assert re.findall(NAMELESS, snapshot) == [], snapshot


def pale(editor, root):
    """Texts that stand out too little from their ground, with their contrast, by theme."""
    found = {}
    try:
        for theme in ("light", "dark"):
            editor.js(
                "async (app, id) => { await app.extensionManager.setting.set('Comfy.ColorPalette', id); }",
                theme,
            )
            editor.wait(900)
            seen = root.evaluate(CONTRASTS)
            assert seen
            found[theme] = {text: ratio for text, ratio in seen.items() if ratio < 4.5}
    finally:
        editor.js("async (app) => { await app.extensionManager.setting.set('Comfy.ColorPalette', 'dark'); }")
    return found


def test_texts_can_be_read_on_dark_and_on_light_ground(editor, root):
    assert pale(editor, root) == {"light": {}, "dark": {}}


@pytest.mark.parametrize("kind", WRONG)
def test_an_error_can_be_read_on_dark_and_on_light_ground(editor, kind):
    root = editor.companion(editor.add(kind, at=(60, 60), **WRONG[kind]))
    expect(root.get_by_role("status")).to_contain_text("line")
    assert pale(editor, root) == {"light": {}, "dark": {}}
