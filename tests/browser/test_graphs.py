"""Every workflow as it opens from the template browser: large enough to be read, nothing on top of anything else."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest
from frameloom.tools.templates import file_name

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
GRAPHS = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
READABLE = 0.6
# Graphs of so many nodes, or of such large ones, that they don't fit at that zoom, and what they open at.
SMALLER = {
    file_name(name): zoom
    for name, zoom in {
        "camera_path_demo": 0.55,
        "layout_masks_demo": 0.56,
        "storyboard_demo": 0.54,
        "text2video_zero_smooth_demo": 0.55,
    }.items()
}
# In the tab that is open: many tabs make the page slow.
OPENED = """async (app, graph) => {
    const { activeWorkflow } = app.extensionManager.workflow;
    await app.loadGraphData(graph, true, true, activeWorkflow, { openSource: "template" });
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


def overlap(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_opens_readable_and_nothing_lies_on_anything(page, name):
    graph = json.loads((WORKFLOWS / f"{name}.json").read_text("utf-8"))
    page.js(OPENED, graph)
    page.page.wait_for_function(
        "(count) => !LiteGraph.vueNodesMode || document.querySelectorAll('[data-node-id]').length === count",
        arg=len(graph["nodes"]),
    )
    page.wait(600)
    seen = page.js(LOOKED_AT)
    assert seen["scale"] >= SMALLER.get(name, READABLE)
    assert seen["cut"] == []
    assert len(seen["nodes"]) == len(graph["nodes"])
    titles = {str(node["id"]): node["title"] for node in graph["nodes"]}
    assert [
        (titles[one], titles[other])
        for one, other in combinations(seen["nodes"], 2)
        if overlap(seen["nodes"][one], seen["nodes"][other])
    ] == []


def test_only_graphs_that_need_it_are_smaller():
    assert SMALLER.keys() <= set(GRAPHS)
