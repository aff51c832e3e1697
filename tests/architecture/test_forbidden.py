"""What may stand nowhere: patched globals, evaluated text, mocks, paths of a machine."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from frameloom.tests.architecture.test_budget import tracked_files

ROOT = Path(__file__).resolve().parents[2]
GUARDED = (
    "comfy",
    "comfy_api",
    "comfy_extras",
    "execution",
    "latent_preview",
    "nodes",
    "server",
    "torch",
)
EVALUATING = ("eval", "exec", "compile", "__import__")
TEXT = (".py", ".md", ".toml", ".txt", ".json", ".yml", ".yaml", ".js", ".sh")
# A home, temporary or mount folder with something in it; a Windows drive.
MACHINE_PATH = re.compile(r"(?<![\w.~/-])/(?:home|root|Users|tmp|mnt|opt|work)/\w|\b[A-Z]:\\\\?\w")


def guarded_names(tree: ast.AST) -> set[str]:
    """Names a file binds to a guarded module or to something imported from one."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {
                alias.asname or alias.name.split(".")[0]
                for alias in node.names
                if alias.name.split(".")[0] in GUARDED
            }
        elif (
            isinstance(node, ast.ImportFrom)
            and not node.level
            and (node.module or "").split(".")[0] in GUARDED
        ):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def root_name(node: ast.expr) -> str | None:
    """The name an attribute or item chain hangs on: ``torch`` of ``torch.nn.GroupNorm.forward``."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def forbidden(source: str) -> Iterator[int]:
    """Lines that set or delete an attribute of a guarded module or of what comes from one, or evaluate text."""
    tree = ast.parse(source)
    names = guarded_names(tree)
    for node in ast.walk(tree):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign | ast.Delete):
            targets = [
                leaf
                for item in node.targets
                for leaf in (item.elts if isinstance(item, ast.Tuple) else [item])
            ]
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        elif isinstance(node, ast.Call) and node.args:
            if isinstance(node.func, ast.Name) and node.func.id in EVALUATING:
                yield node.lineno
            elif getattr(node.func, "attr", getattr(node.func, "id", "")) in ("setattr", "delattr"):
                targets = [ast.Attribute(node.args[0], "")]
        for target in targets:
            if isinstance(target, ast.Attribute | ast.Subscript) and root_name(target) in names:
                yield node.lineno  # type: ignore[attr-defined]


def test_no_attribute_of_a_host_or_of_torch_is_assigned_and_no_text_evaluated() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in tracked_files("*.py")
        for line in forbidden(path.read_text("utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.nn.GroupNorm.forward = f",
        "import torch.nn as nn\nnn.Linear.x, y = 1, 2",
        "from comfy import samplers\nsamplers.sampling_function = f",
        "import comfy.samplers\nsetattr(comfy.samplers, 'x', f)",
        "from comfy.model_patcher import ModelPatcher as P\ndel P.clone",
        "import nodes\nnodes.NODE_CLASS_MAPPINGS['x'] = C",
        "import re\neval(re.sub(a, b, c))",
    ],
)
def test_the_walk_catches_a_patch_and_an_evaluation(source: str) -> None:
    assert list(forbidden(source)) == [2]


def test_the_walk_allows_a_patch_on_our_own_clone_and_a_compiled_pattern() -> None:
    source = "import re, torch\nx = torch.zeros(1)\nx[0] = 1\nmodel.model_options['a'] = torch.nn.Linear\nre.compile(x)"
    assert list(forbidden(source)) == []


def test_nothing_mocks_and_only_what_runs_in_comfyui_extends_the_import_path() -> None:
    this = Path(__file__).resolve()
    mocks, paths = re.compile(r"MagicMock|unittest\.mock"), re.compile(r"sys\.path\.(insert|append|extend)")
    found = []
    for path in tracked_files("*.py"):
        text, runs_in_comfyui = path.read_text("utf-8"), "inside" in path.parts or "in_comfyui" in path.stem
        if path != this and (mocks.search(text) or (paths.search(text) and not runs_in_comfyui)):
            found.append(str(path.relative_to(ROOT)))
    assert found == []


def test_nothing_holds_a_path_of_a_machine() -> None:
    this = Path(__file__).resolve()
    found = [
        f"{path.relative_to(ROOT)}:{number} {line.strip()[:80]}"
        for path in tracked_files("*")
        if path.suffix in TEXT or path.name in ("Makefile", "run")
        if path != this and "tokenizer" not in path.parts
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("text", ["/home/me/x", "open('/tmp/a')", "C:\\\\Users", "at /Users/x/y"])
def test_the_pattern_catches_a_machine_path(text: str) -> None:
    assert MACHINE_PATH.search(text)


@pytest.mark.parametrize(
    "text", ["workflows/api/x.json", "~/.cache/frameloom", "a/home/b", "https://x.org/opt/y"]
)
def test_the_pattern_allows(text: str) -> None:
    assert not MACHINE_PATH.search(text)
