"""Run the tests of ``inside`` in ComfyUI's own Python, on every checkout."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from frameloom.tests.host.reference import write_reference

pytestmark = pytest.mark.host

INSIDE = Path(__file__).parent / "inside"


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """What diffusers' UNetMotionModel makes of the demo's weights."""
    return write_reference(tmp_path_factory.mktemp("reference") / "reference.safetensors")


def test_in_comfyui(host, reference):
    """All in one process: ComfyUI takes longer to import than most of the files to run."""
    environment = {**os.environ, "FRAMELOOM_INSIDE": str(host.tree), "FRAMELOOM_REFERENCE": str(reference)}
    command = [host.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(INSIDE)]
    done = subprocess.run(command, cwd=INSIDE, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-12000:] + done.stderr[-2000:]
