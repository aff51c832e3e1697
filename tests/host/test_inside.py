"""Run the tests of ``inside``, and the contracts that every host keeps, in ComfyUI's own Python, on every checkout."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from frameloom.tests.host.reference import write_reference
from frameloom.tools.host import peers_folder

pytestmark = pytest.mark.host

INSIDE = Path(__file__).parent / "inside"
CONTRACT = Path(__file__).parents[1] / "contract"
PROCESSES = 3  # of a host; each imports ComfyUI, which takes as long as some of the files


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """What diffusers' UNetMotionModel makes of the demo's weights."""
    return write_reference(tmp_path_factory.mktemp("reference") / "reference.safetensors")


def run_inside(host, *paths, **settings):
    """Run files or folders of tests in a host's Python."""
    environment = {**os.environ, "FRAMELOOM_INSIDE": str(host.tree), **settings}
    command = [host.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, paths)]
    done = subprocess.run(command, cwd=INSIDE, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-12000:] + done.stderr[-2000:]


@pytest.mark.parametrize("part", range(PROCESSES))
def test_in_comfyui(host, reference, part):
    """Each process runs every so-many-th file."""
    files = sorted(INSIDE.glob("test_*.py"))[part::PROCESSES]
    run_inside(host, *files, FRAMELOOM_REFERENCE=str(reference))


def test_contracts_in_comfyui(host, reference):
    """Apart from those above: once the last copy of a copied model is gone, ComfyUI collects garbage at every load."""
    run_inside(host, CONTRACT, FRAMELOOM_REFERENCE=str(reference))


def test_beside_animatediff_evolved(host):
    run_beside(host, "beside_animatediff_evolved.py")


def test_converted_graphs_beside_animatediff_evolved(newest):
    """On the newest alone: what a graph becomes does not depend on the host."""
    run_beside(newest, "beside_conversion.py")


def run_beside(host, name):
    """Run a file in a process of its own: that pack replaces functions of ComfyUI and torch while it samples."""
    peer = peers_folder() / "ComfyUI-AnimateDiff-Evolved"
    if not (peer / "__init__.py").exists():
        pytest.skip(
            f"AnimateDiff-Evolved was not found: the tests beside it DID NOT RUN. Put its folder to {peer}, or name "
            "the folder that holds it in FRAMELOOM_PEERS."
        )
    run_inside(host, INSIDE / name, FRAMELOOM_PEER=str(peer))
