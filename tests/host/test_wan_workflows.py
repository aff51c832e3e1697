"""Workflows for Wan over HTTP, short, with small random files under the names that they ask for.

Wan's text encoder cannot be small, so the demo model's stands in its place: everything else is what users run.
"""

from __future__ import annotations

import asyncio
import json
import subprocess

import pytest
from frameloom.tests.host.inside.write_wan import NAMES
from frameloom.tests.host.server import ROOT, documented_client
from frameloom.tests.support.workflows import read_graph
from PIL import Image

pytestmark = pytest.mark.host

SIDE, FRAMES = 64, 9
WRITER = ROOT / "tests" / "host" / "inside" / "write_wan.py"
BOARD = {
    "size": [SIDE, SIDE],
    "scenes": [
        {
            "id": 0,
            "frames": FRAMES,
            "entities": [
                {
                    "id": "box",
                    "text": "a box",
                    "track": [{"f": 0, "box": [0, 0, 0.5, 0.5]}, {"f": FRAMES - 1, "box": [0.5, 0.5, 1, 1]}],
                }
            ],
        }
    ],
}
SHORT = {
    "wan_boxes": {
        "5": {
            "script": "A small red circle on a navy background moves from the left to the right.",
            "frames": FRAMES,
        },
        "9": {"length": FRAMES},
    },
    "wan_prompt_travel": {"5": {"text": "0: a red circle\n5: a blue cross", "frames": FRAMES}},
    "wan_tracks": {"6": {"text": json.dumps(BOARD), "width": SIDE, "height": SIDE}},
    "wan_keyframes": {"15": {"length": (FRAMES + 1) // 2, "switch_step": 1}},  # two clips
}


def shortened(name):
    graph = read_graph(name)
    (encoder,) = (number for number, node in graph.items() if node["class_type"] == "CLIPLoader")
    graph.pop(encoder)
    for number, node in graph.items():
        inputs = node["inputs"]
        small = {"width": SIDE, "height": SIDE, "steps": 2}
        inputs |= {key: value for key, value in small.items() if key in inputs} | SHORT[name].get(number, {})
        if inputs.get("clip") == [encoder, 0]:
            inputs["clip"] = ["demo", 1]
    return graph | {"demo": {"class_type": "Frameloom_DemoModelLoader", "inputs": {}}}


@pytest.fixture(scope="module")
def files(server, host):
    subprocess.run(
        [host.python, WRITER, str(host.tree), str(server.base / "models")], check=True, cwd=host.tree
    )
    (server.base / "input").mkdir(exist_ok=True)
    pictures = {f"my_keyframe_{number}": color for number, color in enumerate(("red", "green", "blue"), 1)}
    for picture, color in (pictures | {"my_picture": "white"}).items():
        Image.new("RGB", (96, 64), color).save(server.base / "input" / f"{picture}.png")


@pytest.mark.parametrize("name", list(SHORT))
def test_a_clip_is_sampled_by_files_of_the_names_that_the_graph_has(server, files, tmp_path, name):
    client = documented_client(tmp_path)
    graph = shortened(name)
    saved = asyncio.run(client.run(server.url, graph, tmp_path / "fetched", []))
    (path,) = [file for file in saved if file.suffix == ".webp"]
    with Image.open(path) as clip:
        assert clip.size == (SIDE, SIDE)
        assert (
            1 < clip.n_frames <= FRAMES
        )  # frames that are alike are one in a WebP, and random weights make such


@pytest.mark.parametrize(
    ("node", "change", "said"),
    [
        (
            "15",
            {"length": 8},
            r"node 15: .*length=8; expected .*4 n \+ 1 frames: 5 or 9 is nearest; set length",
        ),
        (
            "12",
            {"width": 72},
            r"node 15: .*keyframes: got pictures of 72 x 64; expected sides that 16 divides",
        ),
        (
            "15",
            {"switch_step": 2},
            r"node 15: .*switch_step=2; expected 1 to 1, so that both models take some",
        ),
    ],
)
def test_keyframes_and_clips_that_the_model_does_not_have_are_named(
    server, files, tmp_path, node, change, said
):
    graph = shortened("wan_keyframes")
    graph[node]["inputs"] |= change
    with pytest.raises(RuntimeError, match=said):
        asyncio.run(documented_client(tmp_path).run(server.url, graph, tmp_path / "fetched", []))


@pytest.mark.parametrize("name", list(SHORT))
def test_the_graph_as_it_ships_lacks_files_alone(server, files, name):
    """Of what a user without the files is told, nothing is about anything else."""
    _, answer = server.ask("/prompt", {"prompt": read_graph(name)})
    errors = [error for node in answer["node_errors"].values() for error in node["errors"]]
    assert {error["type"] for error in errors} == {"value_not_in_list"}
    assert not [error for error in errors if NAMES["vae"] in str(error["extra_info"]["received_value"])]
