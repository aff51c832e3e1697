"""Every workflow as it opens from the template browser: large enough to be read, nothing on top of anything else."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest
from frameloom.tests.browser.editor import BLANK
from frameloom.tools.templates import file_name

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
READABLE = 0.6
GRAPHS = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
# In the tab that is open, since many tabs make a page slow; emptied first, or nodes keep the size of those before.
OPENED = """async (app, [empty, graph]) => {
    const { activeWorkflow } = app.extensionManager.workflow;
    const nodes = async (count) => {
        while (LiteGraph.vueNodesMode && document.querySelectorAll("[data-node-id]").length !== count) {
            await new Promise((done) => setTimeout(done, 50));
        }
    };
    await app.loadGraphData(empty, true, true, activeWorkflow);
    await nodes(0);
    await app.loadGraphData(graph, true, true, activeWorkflow, { openSource: "template" });
    await nodes(graph.nodes.length);
}"""
LOOKED_AT = """(app) => {
    const scale = app.canvas.ds.scale;
    const at = (element) => {
        const box = element.getBoundingClientRect();
        return [box.left / scale, box.top / scale, box.right / scale, box.bottom / scale];
    };
    const nodes = {}, cut = [];
    for (const node of app.graph.nodes) {
        const [x, y, width, height] = node.boundingRect;
        nodes[node.id] = [x, y, x + width, y + height];
    }
    if (LiteGraph.vueNodesMode) {
        for (const element of document.querySelectorAll("[data-node-id]")) {
            nodes[element.dataset.nodeId] = at(element);
            for (const label of element.querySelectorAll(".truncate")) {
                const isLabel = label.tagName === "DIV" && label.childElementCount === 0;
                if (isLabel && label.scrollWidth > label.clientWidth) cut.push(label.textContent);
            }
        }
    } else {
        const pen = document.createElement("canvas").getContext("2d");
        pen.font = `${LiteGraph.NODE_TEXT_SIZE}px ${LiteGraph.NODE_FONT}`;
        for (const node of app.graph.nodes) {
            const room = node.size[0] - 1.3 * LiteGraph.NODE_TITLE_HEIGHT;
            if (!node.collapsed && pen.measureText(node.title).width > room) cut.push(node.title);
        }
    }
    return { scale, nodes, cut };
}"""


def settled(page):
    """What is seen once it stays the same: nodes of Vue take their size some frames after they are there."""
    seen, before = page.js(LOOKED_AT), None
    while seen != before:
        page.wait(1000)
        seen, before = page.js(LOOKED_AT), seen
    return seen


def renumbered(graph, first):
    """The graph with other numbers of nodes: nodes of Vue keep the size of the one that had theirs before, in a tab."""
    nodes = [{**node, "id": node["id"] + first} for node in graph["nodes"]]
    links = [
        [link, one + first, output, other + first, *rest]
        for link, one, output, other, *rest in graph["links"]
    ]
    return {**graph, "nodes": nodes, "links": links, "last_node_id": graph["last_node_id"] + first}


def overlap(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_opens_readable_and_nothing_lies_on_anything(page, name):
    graph = json.loads((WORKFLOWS / f"{name}.json").read_text("utf-8"))
    graph = renumbered(graph, 1000 * (GRAPHS.index(name) + 1))
    page.js(OPENED, [BLANK, graph])
    seen = settled(page)
    assert seen["scale"] >= READABLE
    assert seen["cut"] == []
    assert len(seen["nodes"]) == len(graph["nodes"])
    titles = {str(node["id"]): node["title"] for node in graph["nodes"]}
    assert [
        (titles[one], titles[other], seen["nodes"][one], seen["nodes"][other])
        for one, other in combinations(seen["nodes"], 2)
        if overlap(seen["nodes"][one], seen["nodes"][other])
    ] == []


def test_a_latent_of_one_frame_is_spoken_of_at_the_node_that_samples_it(editor):
    graph = json.loads((WORKFLOWS / f"{file_name('animatediff_demo')}.json").read_text("utf-8"))
    editor.load(graph)
    titles = {node["title"]: node["id"] for node in graph["nodes"]}
    editor.set(titles["16 Frames"], "batch_size", 1)
    editor.set(titles["Sample"], "steps", 1)
    editor.set(
        titles["Sample"], "seed", 100 + ("classic", "vue").index(editor.mode)
    )  # or the server has it already
    heard = "(app) => window.comfyAPI.api.api.addEventListener('progress_text', ({ detail }) => (window.said = detail))"
    editor.js(heard)  # which 1.49.6 leaves on the node, and 1.58.1 does not
    assert editor.run()["status"]["status_str"] == "success"
    said = editor.js("() => window.said")
    assert str(said["nodeId"]) == str(titles["Sample"])
    assert "batch_size of Empty Latent Image" in said["text"]


def test_an_error_stands_at_its_node_and_names_the_widget(editor):
    graph = json.loads((WORKFLOWS / f"{file_name('prompt_travel_demo')}.json").read_text("utf-8"))
    editor.load(graph)
    (travel,) = [node["id"] for node in graph["nodes"] if node["type"] == "Frameloom_PromptTravel"]
    editor.set(travel, "text", "soon: a red circle")
    editor.page.mouse.move(700, 895)
    editor.page.get_by_test_id("queue-button").first.click()
    editor.page.wait_for_function("() => window.comfyAPI.app.app.lastNodeErrors")
    found = editor.js("(app) => app.lastNodeErrors")
    assert list(found) == [str(travel)]
    said = {error["extra_info"]["input_name"]: error["details"] for error in found[str(travel)]["errors"]}
    assert "got 'soon'" in said["text"]
