"""Video Dataset headless: what it does on every host."""

from __future__ import annotations

import pytest
from frameloom.tests.support.dataset_contract import *  # noqa: F403  the tests, which pytest finds by name


@pytest.fixture
def input_folder(host):
    return host.input_dir


@pytest.fixture
def video_dataset(nodes):
    return nodes["VideoDataset"]
