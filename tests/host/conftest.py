"""Real ComfyUI checkouts for the host tests, and one server of each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from frameloom.tests.host.server import running_server
from frameloom.tools.host import Host, cache_folder, find_hosts

HERE = Path(__file__).parent
# Tests in `inside` run in ComfyUI's own Python; test_inside.py starts them there.
collect_ignore = [] if "FRAMELOOM_INSIDE" in os.environ else ["inside"]

HOSTS = [] if "FRAMELOOM_INSIDE" in os.environ else find_hosts()
NONE_FOUND = (
    f"no ComfyUI found: looked at FRAMELOOM_COMFYUI and in {cache_folder()}. The host tests did not run. Get one with: "
    "python tools/host.py install --from PATH_OR_URL"
)


def pytest_collection_modifyitems(items):
    """Let processes share the tests by host and by file: one server of each host, one run of each comparison.

    A test that starts a process of its own goes anywhere.
    """
    for item in items:
        if not item.path.is_relative_to(HERE):  # of a run of all folders
            continue
        host = item.callspec.params.get("host") if hasattr(item, "callspec") else None
        own = "server" if "server" in item.fixturenames else item.path.stem
        if item.path.stem != "test_inside":
            item.add_marker(pytest.mark.xdist_group(f"{own} {host.version}" if host else own))


@pytest.fixture(scope="session", params=HOSTS or [None], ids=lambda host: host.version if host else "none")
def host(request) -> Host:
    if request.param is None:
        pytest.fail(NONE_FOUND, pytrace=False)
    return request.param


@pytest.fixture(scope="session")
def newest(request) -> Host:
    if not HOSTS:
        pytest.fail(NONE_FOUND, pytrace=False)
    return HOSTS[0]


@pytest.fixture(scope="session")
def server(host, tmp_path_factory):
    with running_server(host, tmp_path_factory.mktemp("comfyui")) as each:
        yield each


# Of comparisons with what ComfyUI makes of the same files; a file's own ``theirs`` is a folder and those numbers.


@pytest.fixture(scope="module")
def expected(theirs):
    return theirs[1]


@pytest.fixture(scope="module")
def sockets(theirs):
    from frameloom.tests.support.parity import load_sockets  # the runner, which ComfyUI's own Python has not

    return load_sockets(theirs[0])


@pytest.fixture
def engine(theirs, monkeypatch):
    from frameloom.host import api
    from frameloom.tests.support.parity import select_headless

    monkeypatch.setattr(api, "_selected", {})
    select_headless(theirs[0])


def pytest_terminal_summary(terminalreporter):
    reports = [*terminalreporter.stats.get("passed", ()), *terminalreporter.stats.get("failed", ())]
    ran = [host.version for host in HOSTS if any(host.version in report.nodeid for report in reports)]
    if ran:
        terminalreporter.section("ComfyUI hosts that ran")
        terminalreporter.write_line(", ".join(ran))
