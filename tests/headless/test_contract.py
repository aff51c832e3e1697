"""The headless host keeps the port's contract."""

from __future__ import annotations

import os

import pytest
from frameloom.headless.port import HeadlessHost
from frameloom.models.motion_checkpoint import read_motion_weights
from frameloom.tests.support.energy_contract import *  # noqa: F403  the tests, which pytest finds by name
from frameloom.tests.support.free_init_contract import *  # noqa: F403  the tests, which pytest finds by name
from frameloom.tests.support.free_noise_contract import *  # noqa: F403  the tests, which pytest finds by name
from frameloom.tests.support.mask_adapter_contract import *  # noqa: F403  the tests, which pytest finds by name
from frameloom.tests.support.port_contract import *  # noqa: F403  the tests, which pytest finds by name
from frameloom.tests.support.scene import Scene
from frameloom.tests.support.training_contract import *  # noqa: F403  the tests, which pytest finds by name
from frameloom.tests.support.windows_contract import *  # noqa: F403


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    folder = tmp_path_factory.mktemp("headless")
    return HeadlessHost(
        os.environ.get("FRAMELOOM_TEST_DEVICE", "cpu"), folder / "input", folder / "output", folder / "models"
    )


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
