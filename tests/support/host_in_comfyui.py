"""ComfyUI in this process, on the CPU or FRAMELOOM_TEST_DEVICE, and our pack in it, loaded as ComfyUI loads it.

Importing this file starts it; a ``conftest.py`` of tests that run there takes its fixtures.
"""

# ruff: noqa: E402, I001  ComfyUI must be on the path, and its arguments set, before it is imported; order matters

from __future__ import annotations

import asyncio
import functools
import os
import sys

import pytest

TREE = os.environ["FRAMELOOM_INSIDE"]
sys.path.insert(0, TREE)
_device = [] if os.environ.get("FRAMELOOM_TEST_DEVICE") == "cuda" else ["--cpu"]
_arguments, sys.argv = sys.argv, ["main.py", *_device, "--disable-api-nodes"]
import comfy.options

comfy.options.enable_args_parsing()
import utils.extra_config  # noqa: F401  first, as ComfyUI's main has it
import latent_preview  # noqa: F401
import nodes  # noqa: F401
import torch

sys.argv = _arguments

from frameloom.tests.host.inside.snapshot import take_snapshot

# Before anything of ours is imported.
BEFORE = take_snapshot()


@functools.cache
def start():
    """Hand the nodes over, once in a process, and return the port."""
    import frameloom

    async def get_node_list():
        return await (await frameloom.comfy_entrypoint()).get_node_list()

    assert asyncio.run(get_node_list())
    from frameloom.host import api

    return api.port()


@pytest.fixture(autouse=True)
def as_in_a_node():
    """ComfyUI runs nodes in inference mode."""
    with torch.inference_mode():
        yield


@pytest.fixture(scope="session")
def before():
    return BEFORE


@pytest.fixture(scope="session")
def port():
    return start()


@pytest.fixture
def kind_folder(port, tmp_path, monkeypatch):
    import folder_paths

    def look_in(kind):
        endings = folder_paths.folder_names_and_paths[kind][1]
        monkeypatch.setitem(folder_paths.folder_names_and_paths, kind, ([str(tmp_path)], endings))
        return tmp_path

    return look_in


@pytest.fixture(scope="session")
def demo(port):
    with torch.inference_mode():
        return port.load_demo()


@pytest.fixture(scope="session")
def motion(port):
    from frameloom.models.motion.checkpoint import read_motion_weights

    path = port.resolve("animatediff_models", "frameloom_demo_motion.safetensors")
    with torch.inference_mode():
        return port.load_motion(read_motion_weights(path))


@pytest.fixture(scope="session")
def scene(port, demo):
    """A small sampling run, to be made with any model."""
    from frameloom.tests.support.scene import Scene

    with torch.inference_mode():
        return Scene(port, demo[1])
