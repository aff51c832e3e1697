"""Real ComfyUI checkouts for the host tests, and one server of each."""

from __future__ import annotations

import os

import pytest
from frameloom.tests.host.server import running_server
from frameloom.tools.host import Host, cache_folder, find_hosts

# Tests in `inside` run in ComfyUI's own Python; test_inside.py starts them there.
collect_ignore = [] if "FRAMELOOM_INSIDE" in os.environ else ["inside"]

HOSTS = [] if "FRAMELOOM_INSIDE" in os.environ else find_hosts()
NONE_FOUND = (
    f"no ComfyUI found: looked at FRAMELOOM_COMFYUI and in {cache_folder()}. The host tests did not run. Get one with: "
    "python tools/host.py install --from PATH_OR_URL"
)
_ran = pytest.StashKey[set]()


def pytest_configure(config):
    config.stash[_ran] = set()


@pytest.fixture(scope="session", params=HOSTS or [None], ids=lambda host: host.version if host else "none")
def host(request) -> Host:
    if request.param is None:
        pytest.fail(NONE_FOUND, pytrace=False)
    request.config.stash[_ran].add(request.param.version)
    return request.param


@pytest.fixture(scope="session")
def newest(request) -> Host:
    if not HOSTS:
        pytest.fail(NONE_FOUND, pytrace=False)
    request.config.stash[_ran].add(HOSTS[0].version)
    return HOSTS[0]


@pytest.fixture(scope="session")
def server(host, tmp_path_factory):
    with running_server(host, tmp_path_factory.mktemp("comfyui")) as each:
        yield each


def pytest_terminal_summary(terminalreporter, config):
    if config.stash[_ran]:
        terminalreporter.section("ComfyUI hosts that ran")
        terminalreporter.write_line(", ".join(sorted(config.stash[_ran], reverse=True)))
