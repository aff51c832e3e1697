"""The import law: which layer may import what. Every import counts, inside functions too."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("models", "language", "training", "host", "headless", "nodes")

# The rooms of a layer, in the order in which they build on each other: a room may import those of earlier lines, and no
# other of its own line. Files and folders that are not listed come last.
ROOMS: dict[str, tuple[tuple[str, ...], ...]] = {
    "models": (
        ("errors",),
        ("network",),
        ("files",),
        ("convert", "video"),
        ("edits",),
        ("storyboard",),
        ("motion", "zero_shot", "layout", "long_video", "layout_prior"),
    ),
    "language": (("answers", "stories"), ("llm", "formats"), ("planning",), ("english",)),
    "training": (
        ("board", "metrics_log", "shapes", "team"),
        ("loop", "video"),
        ("language", "motion", "layout"),
    ),
    "host/comfyui": (("seams",), ("load",)),
    "headless": (
        ("samplers", "text", "v3"),
        ("weights",),
        ("seams",),
        ("engine",),
        ("workflow",),
        ("convert", "crew", "parcel", "progress"),
        ("port",),
        ("cluster", "core_nodes"),
        ("farm", "train"),
    ),
    "nodes": (
        ("early", "given", "segments", "sockets", "widgets"),
        ("drawing",),
        ("layout", "long_video", "motion", "video", "zero_shot"),
        ("training",),
    ),
}
# What seams may know of ``models``: how edits compose, networks as data, and what is true of any clip or file.
SHARED = tuple(f"models.{room}" for room in ("edits", "errors", "files", "network", "video"))

# A file's layer is the longest of these paths that holds it; the values are what of the pack it may import.
# Four entry points are the exceptions: a host's entry collects the nodes, the root hands over to it, the command that
# trains is a door to training, as a node is, and the editor's route reads texts as a node does.
LAW: dict[str, tuple[str, ...]] = {
    "__init__.py": ("host.comfyui.entry",),
    "models": ("models",),
    "models/edits": ("models.edits", "models.errors", "models.network", "models.video"),
    "language": ("language", "models", "host.contract"),
    "training": ("training", "models", "host.contract"),
    "host": ("host.contract", "models"),
    "host/comfyui": ("host", "models"),
    "host/comfyui/entry.py": ("host", "models", "nodes"),
    "host/comfyui/storyboard_route.py": ("host", "models"),
    "host/comfyui/seams": ("host.comfyui.seams", *SHARED),
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
    "headless/train": (
        "headless",
        "host.api",
        "host.values",
        "models",
        "nodes",
        "training",
    ),
    "headless/seams": ("headless.seams", "headless.weights.networks", *SHARED),
    "nodes": ("nodes", "host.contract", "host.api", "host.video_file", "models"),
}
# Heavier layers that a node, or a route, reaches only when it runs.
INSIDE_FUNCTIONS: dict[str, tuple[str, ...]] = {
    "nodes": ("language", "training"),
    "host/comfyui/storyboard_route.py": ("language",),
}

HOST_MODULES = (
    "app", "comfy", "comfy_api", "comfy_api_nodes", "comfy_config", "comfy_execution", "comfy_extras",
    "comfyui_version", "execution", "folder_paths", "latent_preview", "node_helpers", "nodes", "server",
)  # fmt: skip
ONLY_IN: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(HOST_MODULES, ("host/comfyui",)),
    "diffusers": ("headless",),
    "ray": ("headless",),
    "transformers": ("headless", "language"),
    "peft": ("language",),
}
# Slow to import, or absent where nobody asked for them.
LAZY = ("accelerate", "av", "llguidance", "peft", "ray", "requests", "tensorboard", "urllib3")
PURE = ("einops", "greenlet", "kornia", "pydantic", "safetensors", "torch")


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
                    target = f"{head}.{alias.name}".lstrip(".")
                    yield Import(path, child.lineno, target, child.level > 0, inside)
            is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk(child, inside or is_function)

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
        layer, top = layer_of(path), item.target.split(".")[0]
        allowed = (*LAW[layer], *(INSIDE_FUNCTIONS.get(layer, ()) if item.inside_function else ()))
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


def test_every_import_obeys_the_law_and_a_room_imports_those_below_it_alone() -> None:
    found = []
    for path in pack_files():
        source = (ROOT / path).read_text(encoding="utf-8")
        found += [*violations(path, source), *out_of_order(path, source)]
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
        ("host/comfyui/seams/x.py", "from ....models.layout.gligen import Gligen"),
        ("host/comfyui/seams/x.py", "from ..load.motion import ComfyMotion"),
        ("headless/seams/x.py", "from ...models.zero_shot.cross_frame import CrossFrameEdit"),
        ("headless/seams/x.py", "from ..engine.motion import LoadedMotion"),
        ("models/edits/x.py", "from ..layout.gligen import Gligen"),
        ("training/x.py", "from frameloom.models import edit"),
    ],
)
def test_the_law_catches(path: str, source: str) -> None:
    assert len(violations(path, source)) == 1


def place(layer: str, name: str) -> int:
    """The line of ``ROOMS`` that a room of a layer stands on."""
    lines = ROOMS[layer]
    return next((number for number, line in enumerate(lines) if name in line), len(lines))


def out_of_order(path: str, source: str) -> list[str]:
    """The imports of one file from rooms that do not lie below its own."""
    layer = max((layer for layer in ROOMS if path.startswith(f"{layer}/")), key=len, default="")
    if not layer:
        return []
    start = layer.replace("/", ".") + "."
    own = PurePosixPath(path[len(layer) + 1 :]).parts[0].removesuffix(".py")
    found = []
    for item in imports_of(path, source):
        room = item.target.removeprefix(start).split(".")[0] if item.target.startswith(start) else own
        is_room = (ROOT / layer / room).is_dir() or (ROOT / layer / f"{room}.py").is_file()
        here, there = place(layer, own), place(layer, room)
        if is_room and room != own and (there > here or (there == here < len(ROOMS[layer]))):
            found.append(f"{path}:{item.line} imports {item.target}")
    return found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("models/video/x.py", "from ..edits.edit import Edit"),
        ("models/layout/x.py", "from ..motion.module import MotionModel"),
        ("models/errors.py", "from .files import keys"),
        ("headless/v3/x.py", "from ..engine import denoise"),
        ("nodes/motion/x.py", "def f():\n    from ..layout import plan"),
        ("host/comfyui/seams/x.py", "from ..run import Run"),
    ],
)
def test_the_order_of_rooms_catches(path: str, source: str) -> None:
    assert len(out_of_order(path, source)) == 1


def test_every_room_that_is_listed_is_there() -> None:
    there = {
        layer: {path.stem for path in (ROOT / layer).iterdir() if path.is_dir() or path.suffix == ".py"}
        for layer in ROOMS
    }
    missing = [
        (layer, room)
        for layer, lines in ROOMS.items()
        for line in lines
        for room in line
        if room not in there[layer]
    ]
    assert missing == []
