from __future__ import annotations

import asyncio

import pytest
import torch
from frameloom.headless.v3 import io
from frameloom.headless.workflow.executor import Executor, NodeFailedError
from frameloom.headless.workflow.graph import check_workflow

ran: list[str] = []


@pytest.fixture(autouse=True)
def fresh_log():
    ran.clear()


def toy(name, takes, compute, gives=(False,), **schema):
    """A node that notes its run and computes; ``takes``: inputs, or names of numbers; ``gives``: which are lists."""

    def define_schema(cls):
        inputs = [each if isinstance(each, io.Input) else io.Int.Input(each) for each in takes]
        outputs = [io.Int.Output(is_output_list=each) for each in gives]
        return io.Schema(node_id=name, inputs=inputs, outputs=outputs, **schema)

    def execute(cls, **inputs):
        ran.append(name)
        return compute(cls, **inputs) if "hidden" in schema else compute(**inputs)

    return type(
        name, (io.ComfyNode,), {"define_schema": classmethod(define_schema), "execute": classmethod(execute)}
    )


def gate(value):
    """Let even numbers through."""
    return io.NodeOutput(value) if value % 2 == 0 else io.NodeOutput(block_execution=f"{value} is odd")


def fail(value):
    raise ValueError(f"value={value} never works.")


async def later(value):
    await asyncio.sleep(0)
    return io.NodeOutput(value + 1)


def who(node):
    assert node.hidden.prompt["1"]["class_type"] == "Who"
    return int(node.hidden.unique_id)


def by_mode(mode):
    return 1 if mode["mode"] == "plain" else mode["by"] + mode.get("offset", 0)


def makes_gradients():
    """Say whether tensors made in a node carry gradients."""
    return int(torch.zeros(1, requires_grad=True).mul(1).requires_grad)


LAZY = [io.Boolean.Input("first"), io.Int.Input("a", lazy=True), io.Int.Input("b", lazy=True)]
SCALED = io.DynamicCombo.Option("scaled", [io.Int.Input("by"), io.Int.Input("offset", optional=True)])
MODES = io.DynamicCombo.Input("mode", options=[io.DynamicCombo.Option("plain", []), SCALED])
HIDDEN = [io.Hidden.unique_id, io.Hidden.prompt]


class Choose(toy("Choose", LAZY, lambda first, a=None, b=None: a if first else b)):
    """Evaluates only the branch it takes."""

    @classmethod
    def check_lazy_status(cls, first, a=None, b=None):
        return ["a" if first else "b"]


CLASSES = [
    toy("Number", ["value"], lambda value: value),
    toy("Add", ["a", "b"], lambda a, b: a + b),
    toy("Count", ["n"], lambda n: list(range(1, n + 1)), gives=(True,)),
    toy("Total", ["values", "factor"], lambda values, factor: sum(values) * factor[0], is_input_list=True),
    Choose,
    toy("Gate", ["value"], gate),
    toy("Fail", ["value"], fail),
    toy("Later", ["value"], later),
    toy("Who", [], who, hidden=HIDDEN),
    toy("Mode", [MODES], by_mode),
    toy("Modes", [], makes_gradients),
    toy("Show", ["value"], lambda value: io.NodeOutput(ui={"value": [value]}), gives=(), is_output_node=True),
]


def run(*nodes, on_node=lambda *_: None):
    """Run ``(class, inputs)``, numbered from 1; return what each node shows."""
    prompt = {str(i): {"class_type": name, "inputs": inputs} for i, (name, inputs) in enumerate(nodes, 1)}
    report = Executor(check_workflow(prompt, CLASSES), on_node).run()
    return {node_id: shown["value"] for node_id, shown in report.shown.items()}, report


def test_nodes_run_once_in_the_order_of_their_links(port):
    shown, _ = run(
        ("Show", {"value": ["2", 0]}),
        ("Add", {"a": ["3", 0], "b": ["3", 0]}),
        ("Number", {"value": 4}),
    )
    assert shown == {"1": [8]}
    assert ran == ["Number", "Add", "Show"]


def test_what_no_output_needs_does_not_run(port):
    run(("Show", {"value": 1}), ("Fail", {"value": 1}))
    assert ran == ["Show"]


def test_equal_nodes_share_one_run_and_outputs_never_do(port):
    shown, _ = run(
        ("Number", {"value": 4}),
        ("Number", {"value": 4}),
        ("Add", {"a": ["1", 0], "b": 1}),
        ("Add", {"a": ["2", 0], "b": 1}),
        ("Add", {"a": ["2", 0], "b": 2}),
        ("Show", {"value": ["3", 0]}),
        ("Show", {"value": ["4", 0]}),
        ("Show", {"value": ["4", 0]}),
        ("Show", {"value": ["5", 0]}),
    )
    assert shown == {"6": [5], "7": [5], "8": [5], "9": [6]}
    assert sorted(ran) == ["Add", "Add", "Number", "Show", "Show", "Show", "Show"]


def test_equal_values_of_other_types_are_not_equal_nodes(port):
    shown, _ = run(
        ("Choose", {"first": True, "a": 1, "b": 0}),
        ("Choose", {"first": False, "a": 1, "b": 0}),
        ("Show", {"value": ["1", 0]}),
        ("Show", {"value": ["2", 0]}),
    )
    assert shown == {"3": [1], "4": [0]}


def test_a_list_maps_over_the_next_node_and_shorter_lists_repeat_their_last(port):
    shown, _ = run(
        ("Count", {"n": 4}),
        ("Count", {"n": 2}),
        ("Add", {"a": ["1", 0], "b": ["2", 0]}),
        ("Show", {"value": ["3", 0]}),
    )
    assert shown == {"4": [1 + 1, 2 + 2, 3 + 2, 4 + 2]}


def test_a_node_that_takes_lists_gets_them_whole(port):
    shown, _ = run(
        ("Count", {"n": 4}), ("Total", {"values": ["1", 0], "factor": 10}), ("Show", {"value": ["2", 0]})
    )
    assert shown == {"3": [100]}
    assert ran.count("Total") == 1


def test_lists_of_lists_are_joined(port):
    shown, _ = run(("Count", {"n": 3}), ("Count", {"n": ["1", 0]}), ("Show", {"value": ["2", 0]}))
    assert shown == {"3": [1, 1, 2, 1, 2, 3]}


def test_nodes_that_share_a_run_share_its_list(port):
    shown, _ = run(
        ("Count", {"n": 3}),
        ("Count", {"n": 3}),
        ("Add", {"a": ["1", 0], "b": ["2", 0]}),
        ("Total", {"values": ["3", 0], "factor": ["2", 0]}),
        ("Show", {"value": ["3", 0]}),
        ("Show", {"value": ["4", 0]}),
    )
    assert shown == {"5": [2, 4, 6], "6": [12]}
    assert (ran.count("Count"), ran.count("Add")) == (1, 3)


def test_an_empty_list_gives_an_empty_list(port):
    shown, _ = run(("Count", {"n": 0}), ("Add", {"a": ["1", 0], "b": 1}), ("Show", {"value": ["2", 0]}))
    assert shown == {}
    assert ran == ["Count"]


@pytest.mark.parametrize(("first", "value", "branch"), [(True, 4, "Number"), (False, 6, "Add")])
def test_only_the_lazy_input_that_is_asked_for_is_evaluated(port, first, value, branch):
    shown, _ = run(
        ("Number", {"value": 4}),
        ("Add", {"a": 3, "b": 3}),
        ("Choose", {"first": first, "a": ["1", 0], "b": ["2", 0]}),
        ("Show", {"value": ["3", 0]}),
    )
    assert shown == {"4": [value]}
    assert ran == [branch, "Choose", "Show"]


def test_a_lazy_choice_may_itself_come_from_a_list(port):
    shown, _ = run(
        ("Count", {"n": 2}),
        ("Choose", {"first": True, "a": ["1", 0], "b": ["3", 0]}),
        ("Fail", {"value": 1}),
        ("Show", {"value": ["2", 0]}),
    )
    assert shown == {"4": [1, 2]}


def test_blocked_results_stop_what_depends_on_them_and_nothing_else(port):
    shown, report = run(
        ("Count", {"n": 4}),
        ("Gate", {"value": ["1", 0]}),
        ("Show", {"value": ["2", 0]}),
        ("Show", {"value": 7}),
    )
    assert shown == {"3": [2, 4], "4": [7]}
    assert report.blocked == {"3": "3 is odd"}


def test_a_failure_names_its_node_and_keeps_its_cause(port):
    with pytest.raises(
        NodeFailedError, match=r"node 1 \(Fail\): ValueError: value=3 never works\."
    ) as caught:
        run(("Fail", {"value": 3}), ("Show", {"value": ["1", 0]}))
    assert isinstance(caught.value.__cause__, ValueError)
    assert ran == ["Fail"]


def test_async_nodes_are_waited_for(port):
    shown, _ = run(("Later", {"value": 3}), ("Show", {"value": ["1", 0]}))
    assert shown == {"2": [4]}


def test_hidden_values_reach_the_node_and_leave_the_class_alone(port):
    shown, _ = run(("Who", {}), ("Who", {}), ("Show", {"value": ["1", 0]}), ("Show", {"value": ["2", 0]}))
    assert shown == {"3": [1], "4": [2]}
    assert all(each.hidden.unique_id is None for each in CLASSES)


@pytest.mark.parametrize(
    ("inputs", "value"),
    [
        ({"mode": "plain"}, 1),
        ({"mode": "plain", "mode.by": 5}, 1),
        ({"mode": "scaled", "mode.by": 5}, 5),
        ({"mode": "scaled", "mode.by": ["1", 0], "mode.offset": 2}, 11),
    ],
)
def test_dotted_inputs_come_nested(port, inputs, value):
    shown, _ = run(("Number", {"value": 9}), ("Mode", inputs), ("Show", {"value": ["2", 0]}))
    assert shown == {"3": [value]}


def test_nodes_run_without_gradients_as_in_comfyui(port):
    shown, _ = run(("Modes", {}), ("Show", {"value": ["1", 0]}))
    assert shown == {"2": [0]}
    assert torch.zeros(1, requires_grad=True).mul(1).requires_grad


def test_the_watcher_hears_of_each_node_before_it_runs(port):
    heard = []
    run(
        ("Number", {"value": 4}),
        ("Show", {"value": ["1", 0]}),
        on_node=lambda place, count, node: heard.append((place, count, node.class_type, len(ran))),
    )
    assert heard == [(1, 2, "Number", 0), (2, 2, "Show", 1)]


def test_a_chain_of_two_thousand_nodes_runs(port):
    nodes = [("Number", {"value": 0})]
    nodes += [("Add", {"a": [str(i), 0], "b": 1}) for i in range(1, 2000)]
    shown, _ = run(*nodes, ("Show", {"value": ["2000", 0]}))
    assert shown == {"2001": [1999]}
