"""A farm of two real ComfyUI servers with small random files of Wan, as users start it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from frameloom.tests.host.server import documented_client, running_server
from frameloom.tests.host.test_wan_workflows import SIDE, WRITER, shortened
from PIL import Image

pytestmark = pytest.mark.host

CLIPS, LENGTH = 6, 9


@pytest.fixture(scope="module")
def servers(newest, tmp_path_factory):
    """Two servers with the same files."""
    bases = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    models = bases[0] / "models"
    subprocess.run([newest.python, WRITER, str(newest.tree), str(models)], check=True, cwd=newest.tree)
    (bases[1] / "models").symlink_to(models, target_is_directory=True)
    colours = np.random.default_rng(0).integers(0, 256, (CLIPS + 1, 8, 8, 3), dtype=np.uint8)
    for base in bases:
        (base / "input").mkdir()
        for number, pixels in enumerate(colours, 1):
            Image.fromarray(pixels).resize((SIDE, SIDE)).save(base / "input" / f"my_keyframe_{number}.png")
    with running_server(newest, bases[0]) as first, running_server(newest, bases[1]) as second:
        yield first, second


def farm_graph(seed):
    graph = shortened("wan_keyframes")
    graph["15"]["inputs"] |= {"length": LENGTH, "seed": seed, "switch_step": 2, "steps": 4}
    last = "11"
    for number in range(4, CLIPS + 2):
        graph[f"p{number}"] = {"class_type": "LoadImage", "inputs": {"image": f"my_keyframe_{number}.png"}}
        inputs = {"image1": [last, 0], "image2": [f"p{number}", 0]}
        last = f"b{number}"
        graph[last] = {"class_type": "ImageBatch", "inputs": inputs}
    graph["12"]["inputs"]["image"] = [last, 0]
    return graph


def start(folder, graph, servers):
    folder.mkdir()
    (folder / "graph.json").write_text(json.dumps(graph))
    urls = [server.url for server in servers]
    command = [sys.executable, "-m", "frameloom.headless", "farm", "graph.json", *urls, "--output=out"]
    environment = os.environ | {"HOME": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(process, folder):
    """Return the frames of a farm that ends well, and its log."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return pixels(sorted((folder / out.splitlines()[0]).iterdir())), err


def drawn(folder, graph, servers):
    return finished(start(folder, graph, servers), folder)


def pixels(paths):
    return np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])


def forget(servers):
    """Let servers draw all clips anew."""
    for server in servers:
        for folder in server.base.rglob("keyframed_video"):
            shutil.rmtree(folder)


def alone(server, graph, folder):
    """What the graph draws on one server without a farm."""
    graph = graph | {
        "16": {"class_type": "SaveImage", "inputs": {"images": ["15", 0], "filename_prefix": "alone"}}
    }
    saved = asyncio.run(documented_client(folder).run(server.url, graph, folder / "fetched"))
    return pixels(sorted(saved))


def test_a_farm_of_two_draws_the_bits_of_one_server_also_where_one_is_killed_in_the_middle(servers, tmp_path):
    first, second = servers
    together, err = drawn(tmp_path / "together", farm_graph(1), servers)
    assert all(f"on {server.url}; " in err for server in servers)
    assert len(together) == CLIPS * (LENGTH - 1) + 1
    forget(servers)
    assert np.array_equal(together, alone(first, farm_graph(1), tmp_path))
    process = start(tmp_path / "killed", farm_graph(2), servers)
    kept = tmp_path / "killed" / "out" / "frameloom" / "farm"
    until = time.monotonic() + 120
    while not list(kept.glob("clip-*")):
        assert time.monotonic() < until
        time.sleep(0.02)
    (victim,) = [each for each in psutil.Process().children() if str(second.base) in each.cmdline()]
    victim.kill()
    killed, err = finished(process, tmp_path / "killed")
    assert f"{second.url} is left out: it does not answer" in err
    forget([first])
    assert np.array_equal(killed, alone(first, farm_graph(2), tmp_path))
