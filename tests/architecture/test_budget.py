"""Size budgets: what no file, function, pack of nodes or asset may exceed."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE_LINES = 600
FUNCTION_LINES = 80
EXECUTE_LINES = 15
NODES = 61  # with those for the other families of motion files, and for models of video
ASSET_BYTES = 16 * 1024 * 1024
SCRIPT_BYTES = 102_500  # 60,000 were aimed at


def tracked_files(pattern: str) -> list[Path]:
    """Files of the project that match a git pattern: tracked ones, and new ones git does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate", pattern]
    listing = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    return [path for line in listing.splitlines() if (path := ROOT / line).is_file()]


def functions(path: Path) -> list[tuple[str, int]]:
    """Name and length in lines of every function in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [(node.name, (node.end_lineno or node.lineno) - node.lineno + 1) for node in nodes]


def node_classes() -> list[ast.ClassDef]:
    """Every node class of the pack, read from the source: no host is needed."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "nodes").rglob("*.py")]
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return [node for node in classes if any(ast.unparse(base).endswith("ComfyNode") for base in node.bases)]


def test_no_python_file_is_longer_than_600_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in tracked_files("*.py")
    }
    assert {name: lines for name, lines in long.items() if lines > FILE_LINES} == {}


def test_no_function_is_longer_than_80_lines() -> None:
    long = [
        f"{path.relative_to(ROOT)} {name}: {lines}"
        for path in tracked_files("*.py")
        for name, lines in functions(path)
        if lines > FUNCTION_LINES
    ]
    assert long == []


def test_an_execute_is_at_most_15_lines_and_the_pack_at_most_61_nodes() -> None:
    classes = node_classes()
    assert 0 < len(classes) <= NODES
    bodies = {
        node.name: (item.end_lineno or 0) - item.body[0].lineno + 1
        for node in classes
        for item in node.body
        if isinstance(item, ast.FunctionDef) and item.name == "execute"
    }
    assert set(bodies) == {node.name for node in classes}
    assert {name: lines for name, lines in bodies.items() if lines > EXECUTE_LINES} == {}


def test_assets_stay_under_16_mib() -> None:
    assert sum(path.stat().st_size for path in tracked_files("assets")) <= ASSET_BYTES


def test_the_scripts_of_the_editor_stay_under_103_kb() -> None:
    assert 0 < sum(path.stat().st_size for path in tracked_files("web/js/*.js")) <= SCRIPT_BYTES
