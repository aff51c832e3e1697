"""The editor's route to the converter, on a running server: good and bad requests, and what the editor loads."""

from __future__ import annotations

import urllib.request

import pytest

pytestmark = pytest.mark.host

GRAPH = {
    "last_node_id": 3, "last_link_id": 2, "groups": [], "config": {}, "extra": {}, "version": 0.4,
    "nodes": [
        {"id": 1, "type": "CheckpointLoaderSimple", "pos": [0, 0], "size": [200, 100], "inputs": [],
         "outputs": [{"name": "MODEL", "type": "MODEL", "links": [1]}], "widgets_values": ["a.safetensors"]},
        {"id": 2, "type": "ADE_AnimateDiffLoaderGen1", "pos": [300, 0], "size": [200, 100],
         "inputs": [{"name": "model", "type": "MODEL", "link": 1}],
         "outputs": [{"name": "MODEL", "type": "MODEL", "links": [2]}],
         "widgets_values": ["v3_sd15_mm.ckpt", "autoselect"]},
        {"id": 3, "type": "KSampler", "pos": [600, 0], "size": [200, 100],
         "inputs": [{"name": "model", "type": "MODEL", "link": 2}], "outputs": [],
         "widgets_values": [1, "fixed", 20, 7, "euler", "normal", 1]},
    ],
    "links": [[1, 1, 0, 2, 0, "MODEL"], [2, 2, 0, 3, 0, "MODEL"]],
}  # fmt: skip


PATH = "/api/frameloom/convert"


def test_a_workflow_comes_back_with_our_nodes(server):
    status, answer = server.ask(PATH, GRAPH)
    assert status == 200
    assert answer["verdict"] == "exact"
    kinds = [node["type"] for node in answer["graph"]["nodes"]]
    assert "Frameloom_ApplyMotionModule" in kinds
    assert not [kind for kind in kinds if kind.startswith("ADE")]
    assert any(line["text"].startswith("exact: node 2 ") for line in answer["report"])
    known = server.get("/api/object_info")
    assert all(kind in known for kind in kinds if kind != "MarkdownNote")


@pytest.mark.parametrize(
    ("body", "kind", "status", "said"),
    [
        (b"{", "application/json", 400, "got text that is not JSON"),
        (b"\xff\xfe", "application/json", 400, "got text that is not JSON"),
        ([1], "application/json", 400, "got list in place of an object"),
        ({"nodes": [1]}, "application/json", 400, "got a node without a type"),
        (b"[" * 4000, "application/json", 400, "got JSON with"),
        ({"1": {"class_type": "A", "inputs": {"x": ["2", 0]}}, "2": {"class_type": "B", "inputs": {"x": ["1", 0]}}},
         "application/json", 400, "links that lead round in a circle"),
        (GRAPH, "text/plain", 415, "got text/plain"),
        (b" " * (17 << 20), "application/json", 413, "got more than 16,777,216 bytes"),
    ],
)  # fmt: skip
def test_a_bad_request_is_refused_in_words(server, body, kind, status, said):
    got, answer = server.ask(PATH, body, kind)
    assert got == status
    assert set(answer) == {"error"}
    assert said in answer["error"]
    assert "expected a workflow of the editor" in answer["error"]
    assert "convert_route" not in server.log.read_text("utf-8")  # in a traceback


def test_the_editor_loads_the_menus_script(server):
    (path,) = [each for each in server.get("/api/extensions") if each.endswith("/js/convert.js")]
    with urllib.request.urlopen(server.url + path, timeout=60) as reply:
        assert b"Convert to Frameloom" in reply.read()
