"""The editor in Chromium: each front end that is here, with nodes drawn on the canvas and with nodes of Vue."""

from __future__ import annotations

import shutil

import pytest
from frameloom.tests.browser.editor import Editor, front_end_options, opened
from frameloom.tests.host.server import running_server
from frameloom.tools.host import find_front_ends, find_hosts
from playwright.sync_api import sync_playwright

FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
]  # fmt: skip
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FRONT_ENDS = find_front_ends()
PAIRS = [(version, mode) for version in FRONT_ENDS for mode in ("classic", "vue")]


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(__file__.removesuffix("conftest.py")):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        pytest.fail("no Chromium found on PATH; install Debian's chromium", pytrace=False)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def servers(tmp_path_factory):
    """A function that starts the newest ComfyUI with a front end, once."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        started = {}

        def server(version):
            if version not in started:
                if not find_hosts():
                    pytest.fail("no ComfyUI found; tools/host.py says how to get one", pytrace=False)
                options = front_end_options(FRONT_ENDS[version])
                base = tmp_path_factory.mktemp("comfyui")
                started[version] = stack.enter_context(running_server(find_hosts()[0], base, *options))
            return started[version]

        yield server


@pytest.fixture(scope="session", params=PAIRS, ids=lambda pair: " ".join(pair))
def page(request, browser, servers):
    """One page for all tests of a pair: opening one takes longer than most of them."""
    version, mode = request.param
    with opened(browser, servers(version), mode) as editor:
        yield editor


@pytest.fixture
def editor(page) -> Editor:
    page.blank()
    yield page
    assert page.errors == []
