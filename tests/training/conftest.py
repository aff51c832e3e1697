"""The headless host and its demo model, to train on; both are imported where a test asks for them."""

import pytest


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    from frameloom.headless.port import HeadlessHost

    folder = tmp_path_factory.mktemp("headless")
    return HeadlessHost("cpu", folder / "input", folder / "output", folder / "models")


@pytest.fixture(scope="module")
def demo(port):
    return port.load_demo()
