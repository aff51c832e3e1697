"""Nodes that choose a file of the user's: which are listed, and that a change is noticed."""

from __future__ import annotations

import pytest

FILES = {
    "MotionModuleLoader": ("models/animatediff_models/new.safetensors", "file"),
    "MotionLoRALoader": ("models/animatediff_motion_lora/new.safetensors", "file"),
    "LayoutPrior": ("models/layout_priors/new.safetensors", "file"),
    "LayoutFromText": ("user/layouts/new.txt", "file"),
    "LocalLLM": ("models/llm/new.gguf", "model"),
}


def options(node, name):
    (found,) = [each.options for each in node.define_schema().inputs if each.id == name]
    return found


@pytest.mark.parametrize("name", FILES)
def test_a_new_file_is_listed_and_a_change_of_it_noticed(nodes, tmp_path, name):
    node, (place, widget) = nodes[name], FILES[name]
    path = tmp_path / place
    before = options(node, widget)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"1")
    path.with_suffix(".md").touch()
    assert sorted(options(node, widget)) == sorted([*before, path.name])
    first = node.fingerprint_inputs(**{widget: path.name})
    assert node.fingerprint_inputs(**{widget: path.name}) == first
    path.write_bytes(b"12")
    assert node.fingerprint_inputs(**{widget: path.name}) != first


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("file", ["../../secret.safetensors", "absent.safetensors"])
def test_a_file_that_is_not_listed_is_refused(nodes, name, file):
    with pytest.raises(ValueError, match=rf"{file}.*expected|{file}.*not found"):
        nodes[name].fingerprint_inputs(**{FILES[name][1]: file})
