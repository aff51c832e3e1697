"""The stand-in for ComfyUI's V3 names, against what a real ComfyUI 0.33 said (tests/host compares it live)."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest
from frameloom.headless.core_nodes import core_node_classes
from frameloom.headless.v3 import io
from frameloom.headless.v3.core_node import CoreNode, stored_object_info
from frameloom.headless.v3.node_info import read_node_info
from frameloom.tests.support.sample_schema import plain_schema, sample_schema

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def entry(make) -> dict:
    methods = {
        "define_schema": classmethod(lambda cls: make(io)),
        "execute": classmethod(lambda cls, **_: None),
    }
    return type("Sample", (io.ComfyNode,), methods).GET_NODE_INFO_V1()


def test_a_schema_that_uses_everything_is_written_as_comfyui_writes_it():
    expected = (GOLDEN / "sample_schemas.json").read_text()
    assert json.dumps([entry(sample_schema), entry(plain_schema)]) == expected.rstrip()


def test_every_core_node_of_the_extract_is_built_and_no_other(port):
    names = [node.__name__ for node in core_node_classes()]
    assert sorted(names) == sorted(stored_object_info())


@pytest.mark.parametrize("name", sorted(stored_object_info()))
def test_a_core_node_takes_the_inputs_of_its_stored_schema(port, name):
    node = next(node for node in core_node_classes() if node.__name__ == name)
    assert issubclass(node, CoreNode)
    parameters = inspect.signature(node.execute).parameters
    listed = type(name, (node,), {"choices": classmethod(lambda cls: {})})  # without this machine's files
    specs = read_node_info(listed).inputs
    required = {name for name, spec in specs.items() if spec.required}
    assert {name for name, each in parameters.items() if each.default is each.empty} <= required
    assert required <= set(parameters) <= set(specs)


def test_files_of_this_machine_come_into_the_lists(port):
    for name in ("b.png", "a.jpg", "notes.txt", "x.latent", "clip.mp4"):
        (port.input_dir / name).write_bytes(b"")
    nodes = {node.__name__: node for node in core_node_classes()}
    assert nodes["LoadImage"].GET_NODE_INFO_V1()["input"]["required"]["image"][0] == ["a.jpg", "b.png"]
    assert nodes["LoadVideo"].GET_NODE_INFO_V1()["input"]["required"]["file"][1]["options"] == ["clip.mp4"]
    assert nodes["LoadLatent"].GET_NODE_INFO_V1()["input"]["required"]["latent"][0] == ["x.latent"]
    assert stored_object_info()["LoadImage"]["input"]["required"]["image"][0] == []
    assert stored_object_info()["LoadVideo"]["input"]["required"]["file"][1]["options"] == []


@pytest.mark.parametrize("part", ["inputs", "outputs"])
def test_ids_that_occur_twice_are_refused(part):
    twice = {"inputs": [io.Int.Input("a")] * 2, "outputs": [io.Int.Output("a")] * 2}
    with pytest.raises(ValueError, match=rf"Twice: {part[:-1]} ids \['a'\] occur twice"):
        entry(lambda io: io.Schema(node_id="Twice", **{part: twice[part]}))
