"""The headless runner's own check and run of every node there is, with values that no input may have."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from frameloom.headless.core_nodes import core_node_classes
from frameloom.headless.v3 import io
from frameloom.headless.v3.node_info import given_inputs, read_node_info
from frameloom.headless.workflow.executor import Executor, NodeFailedError
from frameloom.headless.workflow.graph import Graph, GraphNode, InvalidWorkflowError, Link, check_workflow
from frameloom.tests.support.input_table import bad_numbers, sockets_of, widget_values, workflow_of


class Source(io.ComfyNode):
    """Gives something for sockets, and a value."""

    value: Any = None

    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="Source", outputs=[io.AnyType.Output("any"), io.AnyType.Output("value")])

    @classmethod
    def execute(cls):
        return io.NodeOutput(object(), cls.value)


class Sink(io.ComfyNode):
    """Asks for a result."""

    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="Sink", inputs=[io.AnyType.Input("value")], is_output_node=True)

    @classmethod
    def execute(cls, value):
        return io.NodeOutput()


@pytest.fixture
def every_node(nodes):
    return [*core_node_classes(), *nodes.values()]


def errors(node, **inputs):
    """Return what the check says of a node whose sockets have links and whose widgets have their defaults."""
    prompt = workflow_of(node, read_node_info(node).name, **inputs)
    prompt["2"] = {"class_type": "Sink", "inputs": {"value": ["1", 0]}}
    with pytest.raises(InvalidWorkflowError) as caught:
        check_workflow(prompt, [Source, Sink, node])
    return {error.input_name: str(error) for error in caught.value.errors if error.node_id == "1"}


def run(node, linked, value):
    """Run a node that gets a value over a link at ``linked``, and links at its sockets."""
    info, source = read_node_info(node), read_node_info(Source)
    given = {**widget_values(node), **dict.fromkeys(sockets_of(node), Link("0", 0)), linked: Link("0", 1)}
    nodes = {
        "0": GraphNode("0", "Source", source, {}, {}),
        "1": GraphNode("1", info.name, info, given, given_inputs(info, given)),
    }
    Source.value = value
    Executor(Graph(nodes, ("1",), {})).run()


def test_the_check_names_every_number_that_is_out_of_bounds_or_none(every_node):
    tried = 0
    for node in every_node:
        wrong = defaultdict(list)
        for _, name, value in bad_numbers([node]):
            wrong[name].append(value)
        for values in zip(*wrong.values(), strict=True):  # of every number at once
            said = errors(node, **dict(zip(wrong, values, strict=True)))
            for name, value in zip(wrong, values, strict=True):
                assert f"input {name}: got {value!r}, expected" in said.get(name, ""), (node, name)
                tried += 1
    assert tried > 700


def test_a_run_names_every_number_that_came_over_a_link_and_may_not_be(every_node):
    for node, name, value in list(bad_numbers(every_node))[::4]:  # one or two of each number
        with pytest.raises(NodeFailedError) as caught:
            run(node, name, value)
        assert f"ValueError: {name}: got {value!r} over a link; expected" in str(caught.value)


@pytest.mark.parametrize("value", ["1", {}, True, None])
def test_a_value_can_not_stand_in_the_place_of_a_link(every_node, value):
    for node in every_node:
        optional = {name for name, spec in read_node_info(node).inputs.items() if not spec.required}
        kinds = {
            name: kind for name, kind in sockets_of(node).items() if value is not None or name not in optional
        }
        if kinds:
            said = errors(node, **dict.fromkeys(kinds, value))
            assert all(kind in said[name].partition("expected")[2] for name, kind in kinds.items()), said


def test_a_choice_is_one_of_the_list_where_a_node_validates_it_too(nodes):
    said = errors(nodes["MotionPath"], kind="sideways")["kind"]
    assert said.startswith(
        "value_not_in_list: node 1 (Frameloom_MotionPath), input kind: got 'sideways', expected one"
    )


def test_a_choice_over_a_link_is_one_of_the_list(nodes):
    with pytest.raises(NodeFailedError, match=r"kind: got 'sideways' over a link; expected one of \['trans"):
        run(nodes["MotionPath"], "kind", "sideways")
    with pytest.raises(NodeFailedError, match=r"images: got nothing over a link; expected a IMAGE"):
        run(nodes["VideoMetrics"], "images", None)


def test_half_a_character_and_nul_are_no_text(nodes):
    said = errors(nodes["LayoutFromText"], text="a ball \ud800")["text"]
    assert "got 'a ball \\ud800', expected text without \\u0000 and half characters" in said
    with pytest.raises(
        NodeFailedError, match=r"text: got .* over a link; expected text without \\u0000 and half characters"
    ):
        run(nodes["LayoutFromText"], "text", "\0")
