"""The choice of quick tests: of each file the first that is not slow, and what is slow is measured."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
LONG = """
import time, pytest

@pytest.mark.parametrize("seconds", [0, 1.2])
def test_long(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

@pytest.mark.parametrize("number", [0, 1])
def test_short(number):
    pass
"""


@pytest.fixture
def run(tmp_path):
    """Run the tests of a small checkout; return the names of those that ran, and what is noted as slow."""
    tests = tmp_path / "tests"
    tests.mkdir()
    for name in ("conftest.py", "bind.py"):
        shutil.copy(CONFTEST.with_name(name), tests)
    (tmp_path / "__init__.py").write_text("")
    (tests / "test_long.py").write_text(LONG)
    (tests / "test_other.py").write_text("def test_one():\n    pass\n\ndef test_two():\n    pass\n")
    slow = tests / "slow.txt"
    slow.write_text("tests/test_gone.py::test_kept\n")

    def call(*options):
        command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--import-mode=importlib"]
        done = subprocess.run(
            [*command, *options, "tests"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        ran = [line.split()[0] for line in done.stdout.splitlines() if "PASSED" in line]
        return ran, slow.read_text().splitlines()

    return call


def test_a_test_that_takes_more_than_a_second_is_noted_and_left_out(run):
    ran, slow = run("--quick")
    assert ran == ["tests/test_long.py::test_long[0]", "tests/test_other.py::test_one"]
    ran, slow = run("--record-slow")
    assert len(ran) == 6
    assert slow == ["tests/test_gone.py::test_kept", "tests/test_long.py::test_long"]
    ran, slow = run("--quick")
    assert ran == ["tests/test_long.py::test_short[0]", "tests/test_other.py::test_one"]
