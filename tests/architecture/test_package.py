"""The package: one import name, three ways in, and what a host's start costs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from frameloom.tests.architecture.test_budget import tracked_files
from frameloom.tests.architecture.test_imports import LAYERS

ROOT = Path(__file__).resolve().parents[2]

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def pyproject() -> dict[str, Any]:
    """The parsed pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def run_python(script: str, folder: Path) -> str:
    """Run a script in a fresh interpreter that has neither the checkout nor an installed copy on its path."""
    result = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, cwd=folder, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_root_is_not_on_the_path() -> None:
    assert ROOT not in [Path(entry or ".").resolve() for entry in sys.path]


def test_import_nodes_does_not_find_ours() -> None:
    spec = find_spec("nodes")
    assert spec is None or not str(spec.origin).startswith(str(ROOT))


def test_the_import_name_is_this_checkout() -> None:
    import frameloom
    import frameloom.models

    assert Path(str(frameloom.__file__)) == ROOT / "__init__.py"
    assert Path(str(frameloom.models.__file__)) == ROOT / "models" / "__init__.py"


def test_loads_by_comfyuis_algorithm_from_a_hyphenated_folder(tmp_path: Path) -> None:
    """As ComfyUI's nodes.py does it: the module's name is the folder's path with its dots replaced."""
    pack = tmp_path / "custom_nodes" / "My-Pack.v2"
    pack.mkdir(parents=True)
    shutil.copy(ROOT / "__init__.py", pack)
    for layer in LAYERS:
        shutil.copytree(ROOT / layer, pack / layer, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "web", pack / "web")
    script = f"""
import importlib.util, inspect, json, os, sys, types
path = {str(pack)!r}
sys.modules["nodes"] = host_nodes = types.ModuleType("nodes")
before = list(sys.path)
name = path.replace(".", "_x_")
spec = importlib.util.spec_from_file_location(name, os.path.join(path, "__init__.py"))
module = importlib.util.module_from_spec(spec)
sys.modules[name] = module
spec.loader.exec_module(module)
heavy = sorted({{"torch", "diffusers", "transformers", "kornia", "av", "numpy"}} & set(sys.modules))
edit = importlib.import_module(name + ".models.edits.edit")
print(json.dumps({{
    "heavy": heavy,
    "entry": inspect.iscoroutinefunction(module.comfy_entrypoint),
    "legacy": hasattr(module, "NODE_CLASS_MAPPINGS"),
    "web": os.path.isdir(os.path.join(path, module.WEB_DIRECTORY)),
    "edit": edit.__file__,
    "path_same": sys.path == before,
    "nodes_same": sys.modules["nodes"] is host_nodes,
}}))
"""
    assert json.loads(run_python(script, tmp_path)) == {
        "heavy": [],
        "entry": True,
        "legacy": False,
        "web": True,
        "edit": str(pack / "models" / "edits" / "edit.py"),
        "path_same": True,
        "nodes_same": True,
    }


@pytest.mark.parametrize("name", ["ComfyUI-Främe.löom 2", "build"])
def test_lint_passes_in_a_clone_of_any_name_and_still_refuses_a_module_that_cannot_be_imported(
    name: str, tmp_path: Path
) -> None:
    clone = tmp_path / name
    for path in [
        ROOT / "pyproject.toml",
        *tracked_files("*/__init__.py"),
        *tracked_files("tests/nodes/*.py"),
    ]:
        copy = clone / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise", "."]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    assert done.stdout == "All checks passed!\n"
    (clone / "models" / "free-noise.py").write_text('"""A module."""\n', encoding="utf-8")
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    assert "N999 Invalid module name: 'free-noise'" in done.stdout
    assert done.stdout.endswith("Found 1 error.\n")


def test_importing_the_root_runs_nothing_but_the_standard_library(tmp_path: Path) -> None:
    script = f"""
import runpy, sys
before = set(sys.modules)
runpy.run_path({str(ROOT / "tests" / "bind.py")!r})
print(sorted({{name.split(".")[0] for name in set(sys.modules) - before}} - sys.stdlib_module_names))
"""
    assert run_python(script, tmp_path).strip() == "['frameloom']"


def test_every_folder_of_the_layers_is_packed(tmp_path: Path) -> None:
    """A new one too, which nothing lists."""
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    folders = [
        path.parent.relative_to(ROOT) for layer in LAYERS for path in (ROOT / layer).rglob("__init__.py")
    ]
    for folder in [*folders, new := Path("nodes", "a_new_room")]:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "__init__.py").touch()
    script = """
import json, setuptools
from distutils.core import run_setup
print(json.dumps(run_setup("setup.py", stop_after="init").packages))
"""
    expected = ["frameloom", *("frameloom." + ".".join(folder.parts) for folder in [*folders, new])]
    assert sorted(json.loads(run_python(script, tmp_path))) == sorted(expected)


def test_the_package_data_are_the_files_of_the_folders_that_ship() -> None:
    listed = pyproject()["tool"]["setuptools"]["package-data"]["frameloom"]
    packed = {path for pattern in listed for path in ROOT.glob(pattern) if path.is_file()}
    shipped = {path for folder in ("assets", "configs", "web", "workflows") for path in tracked_files(folder)}
    assert {path for path in shipped - packed if path.suffix != ".jpg"} == set()  # thumbnails are ComfyUI's


def test_every_python_folder_is_a_package() -> None:
    folders = {path.parent for layer in LAYERS for path in (ROOT / layer).rglob("*.py")}
    assert [str(path) for path in sorted(folders) if not (path / "__init__.py").is_file()] == []


def test_requirements_are_the_dependencies_of_pyproject() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").split("\n")
    assert [line for line in lines if line] == pyproject()["project"]["dependencies"]


def test_no_dependency_touches_what_comfyui_brings_or_pins_it() -> None:
    wanted = [re.match(r"[\w.-]+", line) for line in pyproject()["project"]["dependencies"]]
    names = {match.group().lower() for match in wanted if match}
    assert names.isdisjoint({"torch", "torchvision", "torchaudio", "numpy", "transformers", "diffusers"})
    assert [line for line in pyproject()["project"]["dependencies"] if "==" in line or "<" in line] == []


def test_every_package_of_our_own_environment_has_an_exact_version() -> None:
    project = pyproject()["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    names = {re.split(r"[\[<>=;]", line)[0] for line in wanted} - {"torch"}  # the Makefile's TORCH
    lines = (ROOT / "tools" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {line.partition("==")[0] for line in lines if re.match(r"[\w.-]+==[\w.]+(;|$)", line)}
    assert sorted(names - pins) == []
    assert [line for line in lines if "==" not in line and not line.startswith("#")] == []


def test_the_extras_are_those_the_readme_may_name() -> None:
    assert sorted(pyproject()["project"]["optional-dependencies"]) == sorted(
        ["headless", "train", "cluster", "local-llm", "dev"]
    )


def test_the_registrys_metadata_is_complete() -> None:
    project, comfy = pyproject()["project"], pyproject()["tool"]["comfy"]
    assert re.fullmatch(r"[a-z][a-z0-9_-]{0,99}", project["name"])
    assert "comfyui" not in project["name"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"])
    assert {"PublisherId", "DisplayName", "requires-comfyui"} <= set(comfy)
    # WEB_DIRECTORY names the folder already; both together would load it twice.
    assert "web" not in comfy


def test_the_changelog_opens_with_this_version() -> None:
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == pyproject()["project"]["version"]
