"""ARCHITECTURE.md shows the folders that there are, no more and no fewer."""

from __future__ import annotations

import re
from pathlib import Path

from frameloom.tests.architecture.test_imports import LAYERS

ROOT = Path(__file__).resolve().parents[2]


def rooms(text: str) -> set[str]:
    """Return the paths of the tree in a page's block ``rooms``; folders end with ``/``."""
    (block,) = re.findall(r"```rooms\n(.*?)```", text, re.DOTALL)
    found, above = set(), [""]
    for line in block.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        above = [*above[: depth + 1], above[depth] + line.strip()]
        found.add(above[-1])
    return found


def test_the_tree_is_the_folders_that_there_are() -> None:
    shown = rooms((ROOT / "ARCHITECTURE.md").read_text("utf-8"))
    folders = {path.parent for layer in LAYERS for path in (ROOT / layer).rglob("__init__.py")}
    assert {path for path in shown if path.endswith("/")} == {
        f"{folder.relative_to(ROOT).as_posix()}/" for folder in folders
    }
    assert [path for path in shown if not (ROOT / path).exists()] == []


def test_a_tree_is_read_by_its_indentation() -> None:
    assert rooms("```rooms\na/\n  b.py\n  c/\n    d/\ne/\n```\n") == {"a/", "a/b.py", "a/c/", "a/c/d/", "e/"}
