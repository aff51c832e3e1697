"""ComfyUI's own validation and execution of our nodes, with values that an input may not have."""

from __future__ import annotations

import asyncio
import re

import execution
import pytest
from frameloom.tests.support.early_cases import ACCEPTED, REFUSED
from frameloom.tests.support.input_table import bad_numbers, sockets_of, widget_values, workflow_of
from frameloom.tests.support.motion import save, tiny_lora, tiny_state

import nodes


class Source:
    """Gives anything, so that every socket has a link."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("*",), "give", "test"

    @classmethod
    def INPUT_TYPES(cls):
        return {}

    def give(self):
        return (object(),)


@pytest.fixture(scope="module")
def ours(port):
    """Every node, as ComfyUI gets it."""
    from frameloom.host.comfyui.checked import checked
    from frameloom.nodes import node_classes

    return [checked(node) for node in node_classes()]


@pytest.fixture
def errors(monkeypatch):
    """Return what ComfyUI's validation says of a node with these inputs."""
    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "Source", Source)

    def validate(node, **inputs):
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "Tried", node)
        prompt = workflow_of(node, "Tried", **inputs)
        return asyncio.run(execution.validate_inputs("prompt", prompt, "1", {}))[1]

    return validate


def run(node, **inputs):
    """Run a node as ComfyUI does."""
    lists = {name: [value] for name, value in inputs.items()}
    v3_data = {"dynamic_paths": {}, "create_dynamic_tuple": False, "hidden_inputs": {}}
    asyncio.run(
        execution._async_map_node_over_list("prompt", "1", node, lists, node.FUNCTION, v3_data=v3_data)
    )


def said_of(name, found):
    """Return what marks an input, and says its name where the mark is on others as well."""
    return [
        each
        for each in found
        if each["extra_info"]["input_name"] == name
        and (each["type"] != "custom_validation_failed" or f" - {name}: got" in each["details"])
    ]


def test_comfyui_marks_every_number_that_is_out_of_bounds_or_none(ours, errors):
    tried = list(bad_numbers(ours))
    assert len(tried) > 500
    missed = [
        (node.__name__, name, value)
        for node, name, value in tried
        if not said_of(name, errors(node, **{name: value}))
    ]
    assert not missed


def test_a_node_refuses_every_such_number_over_a_link(ours):
    missed = []
    for node, name, value in bad_numbers(ours):
        given = {**widget_values(node), **dict.fromkeys(sockets_of(node), object()), name: value}
        try:
            run(node, **given)
            missed.append((node.__name__, name, value))
        except ValueError as error:
            if f"{name}: got {value!r}; expected" not in str(error):
                missed.append((node.__name__, name, value, str(error)))
    assert not missed


def test_comfyui_refuses_a_value_in_the_place_of_a_link(ours, errors):
    for node in ours:
        for name in sockets_of(node):
            for value in ("1", 0, {}, True):
                found = said_of(name, errors(node, **{name: value}))
                with pytest.raises(ValueError, match=f"{name}: got "):
                    run(
                        node,
                        **{**widget_values(node), **dict.fromkeys(sockets_of(node), object()), name: value},
                    )
                assert found or "validate_inputs" in vars(node.__mro__[1]), (node, name)


def test_a_node_says_which_link_gave_nothing(ours):
    preview = next(node for node in ours if node.__name__ == "LayoutPreview")
    with pytest.raises(ValueError, match="storyboard: got nothing; expected a FRAMELOOM_STORYBOARD"):
        run(preview, **widget_values(preview), storyboard=None)


@pytest.fixture
def files(kind_folder, monkeypatch):
    """A folder for every kind of motion file, which has one of each kind."""
    folder = kind_folder("animatediff_models")
    kind_folder("animatediff_motion_lora")
    save(folder / "mine.safetensors", tiny_state())
    save(folder / "pan.safetensors", tiny_lora())


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_can_be_known_is_refused_before_a_run_under_its_input(ours, errors, files, case):
    node = next(each for each in ours if each.__name__ == case.node)
    found = {each["extra_info"]["input_name"]: each["details"] for each in errors(node, **case.values)}
    assert re.search(case.said, found[case.marked], re.DOTALL), found
    linked = {name for name in sockets_of(node) if name not in case.values}
    assert not linked & set(found)


@pytest.mark.parametrize("case", ACCEPTED, ids=str)
def test_what_can_not_be_known_waits_for_the_run(ours, errors, case):
    assert errors(next(each for each in ours if each.__name__ == case.node), **case.values) == []
