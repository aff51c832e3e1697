"""A technique that comes as new files alone is found: by hosts, by the tools that make files, and by the command."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from frameloom import nodes
from frameloom.host import api
from frameloom.tests.architecture.test_imports import LAYERS
from frameloom.tools.schemas import own_nodes
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
GUEST = ROOT / "tests" / "support" / "guest"
IN_COPY = """
import runpy, sys
runpy.run_path("tests/bind.py")  # the import name is the copy's
"""


def in_copy(copy: Path, script: str) -> str:
    """Run a script in a fresh interpreter, with the copy as the pack; returns what it printed."""
    command = [sys.executable, "-c", IN_COPY + script]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files_of(copy: Path) -> dict[str, bytes]:
    """Every file that is written by hand or made, by its path."""
    folders = [*LAYERS, "tests", "tools", "web", "workflows"]
    paths = [path for folder in folders for path in (copy / folder).rglob("*") if path.is_file()]
    return {path.relative_to(copy).as_posix(): path.read_bytes() for path in paths if path.suffix != ".pyc"}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The pack, without guests."""
    copy, ignored = tmp_path / "pack", shutil.ignore_patterns("__pycache__")
    for folder in (*LAYERS, "tools", "web", "workflows", "tests/golden"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    shutil.copy(ROOT / "__init__.py", copy)
    shutil.copy(ROOT / "tests" / "bind.py", copy / "tests")
    (copy / "assets").symlink_to(ROOT / "assets")
    return copy


def test_a_guest_is_found_made_and_run_and_no_other_file_changes(copy: Path) -> None:
    before = files_of(copy)
    shutil.copytree(GUEST, copy, dirs_exist_ok=True)
    brought = files_of(copy).keys() - before.keys()
    in_copy(
        copy,
        """
from frameloom.tools import gen_docs, schemas, workflow
for tool, options in ((schemas, ["--write"]), (gen_docs, []), (workflow, [])):
    sys.argv = [tool.__name__, *options]
    assert tool.main() == 0
""",
    )
    after = files_of(copy)
    assert {path for path in before if after[path] != before[path]} == set()
    assert after.keys() - before.keys() - brought == {
        "tests/golden/nodes/Frameloom_MirroredStart.json",
        "web/docs/Frameloom_MirroredStart.md",
        "workflows/mirrored_start_demo.json",
    }
    assert "`mirrored_start_demo`" in after["web/docs/Frameloom_MirroredStart.md"].decode()
    in_copy(
        copy,
        """
from frameloom.headless.__main__ import main
raise SystemExit(main(["run", "workflows/api/mirrored_start_demo.json", "--output", "output"]))
""",
    )
    (saved,) = (copy / "output" / "frameloom").glob("*.latent")
    drawn = load_file(saved)["latent_tensor"]
    assert torch.equal(drawn, drawn.flip(0))
    assert not torch.equal(drawn[0], drawn[1])


NODE = """
from ..host import api
class FreeInit(api.io.ComfyNode):
    pass
NODES = [FreeInit]
"""


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        (
            "import absent_package",
            ImportError,
            r"frameloom\.nodes\.guest can't be imported: No module named 'absent_p",
        ),
        (
            NODE,
            ValueError,
            r"frameloom\.nodes\.\S+: got a node named FreeInit, which frameloom\.nodes\.\S+ has already",
        ),
    ],
)
def test_a_guest_that_can_not_be_taken_in_is_named(source, error, said, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(api, "_selected", {})
    own_nodes()
    (tmp_path / "guest.py").write_text(source)
    monkeypatch.setattr(nodes, "__path__", [*nodes.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "frameloom.nodes.guest", raising=False)
    with pytest.raises(error, match=said):
        nodes.node_classes()
    sys.modules.pop("frameloom.nodes.guest", None)
