"""The headless host, in folders of its own, on the CPU or FRAMELOOM_TEST_DEVICE; fixtures of ``host_in_comfyui``."""

from __future__ import annotations

import os

import pytest
from frameloom.headless import select_host
from frameloom.headless.port import HeadlessHost
from frameloom.host import api
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.tests.support.scene import Scene


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """The host of this process for as long as a file of tests takes, so that they may run nodes."""
    folder = tmp_path_factory.mktemp("headless")
    device = os.environ.get("FRAMELOOM_TEST_DEVICE", "cpu")
    port = HeadlessHost(device, folder / "input", folder / "output", folder / "models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "_selected", {})
        select_host(port)
        yield port


@pytest.fixture
def kind_folder(port):
    def make(kind):
        folder = port.models_dir / kind
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    return make


@pytest.fixture(scope="module")
def demo(port):
    return port.load_demo()


@pytest.fixture(scope="module")
def motion(port):
    [name, *_] = port.list_files("animatediff_models")
    return port.load_motion(read_motion_weights(port.resolve("animatediff_models", name)))


@pytest.fixture(scope="module")
def scene(port, demo):
    return Scene(port, demo[1])
