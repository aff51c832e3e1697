"""Binds the import name to this checkout, and chooses quick tests."""

from __future__ import annotations

import os
import runpy
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SLOW = ROOT / "tests" / "slow.txt"  # test functions that take more than a second; --record-slow writes it

runpy.run_path(str(Path(__file__).with_name("bind.py")))
if "FRAMELOOM_INSIDE" in os.environ:  # this process is ComfyUI's own Python (tests/host/test_inside.py)
    pytest_plugins = ["frameloom.tests.support.host_in_comfyui"]

_STARTED = pytest.StashKey[tuple[float, float]]()


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="of each file run the first test that is not slow")
    parser.addoption("--record-slow", action="store_true", help=f"keep {SLOW.relative_to(ROOT)} up to date")


def pytest_configure(config):
    if config.getoption("record_slow") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Recorder())


def pytest_collection_modifyitems(config, items):
    if not config.getoption("quick"):
        return
    slow, chosen = _slow(), {}
    for item in items:
        if _function(item.nodeid) not in slow:
            chosen.setdefault(item.path, item)
    config.hook.pytest_deselected(items=[item for item in items if chosen.get(item.path) is not item])
    items[:] = chosen.values()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item):
    item.stash[_STARTED] = _times()
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item):
    result = yield
    cpu, clock = (now - begun for now, begun in zip(_times(), item.stash[_STARTED], strict=True))
    item.user_properties.append(("seconds", max(cpu, clock / 4)))  # Ray's processes are not waited for
    return result


class _Recorder:
    """Notes what each test function took, and at the end which took more than a second."""

    def __init__(self):
        self._took = {}

    def pytest_runtest_logreport(self, report):
        name = _function(report.nodeid)
        self._took[name] = max(self._took.get(name, 0.0), dict(report.user_properties).get("seconds", 0.0))

    def pytest_sessionfinish(self):
        slow = {name for name, seconds in self._took.items() if seconds > 1}
        names = sorted(slow | _slow() - self._took.keys())
        SLOW.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def _slow():
    return set(SLOW.read_text(encoding="utf-8").splitlines())


def _function(nodeid):
    return nodeid.partition("[")[0]


def _times():
    """CPU seconds of this process and those that it waited for, whatever else the machine does; and the clock's."""
    return sum(os.times()[:4]), time.monotonic()
