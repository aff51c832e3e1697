"""The import law: which layer may import what. Every import counts, inside functions too."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("models", "language", "training", "host", "headless", "nodes")

# What seams may know of ``models``: how edits compose, networks as data, and what is true of any clip or file.
SHARED = tuple(
    f"models.{name}"
    for name in ("edits", "errors", "network", "video", "frames", "guards", "windows", "files", "keys")
)

# A file's layer is the longest of these paths that holds it; the values are what of the pack it may import.
# Three entry points are the exceptions: a host's entry collects the nodes, the root hands over to it, and the command
# that trains is a door to training, as a node is.
LAW: dict[str, tuple[str, ...]] = {
    "__init__.py": ("host.comfyui.entry",),
    "models": ("models",),
    "models/edits": ("models.edits", "models.errors", "models.frames", "models.network", "models.video"),
    "language": ("language", "models", "host.contract"),
    "training": ("training", "models", "host.contract"),
    "host": ("host.contract", "models"),
    "host/comfyui": ("host", "models"),
    "host/comfyui/entry.py": ("host", "models", "nodes"),
    "host/comfyui/seams": (
        "host.comfyui.live",
        "host.comfyui.network",
        "host.comfyui.patches",
        "host.comfyui.seams",
        *SHARED,
    ),
    "headless": (
        "headless",
        "host.contract",
        "host.api",
        "host.bundled",
        "host.model_folders",
        "host.values",
        "host.video_file",
        "models",
        "nodes",
    ),
    "headless/train.py": (
        "headless",
        "host.api",
        "models",
        "nodes",
        "training",
    ),
    "headless/seams": ("headless.networks", "headless.seams", *SHARED),
    "nodes": ("nodes", "host.contract", "host.api", "host.video_file", "models"),
}
# Families of techniques, by what names of files or folders in ``models`` begin with; the first that fits. None
# imports another: what two need lies below them.
FAMILIES: dict[str, tuple[str, ...]] = {
    "layout prior": ("layout_prior", "layout_sequence", "layout_metrics"),
    "storyboard": ("layout_masks", "layout_control"),
    "layout": ("layout", "energy", "gligen"),
    "zero-shot": ("zero_shot", "cross_frame", "foreground", "motion_path"),
    "motion": ("motion", "mask_adapter"),
    "long video": ("long_video", "free_", "prompt_travel", "nuwa_"),
}
# Heavier layers that a node reaches only when it runs.
INSIDE_FUNCTIONS: dict[str, tuple[str, ...]] = {"nodes": ("language", "training")}

HOST_MODULES = (
    "app", "comfy", "comfy_api", "comfy_api_nodes", "comfy_config", "comfy_execution", "comfy_extras",
    "comfyui_version", "execution", "folder_paths", "latent_preview", "node_helpers", "nodes", "server",
)  # fmt: skip
ONLY_IN: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(HOST_MODULES, ("host/comfyui",)),
    "diffusers": ("headless",),
    "ray": ("headless",),
    "transformers": ("headless", "language"),
}
# Slow to import, or absent where nobody asked for them.
LAZY = ("accelerate", "av", "llguidance", "ray", "requests", "tensorboard", "urllib3")
PURE = ("einops", "kornia", "pydantic", "safetensors", "torch")


class Import(NamedTuple):
    """The target of one import. ``ours``: a relative import, resolved to a dotted path from the root."""

    path: str
    line: int
    target: str
    ours: bool
    inside_function: bool


def pack_files() -> list[str]:
    """Every Python file of the pack, relative to the root; tests and tools are not part of it."""
    found = [path for layer in LAYERS for path in (ROOT / layer).rglob("*.py")]
    return ["__init__.py", *sorted(path.relative_to(ROOT).as_posix() for path in found)]


def imports_of(path: str, source: str) -> Iterator[Import]:
    """Every import in a file, those inside functions too, with relative ones resolved against the root."""
    package = PurePosixPath(path).parent.parts

    def walk(node: ast.AST, inside: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(path, child.lineno, alias.name, False, inside)
            elif isinstance(child, ast.ImportFrom):
                base = package[: len(package) - child.level + 1] if child.level else ()
                head = ".".join([*base, *(child.module.split(".") if child.module else [])])
                for alias in child.names:
                    yield Import(
                        path, child.lineno, f"{head}.{alias.name}".lstrip("."), child.level > 0, inside
                    )
            yield from walk(
                child, inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            )

    return walk(ast.parse(source), inside=False)


def layer_of(path: str) -> str:
    """The longest path of the law that holds this file."""
    return max((key for key in LAW if path == key or path.startswith(key + "/")), key=len)


def within(target: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a dotted target is one of the prefixes or inside one."""
    return any(target == prefix or target.startswith(prefix + ".") for prefix in prefixes)


def violations(path: str, source: str) -> list[str]:
    """The imports of one file that break the law."""
    found = []
    for item in imports_of(path, source):
        allowed = LAW[layer_of(path)] + (
            INSIDE_FUNCTIONS.get(layer_of(path), ()) if item.inside_function else ()
        )
        top = item.target.split(".")[0]
        if item.ours:
            broken = not within(item.target, allowed)
        else:
            owners = ONLY_IN.get(top)
            broken = (
                top == "frameloom"
                or (owners is not None and not any(path.startswith(owner + "/") for owner in owners))
                or (top in LAZY and not item.inside_function)
                or (path.startswith("models/") and top not in PURE and top not in sys.stdlib_module_names)
            )
        if broken:
            found.append(f"{path}:{item.line} imports {item.target}")
    return found


def test_every_import_obeys_the_law() -> None:
    found = [
        line for path in pack_files() for line in violations(path, (ROOT / path).read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("models/x.py", "from ..nodes import motion"),
        ("models/x.py", "def f():\n    from ..nodes import motion"),
        ("models/x.py", "import comfy.utils"),
        ("models/x.py", "import diffusers"),
        ("models/x.py", "import numpy"),
        ("nodes/x.py", "from ..training import loop"),
        ("nodes/x.py", "from ..host.comfyui import port"),
        ("nodes/x.py", "import folder_paths"),
        ("headless/x.py", "from ..host import comfyui"),
        ("headless/x.py", "import av"),
        ("host/api.py", "from ..headless import engine"),
        ("host/comfyui/port.py", "from ...nodes import motion"),
        ("host/comfyui/seams/x.py", "from ....models.gligen import Gligen"),
        ("host/comfyui/seams/x.py", "from ..motion import ComfyMotion"),
        ("headless/seams/x.py", "from ...models.cross_frame import CrossFrameEdit"),
        ("headless/seams/x.py", "from ..motion import LoadedMotion"),
        ("models/edits/x.py", "from ..gligen import Gligen"),
        ("training/x.py", "from frameloom.models import edit"),
    ],
)
def test_the_law_catches(path: str, source: str) -> None:
    assert len(violations(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("nodes/x.py", "def f():\n    from ..training import loop"),
        ("nodes/x.py", "from ..host import api"),
        ("headless/engine/x.py", "from ...models.edits.edit import Edit"),
        ("headless/x.py", "def f():\n    import av"),
        ("host/comfyui/x.py", "import comfy.utils"),
    ],
)
def test_the_law_allows(path: str, source: str) -> None:
    assert violations(path, source) == []


def family_of(module: str) -> str:
    """The family of techniques that a file or folder of ``models`` is of; nothing: it is none's."""
    names = ((family, name) for family, start in FAMILIES.items() for name in start)
    family = next((family for family, name in names if module.startswith(name)), "")
    return "" if family == "storyboard" else family


def test_no_technique_imports_another_familys() -> None:
    crossing = []
    for path in (ROOT / "models").rglob("*.py"):
        name = path.relative_to(ROOT).as_posix()
        own = family_of(name.removeprefix("models/"))
        for item in imports_of(name, path.read_text(encoding="utf-8")):
            other = family_of(item.target.removeprefix("models.")) if item.ours else ""
            if own and other and other != own:
                crossing.append(f"{name}:{item.line} imports {item.target}")
    assert crossing == []


def test_all_but_the_comfyui_host_imports_without_comfyui() -> None:
    modules = [
        "frameloom." + path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        for path in pack_files()
        if not path.startswith(("__init__", "host/comfyui/", "nodes/"))
    ]
    script = f"""
import importlib, runpy, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HOST_MODULES!r}:
            raise ImportError(f"{{name}} is blocked")
sys.meta_path.insert(0, Blocked())
runpy.run_path({str(ROOT / "tests" / "conftest.py")!r})
for name in {modules!r}:
    importlib.import_module(name)
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT / "tests", check=False
    )
    assert result.returncode == 0, result.stderr
