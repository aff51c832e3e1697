"""The docstring contract: documented arguments are the signature, tensors have shapes, examples run."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

from frameloom.tests.architecture.test_imports import pack_files

ROOT = Path(__file__).resolve().parents[2]
SECTION = re.compile(
    r"^(Args|Returns|Yields|Raises|Randomness|Source|Examples?|Shape|State|Attributes|Note|Idea):", re.M
)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def public_functions(tree: ast.Module) -> Iterator[tuple[str, Function, ast.ClassDef | None]]:
    """Public functions and methods of a module's public names, with their class."""
    for node in tree.body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            yield node.name, node, None
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for item in node.body:
                if isinstance(item, Function) and (not item.name.startswith("_") or item.name == "__init__"):
                    yield f"{node.name}.{item.name}", item, node


def documented(docstring: str) -> list[str] | None:
    """Names in the ``Args:`` section of a Google docstring; None without one. ``a, b: ...`` names two."""
    match = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", docstring, re.M)
    if match is None:
        return None
    block = SECTION.split(match.group(1))[0]
    indent = len(block) - len(block.lstrip(" "))
    heads = re.findall(rf"^ {{{indent}}}(\*{{0,2}}\w+(?:, \*{{0,2}}\w+)*):", block, re.M)
    return [name.strip(" *") for head in heads for name in head.split(",")]


def parameters(node: Function) -> list[str]:
    """Parameter names without self and cls."""
    args = node.args
    every = [*args.posonlyargs, *args.args, *([args.vararg] if args.vararg else []), *args.kwonlyargs]
    every += [args.kwarg] if args.kwarg else []
    return [arg.arg for arg in every if arg.arg not in ("self", "cls")]


def docstring_of(node: Function, owner: ast.ClassDef | None) -> str:
    """The docstring that documents a function's arguments: those of these two may stand in their class."""
    above = ast.get_docstring(owner) if owner and node.name in ("__init__", "forward") else None
    return f"{ast.get_docstring(node) or ''}\n{above or ''}"


def test_documented_arguments_are_the_signature_and_tensors_of_models_have_shapes() -> None:
    wrong = []
    for path in pack_files():
        for name, node, owner in public_functions(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            text = docstring_of(node, owner)
            names = documented(text)
            if names is not None and sorted(names) != sorted(parameters(node)):
                wrong.append(f"{path} {name}: {sorted(names)}, signature {sorted(parameters(node))}")
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            types = [ast.unparse(arg.annotation) for arg in arguments if arg.annotation]
            has_tensors = any(re.match(r"(torch\.)?Tensor\b", kind) for kind in types)
            if path.startswith("models/") and has_tensors and not re.search(r"\[[^\]]*\]", text):
                wrong.append(f"{path} {name}: a tensor without a shape")
    assert wrong == []


def test_examples_in_docstrings_run() -> None:
    for path in pack_files():
        if path.startswith(("models/", "training/", "language/")):
            name = "frameloom." + path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
            assert doctest.testmod(importlib.import_module(name)).failed == 0, path


def test_the_reader_of_docstrings_reads_google_style() -> None:
    text = "Do.\n\nArgs:\n    a: one,\n        more: of it.\n    b, c: two\n    **rest: all\n\nReturns:\n    x: y\n"
    assert documented(text) == ["a", "b", "c", "rest"]
    assert documented("Do.\n\nReturns:\n    x") is None
