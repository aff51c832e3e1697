"""The port's smaller promises, by ComfyUI."""

from __future__ import annotations

import subprocess
import sys

import folder_paths
import pytest


def test_spans_lie_where_the_words_are(port, demo):
    text = "a (big:1.3) red circle, moving right, a (big:1.3) red circle"
    conditioning, spans = port.encode_text(demo[1], text)
    tokens = [token for chunk in demo[1].tokenize(text)["l"] for token, _ in chunk]
    assert conditioning[0][0].shape[1] == len(tokens)
    assert set(spans) == {"a big red circle", "moving right"}
    words = [token for chunk in demo[1].tokenize("moving right")["l"] for token, _ in chunk][1:3]
    ((first, last),) = spans["moving right"]
    assert tokens[first:last] == words
    assert len(spans["a big red circle"]) == 2


def test_an_unknown_kind_of_file_is_named(port):
    with pytest.raises(ValueError, match="'no_such_kind'"):
        port.list_files("no_such_kind")


def test_output_paths_stay_in_the_output_folder(port, tmp_path):
    folder = folder_paths.get_output_directory()
    folder_paths.set_output_directory(str(tmp_path))
    try:
        path = port.output_path("frameloom/clip", "mp4")
        assert path.parent == tmp_path / "frameloom"
        assert path.parent.is_dir()
        assert not path.exists()
        path.touch()
        assert port.output_path("frameloom/clip", "mp4") != path
        with pytest.raises(ValueError, match=r"'\.\./escape' leads out"):
            port.output_path("../escape", "mp4")
    finally:
        folder_paths.set_output_directory(folder)


def test_import_of_the_pack_is_quick_and_registers_nothing(port):
    """A fresh process: ComfyUI and torch are there already, as at a host's start."""
    script = """
import os, sys, time
tree = os.environ["FRAMELOOM_INSIDE"]
sys.path.insert(0, tree)
sys.argv = ["main.py", "--cpu", "--disable-api-nodes"]
import comfy.options
comfy.options.enable_args_parsing()
import utils.extra_config, nodes, folder_paths
from importlib.util import module_from_spec, spec_from_file_location
root = os.environ["FRAMELOOM_ROOT"]
before = set(folder_paths.folder_names_and_paths), set(nodes.NODE_CLASS_MAPPINGS)
loaded = set(sys.modules)
spec = spec_from_file_location("/x/frameloom-pack", root + "/__init__.py", submodule_search_locations=[root])
module = module_from_spec(spec)
sys.modules["/x/frameloom-pack"] = module
spec.loader.exec_module(module)
assert (set(folder_paths.folder_names_and_paths), set(nodes.NODE_CLASS_MAPPINGS)) == before
print(sorted(set(sys.modules) - loaded))
"""
    import os
    from pathlib import Path

    environment = {**os.environ, "FRAMELOOM_ROOT": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "['/x/frameloom-pack']"
