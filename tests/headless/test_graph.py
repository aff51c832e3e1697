from __future__ import annotations

import json
from typing import Any

import pytest
from frameloom.headless.core_nodes import core_node_classes
from frameloom.headless.v3 import io
from frameloom.headless.workflow.graph import InvalidWorkflowError, Link, check_workflow, read_workflow


class Square(io.ComfyNode):
    """A node with every kind of input, and a rule of its own."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="Square",
            inputs=[
                io.Int.Input("side", min=1, max=100),
                io.Float.Input("angle", optional=True, min=0.0, max=360.0),
                io.Boolean.Input("filled", optional=True),
                io.Combo.Input("colour", options=["red", "blue"], optional=True),
                io.Int.Input("even", optional=True, min=0, max=10),
                io.Combo.Input("many", options=[str(i) for i in range(50)], optional=True),
            ],
            outputs=[io.Image.Output(), io.Mask.Output()],
        )

    @classmethod
    def execute(cls, **kwargs):
        return io.NodeOutput(None, None)

    @classmethod
    def validate_inputs(cls, even=0):
        return True if even % 2 == 0 else "expected an even number"


class Anything(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        inputs = [io.AnyType.Input("value"), io.MultiType.Input("either", [io.Image, io.Mask], optional=True)]
        return io.Schema(node_id="Anything", inputs=inputs, is_output_node=True)

    @classmethod
    def execute(cls, value, either=None):
        return io.NodeOutput()


CLASSES = [*core_node_classes(), Square, Anything]
CREATED = ("EmptyLatentImage", {"width": 64, "height": 64, "batch_size": 1})


def graph(*nodes: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a workflow of nodes numbered from 1."""
    return {str(i): {"class_type": name, "inputs": inputs} for i, (name, inputs) in enumerate(nodes, 1)}


SQUARE, SAVE = ("Square", {"side": 8}), ("SaveImage", {"images": ["1", 0], "filename_prefix": "x"})
GOOD = graph(SQUARE, SAVE)


def changed(node: str, **inputs: Any) -> dict[str, Any]:
    """Return the good workflow with inputs of a node replaced; None takes one away."""
    workflow = json.loads(json.dumps(GOOD))
    workflow[node]["inputs"] |= inputs
    workflow[node]["inputs"] = {name: v for name, v in workflow[node]["inputs"].items() if v is not None}
    return workflow


def saving(**inputs: Any) -> dict[str, Any]:
    video = ("CreateVideo", {"images": ["1", 0], "fps": 8.0})
    return graph(SQUARE, video, ("SaveVideo", {"video": ["2", 0], "filename_prefix": "x", **inputs}))


def loop() -> dict[str, Any]:
    scale = {"upscale_method": "area", "width": 8, "height": 8, "crop": "disabled"}
    cut = ("ImageFromBatch", {"image": ["1", 0], "batch_index": 0, "length": 1})
    return graph(("ImageScale", {"image": ["2", 0], **scale}), cut, SAVE)


CODED = {"format": "mp4", "format.codec": "h264", "format.codec.encoding": "re-encode"}
# By the kind of error that ComfyUI names, and by what is wrong: a workflow, and words of the one line that refuses it.
WRONG = {
    "missing_node_type": {
        "class not known": (
            graph(("WarpDrive", {})),
            "node 1 (WarpDrive): got a class not known here, expected one of",
        ),
        "no class": ({"1": {"inputs": {}}}, "node 1 (None): got no class_type, expected"),
        "class is a number": ({"1": {"class_type": 3}}, "node 1 (None): got no class_type"),
    },
    "invalid_prompt": {
        "node is text": (
            {"1": "SaveImage"},
            "node 1 (None): got 'SaveImage', expected class_type and inputs",
        ),
        "inputs are a list": (
            {"1": {"class_type": "Square", "inputs": []}},
            "expected class_type and inputs",
        ),
    },
    "prompt_no_outputs": {
        "no output": (graph(SQUARE), "workflow: got no output node, expected one, such as SaveImage"),
        "empty": ({}, "workflow"),
    },
    "required_input_missing": {
        "widget missing": (
            changed("1", side=None),
            "node 1 (Square), input side: got nothing, expected a INT",
        ),
        "link missing": (
            changed("2", images=None),
            "node 2 (SaveImage), input images: got nothing, expected a IMAGE",
        ),
        "format missing": (saving(), "node 3 (SaveVideo), input format: got nothing"),
    },
    "bad_linked_input": {
        "link of three": (
            changed("2", images=["1", 0, 0]),
            "node 2 (SaveImage), input images: got ['1', 0, 0]",
        ),
        "link of one": (changed("2", images=["1"]), "node 2 (SaveImage), input images: got ['1']"),
        "link to a number": (changed("2", images=[1, 0]), "got [1, 0], expected [node id"),
        "link to a result that is no number": (
            changed("2", images=["1", float("nan")]),
            "got ['1', nan], expected [node id",
        ),
        "link to no node": (changed("2", images=["9", 0]), "got a link to node 9, expected one of"),
        "link to no result": (
            changed("2", images=["1", 2]),
            "got result 2 of node 1 (Square), expected one of its 2 results, counted",
        ),
        "link before the first": (changed("2", images=["1", -1]), "got result -1 of node 1"),
        "link to a node of no results": (
            graph(SQUARE, SAVE, ("Anything", {"value": ["3", 0]})),
            "got result 0 of node 3 (Anything), expected a node that has results",
        ),
        "list as a value": (changed("1", side=[1, 2, 3]), "or a list as {'__value__': [...]}"),
    },
    "return_type_mismatch": {
        "mask for image": (
            changed("2", images=["1", 1]),
            "got a MASK from node 1 (Square), expected a IMAGE",
        ),
        "image for number": (
            graph(("Square", {"side": ["3", 0]}), SAVE, SQUARE),
            "node 1 (Square), input side: got a IMAGE from node 3 (Square), expected a INT",
        ),
        "latent for either": (
            graph(CREATED, ("Anything", {"value": 1, "either": ["1", 0]})),
            "input either: got a LATENT from node 1 (EmptyLatentImage), expected a IMAGE,MASK",
        ),
    },
    "invalid_input_type": {
        "text for number": (changed("1", side="wide"), "input side: got 'wide', expected a value that"),
        "object for float": (
            changed("1", angle={"deg": 3}),
            "input angle: got {'deg': 3}, expected a value that",
        ),
        "infinite number": (changed("1", side=float("inf")), "input side: got inf, expected"),
    },
    "value_smaller_than_min": {"too small": (changed("1", side=0), "input side: got 0, expected at least 1")},
    "value_bigger_than_max": {
        "too big": (changed("1", angle=400), "input angle: got 400.0, expected at most 360.0"),
        "own rule, and a limit": (changed("1", even=12), "input even: got 12, expected at most 10"),
        "deep value": (
            saving(**CODED, **{"format.codec.encoding.crf": 90, "format.codec.encoding.color_space": "auto"}),
            "input format.codec.encoding.crf: got 90.0, expected at most 51.0",
        ),
    },
    "value_not_in_list": {
        "a number for a choice": (
            changed("1", colour=3),
            "input colour: got 3, expected one of ['red', 'blue']",
        ),
        "a number for a file": (
            graph(("LoadImage", {"image": 3}), SAVE),
            "node 1 (LoadImage), input image: got 3, expected a file",
        ),
        "a list for a choice": (
            changed("1", colour={"__value__": [["red"], {}]}),
            "input colour: got [['red'], {}]",
        ),
        "not a choice": (changed("1", colour="green"), "got 'green', expected one of ['red', 'blue']"),
        "not one of many": (changed("1", many="x"), "input many: got 'x', expected one of 50 names"),
        "no such container": (saving(format="gif"), "input format: got 'gif', expected one of ['auto'"),
        "no such codec": (
            saving(format="mp4", **{"format.codec": "h265"}),
            "input format.codec: got 'h265', expected one of ['auto', 'h264', 'av1']",
        ),
    },
    "custom_validation_failed": {
        "own rule": (changed("1", even=3), "input even: got [3], expected an even number"),
        "no such picture": (
            graph(("LoadImage", {"image": "cat.png"}), SAVE),
            "node 1 (LoadImage), input image: got ['cat.png'], expected a file of ",
        ),
        "picture elsewhere": (
            graph(("LoadImage", {"image": "../../cat.png"}), SAVE),
            "input image: got ['../../cat.png'], expected a file inside",
        ),
    },
    "dependency_cycle": {"cycle": (loop(), "input image: got the cycle ")},
}


@pytest.mark.parametrize(
    ("kind", "fault"), [(kind, fault) for kind, faults in WRONG.items() for fault in faults]
)
def test_a_wrong_workflow_is_refused_in_one_line(port, kind, fault):
    workflow, message = WRONG[kind][fault]
    with pytest.raises(InvalidWorkflowError, match=f"^{kind}: ") as caught:
        check_workflow(workflow, CLASSES)
    (error,) = caught.value.errors
    assert message in str(error)
    assert "\n" not in str(error)


def test_every_error_is_told_at_once(port):
    workflow = changed("1", side=0, angle=400, colour="green")
    with pytest.raises(InvalidWorkflowError, match="value_smaller_than_min") as caught:
        check_workflow(workflow, CLASSES)
    kinds = {error.kind for error in caught.value.errors}
    assert kinds == {"value_smaller_than_min", "value_bigger_than_max", "value_not_in_list"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"invalid_prompt: workflow: got text that is not JSON \(.*\), expected an object of nodes"),
        ("[]", r"invalid_prompt: workflow: got list, expected an object of nodes"),
        ('{"nodes": [], "links": []}', r'got a workflow saved by the editor .*use "Export \(API\)"'),
    ],
)
def test_text_that_is_no_workflow_is_refused(text, message):
    with pytest.raises(InvalidWorkflowError, match=message):
        read_workflow(text)


def test_values_are_converted_and_links_found(port):
    checked = check_workflow(changed("1", side="8", angle=1, filled=1), CLASSES)
    square = checked.nodes["1"].inputs
    assert square == {"side": 8, "angle": 1.0, "filled": True}
    assert [type(value) for value in square.values()] == [int, float, bool]
    assert checked.nodes["2"].inputs["images"] == Link("1", 0)


def test_only_nodes_that_outputs_need_are_kept_in_an_order_that_runs(port):
    workflow = graph(SQUARE, SAVE, ("Square", {"side": -5}))
    checked = check_workflow(dict(reversed(workflow.items())), CLASSES)
    assert list(checked.nodes) == ["1", "2"]
    assert checked.outputs == ("2",)


def test_a_wrapped_list_is_a_value_and_not_a_link(port):
    workflow = graph(("Anything", {"value": {"__value__": ["1", 0]}}))
    assert check_workflow(workflow, CLASSES).nodes["1"].inputs["value"] == ["1", 0]


def test_titles_and_inputs_that_no_node_has_are_ignored(port):
    workflow = changed("1", control_after_generate="randomize")
    workflow["1"]["_meta"] = {"title": "A square"}
    workflow["1"]["is_changed"] = [1]
    assert check_workflow(workflow, CLASSES).nodes["1"].inputs == {"side": 8}


@pytest.mark.parametrize(
    "inputs",
    [{"format": "mp4", "format.codec": "h264"}, {"format": "mp4", "codec": "h264"}, {"format": "auto"}],
)
def test_both_forms_of_save_video_are_accepted(port, inputs):
    checked = check_workflow(saving(**inputs), CLASSES)
    assert {n: v for n, v in checked.nodes["3"].inputs.items() if n in inputs} == inputs


def test_the_workflow_given_is_left_as_it_was(port):
    workflow = changed("1", side="8")
    check_workflow(workflow, CLASSES)
    assert workflow["1"]["inputs"]["side"] == "8"
